"""What a binder must do. `tests/contract/test_binder_contract.py` holds every binder to it.

A binder plugs a port's interface into what carries the port on this host: Open vSwitch under OVN, a Linux bridge, a
macvlan or a VLAN on a parent interface where the host is itself a virtual machine. It speaks netlink and OVSDB only,
never runs a program, and holds no state that the kernel or OVSDB does not hold: names come from the port's id, so every
method can be called again after a crash at any point, by another process too.

Errors, for every method: `BindingUnavailable` if OVSDB or the kernel does not answer in time (trying again is right),
`NamespaceGone` if the target's network namespace vanished, `InterfaceExists` if a name is taken by something that is
not ours, `BindingFailed` for what no retry mends. All name the interface, the port and the next step.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from isthmus.control.errors import Conflict, NotFound, StepFailed, Unavailable
from isthmus.networking.model import IpAddress, Network, Port, Route, Target


class BindingUnavailable(Unavailable):
    """OVSDB or the kernel does not answer now."""

    code = "binding-unavailable"


class NamespaceGone(NotFound):
    """The network namespace of the target is not there any more."""

    code = "network-namespace-gone"


class InterfaceExists(Conflict):
    """An interface of the wanted name exists and is not this attachment's."""

    code = "interface-exists"


class BindingFailed(StepFailed):
    """The interface cannot be plugged, and trying again does not mend it."""

    code = "binding-failed"


@dataclass(frozen=True)
class Configuration:
    """What an interface is given: addresses with prefix lengths, gateways, routes, MTU in bytes."""

    mac: str
    mtu: int
    addresses: tuple[tuple[IpAddress, int], ...]
    gateways: tuple[IpAddress, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Plugged:
    """A plugged interface: `far_interface` is the end on the host's side, `near_interface` the target's.

    For an ENGINE target `near_interface` is the name by which the engine finds it in the agent's namespace.
    """

    far_interface: str
    near_interface: str


class Binder(ABC):
    """One way of plugging. `name` is the entry point's (`isthmus.networking.binders`)."""

    name: ClassVar[str]
    port_per_attachment: ClassVar[bool] = True
    """Whether the port must be bound to this host in Neutron (`binding:host_id`); nested kinds bind their parent."""

    @abstractmethod
    def plug(self, port: Port, network: Network, target: Target, configuration: Configuration) -> Plugged:
        """Make the interface, configure it, and connect it to the port. Already so: returns the same.

        A half-made one of an earlier try is completed or made again. On an error nothing of it is left.
        """

    @abstractmethod
    def unplug(self, port_id: str, target: Target | None) -> None:
        """Take the interface and its connection away. Nothing there, namespace gone, tap gone: success."""

    @abstractmethod
    def check(self, port: Port, target: Target, configuration: Configuration) -> tuple[str, ...]:
        """Return what is wrong with a plugged interface, a sentence each: link, address, route, MTU, connection."""

    @abstractmethod
    def plugged_ports(self) -> Iterable[str]:
        """Return the ids of all ports that have an interface or a connection of this binder on this host."""
