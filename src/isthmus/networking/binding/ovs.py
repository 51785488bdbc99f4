"""Open vSwitch, under OVN or not: a veth pair, or a virtual machine's tap, on the integration bridge."""

import time
from collections.abc import Mapping
from typing import ClassVar

from oslo_config.cfg import ConfigOpts

from isthmus.networking.binding.contract import Binder, BindingFailed, BindingUnavailable, Plugged, PluggedPort
from isthmus.networking.binding.links import explained, find_link, kind_of, name_of, peer_here, port_of, remove_link
from isthmus.networking.binding.netlink import IPRoute
from isthmus.networking.binding.ovsdb import OvsDatabase
from isthmus.networking.binding.veth import Veth, far_name, finish_checksums, inspect, settle
from isthmus.networking.model import InterfaceConfiguration, Network, Port, Target, TargetKind


class OvsBinder(Binder):
    """The binder `ovs`."""

    name: ClassVar[str] = "ovs"

    def __init__(self, conf: ConfigOpts) -> None:
        options = conf.network_agent
        self._flows_timeout: float = options.flows_timeout
        self._database = OvsDatabase(options.ovsdb, options.integration_bridge, options.call_timeout)

    @property
    def database(self) -> OvsDatabase:
        """Open vSwitch's database, for its name of this host and its health."""
        return self._database

    def prepare(self, port: Port, network: Network) -> None:
        """Make the pair and plug it, so that OVN has the port's flows before anybody waits for them."""
        with explained(f"prepare port {port.id}"), IPRoute() as netlink:
            finished = self._database.finishes_checksums()
            Veth(port.id, port.mac, network.mtu, finished).ensure(netlink)
            self._connect(netlink, far_name(port.id), port, finished=finished)

    def plug(self, port: Port, target: Target, configuration: InterfaceConfiguration, deadline: float) -> Plugged:
        """Bring the pair's near end to the target, or take the tap, and give OVN a while to have the flows."""
        finished = self._database.finishes_checksums()
        with explained(f"plug port {port.id}"), IPRoute() as netlink:
            if target.kind is TargetKind.TAP:
                plugged = _take_tap(netlink, port, target, configuration)
            else:
                pair = Veth(port.id, port.mac, configuration.mtu, finished)
                plugged = Plugged(pair.far, settle(netlink, pair, target, configuration))
            self._connect(netlink, plugged.far_interface, port, finished=finished)
        if port.vif_type in {"", "ovs"}:
            limit = min(deadline, time.monotonic() + self._flows_timeout)
            self._database.wait_for_flows(plugged.far_interface, limit)
        return plugged

    def unplug(self, port_id: str, target: Target | None, deadline: float) -> None:
        """Take the port out of the database and remove the pair; a tap is left to whoever made it."""
        del target, deadline  # the database knows a tap by the port
        self._database.disconnect_port(port_id)
        with explained(f"unplug port {port_id}"), IPRoute() as netlink:
            remove_link(netlink, far_name(port_id))

    def check(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> tuple[str, ...]:
        """Return what is wrong with the interface and with its row in the database."""
        far = target.interface if target.kind is TargetKind.TAP else far_name(port.id)
        problems: tuple[str, ...] = ()
        with explained(f"check port {port.id}"), IPRoute() as netlink:
            link = find_link(netlink, far)
            if target.kind is not TargetKind.TAP:
                problems = inspect(netlink, port.id, target, configuration)
            elif link is None:
                problems = (f"the host has no tap {far}",)
        row = self._database.interfaces().get(far)
        if row is None or row.port_id != port.id:
            return (*problems, f"Open vSwitch does not have {far} plugged for port {port.id}")
        if row.bridge is None or row.of_port is None or row.of_port < 0:
            return (*problems, f"Open vSwitch has {far} in its database and on no bridge")
        if not row.offered:
            return (*problems, f"Open vSwitch does not tell OVN that {far} is port {port.id} (iface-id)")
        if link is not None and row.index not in {None, link["index"]}:
            return (*problems, f"Open vSwitch has an earlier interface {far}, not the one that is there now")
        if self._database.finishes_checksums() and not row.finished:
            return (*problems, f"Open vSwitch drops what {far} carries with unfinished checksums (TCP, UDP)")
        return problems

    def mend(self, port: Port, target: Target, configuration: InterfaceConfiguration) -> bool:
        """Bring the far end up and plug it into the database again."""
        far = target.interface if target.kind is TargetKind.TAP else far_name(port.id)
        with explained(f"mend port {port.id}"), IPRoute() as netlink:
            link = find_link(netlink, far)
            if link is None:
                return False
            netlink.link("set", index=link["index"], mtu=configuration.mtu, state="up")
            finished = self._database.finishes_checksums()
            if finished:
                finish_checksums(netlink, port.id, target)
            self._connect(netlink, far, port, finished=finished)
        return True

    def plugged_ports(self) -> Mapping[str, PluggedPort]:
        """Return the ports of the database's rows and of marked links.

        One whose checksums should be finished and are not is not carried, so not connected.
        """
        rows = self._database.interfaces()
        finished = self._database.finishes_checksums()
        found: dict[str, PluggedPort] = {}
        with explained("list links"), IPRoute() as netlink:
            for link in netlink.get_links():
                name, port_id = name_of(link), port_of(link)
                row = rows.pop(name, None)
                if row is not None or (port_id and kind_of(link) == "veth"):
                    in_use = kind_of(link) != "veth" or peer_here(netlink, link) is None
                    connected = row is not None and row.carries(link["index"], finished=finished)
                    found[name] = PluggedPort(row.port_id if row else str(port_id), in_use, connected)
        return found | {name: PluggedPort(row.port_id, in_use=False, connected=False) for name, row in rows.items()}

    def is_alive(self) -> bool:
        """Return whether the database answers, and has the bridge."""
        return self._database.is_alive()

    def finishes_checksums(self) -> bool:
        """Return whether the datapath is the userspace one without segmentation offload."""
        return self._database.finishes_checksums()

    def _connect(self, netlink: IPRoute, far: str, port: Port, *, finished: bool) -> None:
        link = find_link(netlink, far)
        if link is None:
            raise BindingUnavailable(f"{far} vanished while port {port.id} was plugged; try again")
        self._database.connect_port(far, port.id, port.mac, link["index"], finished=finished)


def _take_tap(netlink: IPRoute, port: Port, target: Target, configuration: InterfaceConfiguration) -> Plugged:
    link = find_link(netlink, target.interface)
    if link is None:
        raise BindingFailed(f"this host has no tap {target.interface}; start the virtual machine first")
    netlink.link("set", index=link["index"], mtu=configuration.mtu, state="up")
    remove_link(netlink, far_name(port.id))
    return Plugged(target.interface, target.interface)
