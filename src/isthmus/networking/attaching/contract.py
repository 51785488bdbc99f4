"""What the doors (libnetwork, CNI, `isthmus port`) ask of the agent: the one way to attach anything.

Every call is idempotent for its key and safe against any other call at the same time: the second of two equal calls
finds what the first made, and a call for a key in motion waits for it within its time limit. A call that fails undoes
what it began, or leaves it to the repairs under a state that says so. Nothing here waits for Neutron where a warm port
of the network is ready.

Errors: those of `neutron` (not found, not allowed, conflict, no address left, does not answer) and of `binding`; each
names the object and the next step.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection

from isthmus.networking.model import Attachment, IpAddress, Key, Network, Owner, Subnet, Target, Wish


class Attachments(ABC):
    """The host's attachments."""

    @abstractmethod
    def reserve(self, wish: Wish) -> Attachment:
        """Give the key a port with addresses: a warm one of the network if the wish allows, else a new or named one.

        Already reserved or plugged under this key: the same attachment, or `Conflict` if the wish demands otherwise.
        """

    @abstractmethod
    def hand_over(self, old: Key, new: Wish) -> Attachment:
        """Put a reserved attachment under another key (an address given out before its endpoint has an id).

        Already handed over: the attachment under the new key. What `new` demands must fit the port.
        """

    @abstractmethod
    def plug(self, key: Key, target: Target, deadline: float) -> Attachment:
        """Plug the key's port into a target. `deadline` is on the monotonic clock. Already there: the same."""

    @abstractmethod
    def unplug(self, key: Key) -> None:
        """Take the interface away and keep the port. Nothing there: success."""

    @abstractmethod
    def release(self, key: Key) -> None:
        """Unplug, and give the port back: to the warm ones, to whoever owned it before, or to Neutron. Gone: success."""

    @abstractmethod
    def check(self, key: Key) -> tuple[str, ...]:
        """Return what is wrong with an attachment, a sentence each; `NotFound` for an unknown key."""

    @abstractmethod
    def find(self, key: Key) -> Attachment | None:
        """Return the attachment of a key."""

    @abstractmethod
    def find_by_address(self, owner: Owner, network_id: str, address: IpAddress) -> Attachment | None:
        """Return the owner's attachment that has an address on a network."""

    @abstractmethod
    def keep_only(self, owner: Owner, prefix: str, valid: Collection[Key]) -> tuple[Key, ...]:
        """Release every attachment of the owner whose id begins with `prefix` and is not valid; return their keys.

        Goes on past errors and raises the first at the end.
        """

    @abstractmethod
    def network(self, name_or_id: str, project: str | None) -> Network:
        """Return a network that the project may use; remembered for some seconds. `NotFound`, `Conflict` if ambiguous."""

    @abstractmethod
    def subnets(self, network_id: str, project: str | None) -> tuple[Subnet, ...]:
        """Return the subnets of a network, from memory where it is fresh."""
