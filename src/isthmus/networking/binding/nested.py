"""Where the host is itself a virtual machine on a Neutron port: an interface on top of that port's (the parent).

`macvlan`: the parent may send with the new port's MAC and addresses (allowed address pairs). `vlan`: the new port is a
subport of the parent's trunk, and its frames carry a VLAN id. Telling Neutron is `attaching.nesting`'s.

There is one interface and no pair: nothing of it is on the host once it is in a container.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from oslo_config.cfg import ConfigOpts

from isthmus.networking.binding.contract import (
    Binder,
    BindingFailed,
    BindingUnavailable,
    InterfaceExists,
    NamespaceGone,
    Nesting,
    Plugged,
    PluggedPort,
)
from isthmus.networking.binding.interfaces import configure, missing
from isthmus.networking.binding.links import MARK, Link, explained, find_link, kind_of, name_of, port_of, remove_link
from isthmus.networking.binding.namespaces import inside, open_namespace
from isthmus.networking.binding.netlink import IPRoute
from isthmus.networking.binding.veth import near_name
from isthmus.networking.model import InterfaceConfiguration, Network, Port, Target, TargetKind


class NestedBinder(Binder):
    """What macvlan and vlan have in common."""

    sees_containers: ClassVar[bool] = False

    def __init__(self, conf: ConfigOpts) -> None:
        self._parent: str | None = conf.network_agent.parent_interface

    @property
    @abstractmethod
    def kind(self) -> str:
        """The kernel's kind of link."""

    @abstractmethod
    def options(self, port: Port) -> Mapping[str, Any]:
        """Return what the kernel must know to make the link."""

    def prepare(self, port: Port, network: Network) -> None:
        """Do nothing: the interface is made when it is known where it goes."""

    def plug(self, port: Port, target: Target, configuration: InterfaceConfiguration, deadline: float) -> Plugged:
        """Make the interface on the parent and bring it to the target."""
        del deadline
        if target.kind is TargetKind.TAP:
            raise BindingFailed(f"{self.name} cannot carry a tap ({target.interface}); use ovs or bridge")
        with explained(f"plug port {port.id}"), IPRoute() as netlink:
            if target.netns is None:
                name = self._settle_here(netlink, port, target, configuration)
            else:
                name = self._settle_there(netlink, port, target, target.netns, configuration)
        return Plugged(self.parent, name)

    def unplug(self, port_id: str, target: Target | None, deadline: float) -> None:
        """Remove the interface, wherever it is."""
        del deadline
        with explained(f"unplug port {port_id}"), IPRoute() as netlink:
            _remove_marked(netlink, port_id, near_name(port_id), target.interface if target else "")
        if target is None or target.netns is None:
            return
        path, interface = target.netns, target.interface
        try:
            with open_namespace(path) as namespace, explained(f"unplug port {port_id} in {path}"):
                inside(namespace, path, lambda there: _remove_marked(there, port_id, near_name(port_id), interface))
        except NamespaceGone:
            return

    def check(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> tuple[str, ...]:
        """Return what is wrong with the interface."""

        def look(there: IPRoute) -> tuple[str, ...]:
            link = find_link(there, target.interface or near_name(port.id))
            if link is None or kind_of(link) != self.kind or port_of(link) != port.id:
                return (f"there is no interface {target.interface} of this port in {target.netns or 'this host'}",)
            return missing(there, link, configuration)

        if target.kind is TargetKind.ENGINE:
            return ()  # only the engine knows where it took it
        with explained(f"check port {port.id}"):
            if target.netns is None:
                with IPRoute() as netlink:
                    return look(netlink)
            try:
                with open_namespace(target.netns) as namespace:
                    return inside(namespace, target.netns, look)
            except NamespaceGone as error:
                return (error.message,)

    def mend(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> bool:
        """Return whether the interface is there: it has no connection that could be lost alone."""
        return not self.check(port, target, configuration)

    def plugged_ports(self) -> Mapping[str, PluggedPort]:
        """Return the interfaces that are not in a container."""
        with explained("list links"), IPRoute() as netlink:
            return {
                name_of(link): PluggedPort(
                    str(port_of(link)), in_use=name_of(link) != near_name(str(port_of(link))), connected=True
                )
                for link in netlink.get_links()
                if kind_of(link) == self.kind and port_of(link)
            }

    @property
    def parent(self) -> str:
        """The interface of the host's own port; `BindingFailed` if none is configured."""
        if not self._parent:
            raise BindingFailed(f"binder {self.name} needs [network_agent] parent_interface; set it")
        return self._parent

    def parent_mac(self) -> str:
        """Return the parent's MAC address, by which Neutron's port of it is found."""
        with explained(f"look at {self.parent}"), IPRoute() as netlink:
            return str(self._parent_link(netlink).get_attr("IFLA_ADDRESS"))

    def _settle_here(self, netlink: IPRoute, port: Port, target: Target, configuration: InterfaceConfiguration) -> str:
        name = target.interface or near_name(port.id)
        link = find_link(netlink, name)
        if link is not None and port_of(link) != port.id:
            raise _taken(name, "this host")
        link = link or self._make(netlink, port, configuration.mtu)
        if target.kind is TargetKind.ENGINE:
            return near_name(port.id)
        try:
            configure(netlink, link, name, configuration)
        except BaseException:
            _remove_marked(netlink, port.id, name, near_name(port.id))
            raise
        return name

    def _settle_there(
        self, netlink: IPRoute, port: Port, target: Target, path: str, configuration: InterfaceConfiguration
    ) -> str:
        def finish(there: IPRoute) -> bool:
            link = find_link(there, target.interface)
            if link is not None and port_of(link) != port.id:
                raise _taken(target.interface, path)
            link = link or find_link(there, near_name(port.id))
            if link is not None:
                configure(there, link, target.interface, configuration)
            return link is not None

        with open_namespace(path) as namespace:
            if inside(namespace, path, finish):
                return target.interface
            link = self._make(netlink, port, configuration.mtu)
            netlink.link("set", index=link["index"], net_ns_fd=namespace)
            try:
                arrived = inside(namespace, path, finish)
            except BaseException:
                inside(
                    namespace, path, lambda there: _remove_marked(there, port.id, near_name(port.id), target.interface)
                )
                raise
        if not arrived:
            raise BindingUnavailable(f"{near_name(port.id)} did not arrive in {path}; try again")
        return target.interface

    def _make(self, netlink: IPRoute, port: Port, mtu: int) -> Link:
        name = near_name(port.id)
        parent = self._parent_link(netlink)
        if find_link(netlink, name) is None:
            netlink.link("add", ifname=name, kind=self.kind, link=parent["index"], **self.options(port))
        link = find_link(netlink, name)
        if link is None:
            raise BindingUnavailable(f"{name} vanished while it was made; try again")
        room = int(parent.get_attr("IFLA_MTU"))
        if mtu > room:
            remove_link(netlink, name)
            raise BindingFailed(
                f"port {port.id} needs an MTU of {mtu}, and {self.parent} has {room}; raise the parent's"
            )
        netlink.link("set", index=link["index"], ifalias=MARK + port.id, address=port.mac, mtu=mtu)
        return link

    def _parent_link(self, netlink: IPRoute) -> Link:
        parent = find_link(netlink, self.parent)
        if parent is None:
            raise BindingFailed(f"this host has no interface {self.parent}; correct [network_agent] parent_interface")
        return parent


class MacvlanBinder(NestedBinder):
    """The binder `macvlan`."""

    name: ClassVar[str] = "macvlan"
    nesting: ClassVar[Nesting] = Nesting.ADDRESS_PAIR
    kind = "macvlan"

    def options(self, port: Port) -> Mapping[str, Any]:
        """Return bridge mode: containers of one host reach each other."""
        return {"macvlan_mode": "bridge", "address": port.mac}


class VlanBinder(NestedBinder):
    """The binder `vlan`."""

    name: ClassVar[str] = "vlan"
    nesting: ClassVar[Nesting] = Nesting.SUBPORT
    kind = "vlan"

    def options(self, port: Port) -> Mapping[str, Any]:
        """Return the VLAN id that the trunk has for the port."""
        vlan = port.vif_details.get("segmentation_id")
        if not isinstance(vlan, int):
            raise BindingFailed(
                f"port {port.id} has no VLAN id: it is no subport of this host's trunk; attach it again"
            )
        return {"vlan_id": vlan}


def _remove_marked(netlink: IPRoute, port_id: str, *names: str) -> None:
    for name in filter(None, names):
        link = find_link(netlink, name)
        if link is not None and (port_of(link) == port_id or name == near_name(port_id)):
            remove_link(netlink, name)


def _taken(name: str, where: str) -> InterfaceExists:
    return InterfaceExists(f"there is an interface {name} in {where} already; choose another name, or remove it")
