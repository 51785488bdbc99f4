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
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from isthmus.control.errors import Conflict, NotFound, StepFailed, Unavailable
from isthmus.networking.model import InterfaceConfiguration, Network, Port, Target


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
class Plugged:
    """A plugged interface: `far_interface` is the end on the host's side, `near_interface` the target's.

    For an ENGINE target `near_interface` is the name by which the engine finds it in the agent's namespace.
    """

    far_interface: str
    near_interface: str


@dataclass(frozen=True)
class PluggedPort:
    """What a binder has on this host for a port: `in_use` if its near end is in another namespace, or is a tap.

    `port_id` may be known in part only (its first 11 characters) where the kernel keeps no more. `connected` is
    whether the port is carried: on its bridge, in OVSDB.
    """

    port_id: str
    in_use: bool
    connected: bool


class Nesting(StrEnum):
    """What Neutron must be told about a port whose host is itself a virtual machine on a port (the parent)."""

    NONE = "none"  # the port is bound to this host itself
    ADDRESS_PAIR = "address-pair"  # the parent may send with the port's address and MAC
    SUBPORT = "subport"  # the port is a subport of the parent's trunk, under a VLAN id


class Binder(ABC):
    """One way of plugging. `name` is the entry point's (`isthmus.networking.binders`).

    A binder is made once, with the agent's options, and called from several threads; two calls for one port never
    come at the same time. `deadline` is on the monotonic clock.
    """

    name: ClassVar[str]
    nesting: ClassVar[Nesting] = Nesting.NONE
    sees_containers: ClassVar[bool] = True
    """Whether `plugged_ports` shows what is in a container too: it does where a far end stays with the host."""

    @abstractmethod
    def prepare(self, port: Port, network: Network) -> None:
        """Do of `plug` what needs no target, so that a plug from the warm ones is short. May do nothing.

        What is prepared is among `plugged_ports` and `unplug` takes it away.
        """

    @abstractmethod
    def plug(self, port: Port, target: Target, configuration: InterfaceConfiguration, deadline: float) -> Plugged:
        """Make the interface, configure it, and connect it to the port. Already so: returns the same.

        A half-made one of an earlier try is completed or made again. On an error nothing is left in the target, and
        `unplug` removes the rest. An ENGINE's near end that somebody took out of the agent's namespace is made anew.
        """

    @abstractmethod
    def unplug(self, port_id: str, target: Target | None, deadline: float) -> None:
        """Take the interface and its connection away. Nothing there, namespace gone, tap gone: success."""

    @abstractmethod
    def check(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> tuple[str, ...]:
        """Return what is wrong with a plugged interface, a sentence each: link, address, route, MTU, connection."""

    @abstractmethod
    def mend(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> bool:
        """Connect a plugged interface again whose host's end lost its connection; False if the interface is gone.

        The near end is left as it is: a container may be using it.
        """

    @abstractmethod
    def plugged_ports(self) -> Mapping[str, PluggedPort]:
        """Return {far interface: port} of every interface or connection of this binder on this host."""

    def is_alive(self) -> bool:
        """Return whether what carries the ports answers now."""
        return True

    def finishes_checksums(self) -> bool:
        """Return whether what is plugged must finish its checksums itself, since what carries it does not.

        Interfaces that the binder makes do so then. A virtual machine behind a tap must be told by whoever starts it.
        """
        return False
