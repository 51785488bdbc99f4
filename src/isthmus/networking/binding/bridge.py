"""A Linux bridge for each network: a veth pair whose far end is the bridge's.

The bridge is the one that Neutron names in the port's binding, else `brq` and the first 11 characters of the network's
id, as Neutron's Linux bridge agent called it; one that is not there is made, without an uplink.
"""

from collections.abc import Mapping
from typing import ClassVar

from oslo_config.cfg import ConfigOpts

from isthmus.networking.binding.contract import Binder, BindingFailed, Plugged, PluggedPort
from isthmus.networking.binding.links import (
    Link,
    explained,
    find_link,
    find_link_by_index,
    kind_of,
    name_of,
    peer_here,
    port_of,
    remove_link,
)
from isthmus.networking.binding.netlink import IPRoute
from isthmus.networking.binding.veth import Veth, far_name, inspect, settle
from isthmus.networking.model import InterfaceConfiguration, Network, Port, Target, TargetKind


class BridgeBinder(Binder):
    """The binder `bridge`."""

    name: ClassVar[str] = "bridge"

    def __init__(self, conf: ConfigOpts) -> None:
        del conf  # it has no options

    def prepare(self, port: Port, network: Network) -> None:
        """Make the pair and put it on the bridge."""
        with explained(f"prepare port {port.id}"), IPRoute() as netlink:
            Veth(port.id, port.mac, network.mtu).ensure(netlink)
            _connect(netlink, far_name(port.id), port)

    def plug(self, port: Port, target: Target, configuration: InterfaceConfiguration, deadline: float) -> Plugged:
        """Bring the pair's near end to the target, or put the tap on the bridge."""
        del deadline
        with explained(f"plug port {port.id}"), IPRoute() as netlink:
            if target.kind is TargetKind.TAP:
                _take_tap(netlink, target, configuration)
                plugged = Plugged(target.interface, target.interface)
            else:
                near = settle(netlink, Veth(port.id, port.mac, configuration.mtu), target, configuration)
                plugged = Plugged(far_name(port.id), near)
            _connect(netlink, plugged.far_interface, port)
        return plugged

    def unplug(self, port_id: str, target: Target | None, deadline: float) -> None:
        """Remove the pair, or take the tap off its bridge."""
        del deadline
        with explained(f"unplug port {port_id}"), IPRoute() as netlink:
            remove_link(netlink, far_name(port_id))
            tap = find_link(netlink, target.interface) if target and target.kind is TargetKind.TAP else None
            if tap is not None:
                netlink.link("set", index=tap["index"], master=0)

    def check(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> tuple[str, ...]:
        """Return what is wrong with the interface and its place on the bridge."""
        far = target.interface if target.kind is TargetKind.TAP else far_name(port.id)
        with explained(f"check port {port.id}"), IPRoute() as netlink:
            link = find_link(netlink, far)
            if link is None:
                return (f"the host has no interface {far}",)
            problems = () if target.kind is TargetKind.TAP else inspect(netlink, port.id, target, configuration)
            if _bridge_of(netlink, link) != bridge_name(port):
                return (*problems, f"interface {far} is not on bridge {bridge_name(port)}")
        return problems

    def mend(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> bool:
        """Put the far end on its bridge again."""
        far = target.interface if target.kind is TargetKind.TAP else far_name(port.id)
        with explained(f"mend port {port.id}"), IPRoute() as netlink:
            link = find_link(netlink, far)
            if link is None:
                return False
            netlink.link("set", index=link["index"], mtu=configuration.mtu, state="up")
            _connect(netlink, far, port)
        return True

    def plugged_ports(self) -> Mapping[str, PluggedPort]:
        """Return the ports of marked pairs that are on a Linux bridge. A tap of ours bears no mark."""
        found: dict[str, PluggedPort] = {}
        with explained("list links"), IPRoute() as netlink:
            for link in netlink.get_links():
                port_id = port_of(link)
                if port_id and kind_of(link) == "veth" and _bridge_of(netlink, link):
                    found[name_of(link)] = PluggedPort(port_id, peer_here(netlink, link) is None, connected=True)
        return found


def bridge_name(port: Port) -> str:
    """Return the bridge of a port."""
    return str(port.vif_details.get("bridge_name") or f"brq{port.network_id[:11]}")


def _connect(netlink: IPRoute, far: str, port: Port) -> None:
    name = bridge_name(port)
    if find_link(netlink, name) is None:
        netlink.link("add", ifname=name, kind="bridge")
    bridge, link = find_link(netlink, name), find_link(netlink, far)
    if bridge is None or link is None:
        raise BindingFailed(f"{far} or bridge {name} vanished while port {port.id} was plugged; try again")
    netlink.link("set", index=bridge["index"], state="up")
    if link.get_attr("IFLA_MASTER") != bridge["index"]:
        netlink.link("set", index=link["index"], master=bridge["index"])


def _take_tap(netlink: IPRoute, target: Target, configuration: InterfaceConfiguration) -> None:
    tap = find_link(netlink, target.interface)
    if tap is None:
        raise BindingFailed(f"this host has no tap {target.interface}; start the virtual machine first")
    netlink.link("set", index=tap["index"], mtu=configuration.mtu, state="up")


def _bridge_of(netlink: IPRoute, link: Link) -> str | None:
    master = link.get_attr("IFLA_MASTER")
    bridge = find_link_by_index(netlink, master) if master else None
    return name_of(bridge) if bridge is not None and kind_of(bridge) == "bridge" else None
