"""What the doors (libnetwork, CNI, `isthmus port`) ask of the agent: the one way to attach anything.

Every call is idempotent for its key and safe against any other call at the same time: the second of two equal calls
finds what the first made, and a call for a key in motion waits for it within its time limit. A call that fails undoes
what it began, or leaves it to the repairs under a state that says so. Nothing here waits for Neutron where a warm port
of the network is ready.

A `deadline` is on the monotonic clock; None is `[network_agent] attach_timeout` from now. A call that cannot end by
then raises `Unavailable`.

Errors: those of `neutron` (not found, not allowed, conflict, no address left, does not answer) and of `binding`; each
names the object and the next step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import InvalidInput
from isthmus.networking.model import Attachment, IpAddress, Key, Network, Owner, PublishedPort, Subnet, Target, Wish
from isthmus.networking.neutron.client import Neutron


class Attachments(ABC):
    """The host's attachments."""

    @abstractmethod
    def reserve(self, wish: Wish, deadline: float | None = None) -> Attachment:
        """Give the key a port with addresses: a warm one of the network if the wish allows, else a new or named one.

        Already reserved or plugged under this key: the same attachment, or `Conflict` if the wish demands otherwise.
        """

    @abstractmethod
    def hand_over(self, old: Key, new: Wish, merged: Key | None = None, deadline: float | None = None) -> Attachment:
        """Put a reserved attachment under another key (an address given out before its endpoint has an id).

        Already handed over: the attachment under the new key. Addresses, MAC, security groups and QoS policy that `new`
        demands and the port has not are written to Neutron. `merged` is another reservation (the other family's
        address): if the addresses that `new` demands lie there, its port is given up and they move to this one.
        """

    @abstractmethod
    def plug(self, key: Key, target: Target, deadline: float | None = None) -> Attachment:
        """Plug the key's port into a target. Already there: the same. `NotFound` if nothing is reserved under it."""

    @abstractmethod
    def unplug(self, key: Key, deadline: float | None = None) -> None:
        """Take the interface away and keep the port. Nothing there: success."""

    @abstractmethod
    def release(self, key: Key, deadline: float | None = None) -> None:
        """Unplug, and give the port back: to the warm ones, to whoever owned it before, or to Neutron. Gone: success.

        Waits for the interface, never for Neutron: the port's end is written down and carried out behind.
        """

    @abstractmethod
    def check(self, key: Key) -> tuple[str, ...]:
        """Return what is wrong with an attachment, a sentence each; `NotFound` for an unknown key."""

    @abstractmethod
    def check_carrier(self, binder: str | None) -> None:
        """Return if what carries ports on this host answers; `Unavailable` if not. None: the default binder's."""

    @abstractmethod
    def finishes_checksums(self, binder: str | None) -> bool:
        """Return whether senders must finish their checksums themselves, as what carries their packets cannot."""

    @abstractmethod
    def find(self, key: Key) -> Attachment | None:
        """Return the attachment of a key."""

    @abstractmethod
    def find_by_address(self, owner: Owner, network_id: str, address: IpAddress) -> Attachment | None:
        """Return the owner's attachment that has an address on a network."""

    @abstractmethod
    def list_all(self, owner: Owner | None = None) -> tuple[Attachment, ...]:
        """Return the attachments of an owner, or all."""

    @abstractmethod
    def keep_only(self, owner: Owner, prefix: str, valid: Collection[Key]) -> tuple[Key, ...]:
        """Release every attachment of the owner whose id begins with `prefix` and is not valid; return their keys.

        Goes on past errors and raises the first at the end.
        """

    @abstractmethod
    def network(self, name_or_id: str, project: str | None) -> Network:
        """Return a network that the project may use, from memory where it is fresh (some seconds) or Neutron is silent.

        `NotFound`; `Conflict` if the name is ambiguous.
        """

    @abstractmethod
    def subnets(self, network_id: str, project: str | None) -> tuple[Subnet, ...]:
        """Return the subnets of a network; as `network`."""

    @abstractmethod
    def warm_up(self, network_id: str, project: str | None) -> None:
        """Have ports of a network made ready in the background, if Neutron tells of the network; raises nothing."""

    @abstractmethod
    def cool_down(self, network_id: str) -> None:
        """Have this host's warm ports of a network deleted in the background: nothing here is on it any more."""

    @abstractmethod
    def forget_network(self, network_id: str, project: str | None, deadline: float | None = None) -> None:
        """Delete this host's warm ports of a network, and what is known of it: it has changed.

        Ports still to be deleted are deleted now. Attachments, and other hosts' ports, are left alone.
        """

    @abstractmethod
    def empty_network(self, network_id: str, project: str | None, deadline: float | None = None) -> None:
        """Do as `forget_network`, and delete other hosts' warm ports too: the network is about to be deleted.

        They stay where something else is on the network, as it cannot be deleted then.
        """


class Publishing(ABC):
    """Ports of attachments that are reached from outside: by a floating IP, or on the host's own addresses."""

    @abstractmethod
    def publish(self, key: Key, ports: Sequence[PublishedPort], deadline: float | None = None) -> None:
        """Make the attachment's published ports exactly these. Already so: success.

        `Conflict` if a host's port is taken, `NotFound` for an unknown key, `NotSupported` if there is neither way.
        """

    @abstractmethod
    def revoke(self, key: Key) -> None:
        """Take all published ports of a key away. None there, key unknown: success. `release` does so too."""

    @abstractmethod
    def published(self, key: Key) -> tuple[PublishedPort, ...]:
        """Return what is published, with the address it is reached by."""


@dataclass(frozen=True)
class Agent:
    """What a door gets: `neutron` returns a client by the name of a project (None: the first).

    `project_of_id` returns that name for Keystone's id of a project.

    `isthmus.networking.services.agent` mounts two doors, each by a function that takes this:
    `libnetwork.application.make_application(agent)` returns a WSGI application for /Plugin.*, /NetworkDriver.* and
    /IpamDriver.*, `cni.application.add_routes(app, agent)` adds /cni to the Falcon application of the agent's socket,
    whose errors are faults as `control.http` writes them.
    """

    conf: ConfigOpts
    host: str
    attachments: Attachments
    publishing: Publishing
    neutron: Callable[[str | None], Neutron]
    project_of_id: Callable[[str], str]

    def project_name(self, name: str | None, project_id: str | None) -> str | None:
        """Return the project's name, given by name or by Keystone's id; `NotFound`, and `InvalidInput` for both."""
        if name and project_id:
            raise InvalidInput("give a project by its name or by its id, not by both")
        return self.project_of_id(project_id) if project_id else name
