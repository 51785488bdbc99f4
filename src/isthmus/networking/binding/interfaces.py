"""The near end: what an interface is given in its namespace, and what of it is missing."""

import errno
import socket
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

from isthmus.networking.binding.links import Link, name_of
from isthmus.networking.binding.netlink import IFA_F_NODAD, IPRoute, NetlinkError
from isthmus.networking.model import InterfaceConfiguration, IpAddress, IpNetwork

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_UP = 1  # IFF_UP
_LINK_SCOPE, _MAIN_TABLE = 253, 254


def configure(netlink: IPRoute, link: Link, name: str, wanted: InterfaceConfiguration) -> None:
    """Name and configure an interface of the namespace that `netlink` is in. Done in part already: completed."""
    index = link["index"]
    if name_of(link) != name:
        netlink.link("set", index=index, state="down")
        netlink.link("set", index=index, ifname=name)
    netlink.link("set", index=index, mtu=wanted.mtu, address=wanted.mac)
    if any(address.version == 6 for address, _ in wanted.addresses):
        _allow_ipv6(name)
    netlink.link("set", index=index, state="up")
    for address, length in wanted.addresses:
        # Neutron has seen to it that the address is free; detecting duplicates would keep it unusable for a second.
        flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
        _add(
            netlink.addr, index=index, address=str(address), prefixlen=length, family=_FAMILY[address.version], **flags
        )
    for destination, hop in _routes(wanted):
        _add_route(netlink, index, destination, hop)


def missing(netlink: IPRoute, link: Link, wanted: InterfaceConfiguration) -> tuple[str, ...]:
    """Return what an interface has not, a sentence each."""
    name, index = name_of(link), link["index"]
    found: list[str] = []
    if not link["flags"] & _UP:
        found.append(f"interface {name} is down")
    if str(link.get_attr("IFLA_ADDRESS")).lower() != wanted.mac.lower():
        found.append(f"interface {name} has the MAC address {link.get_attr('IFLA_ADDRESS')}, not {wanted.mac}")
    if link.get_attr("IFLA_MTU") != wanted.mtu:
        found.append(f"interface {name} has an MTU of {link.get_attr('IFLA_MTU')}, not {wanted.mtu}")
    have = {
        ip_interface(f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}") for each in netlink.get_addr(index=index)
    }
    found += [
        f"interface {name} has not the address {address}/{length}"
        for address, length in wanted.addresses
        if ip_interface(f"{address}/{length}") not in have
    ]
    routes = {_route_of(each) for each in netlink.get_routes(oif=index, table=_MAIN_TABLE)}
    found += [
        f"interface {name} has no route to {destination} {f'by {hop}' if hop else 'on the link'}"
        for destination, hop in _routes(wanted)
        if (destination, hop) not in routes
    ]
    return tuple(found)


def _routes(wanted: InterfaceConfiguration) -> list[tuple[IpNetwork, IpAddress | None]]:
    """Return the routes in the order in which they can be made."""
    links = [ip_network(f"{address}/{length}", strict=False) for address, length in wanted.addresses]
    routes: list[tuple[IpNetwork, IpAddress | None]] = []
    through: list[tuple[IpNetwork, IpAddress | None]] = [
        *((route.destination, route.next_hop) for route in wanted.routes),
        *((ip_network("0.0.0.0/0" if gateway.version == 4 else "::/0"), gateway) for gateway in wanted.gateways),
    ]
    for destination, hop in through:
        if hop is not None and hop.version == 6 and hop.is_link_local:
            pass
        elif hop is not None and not any(hop in link for link in links if link.version == hop.version):
            routes.append((ip_network(f"{hop}/{hop.max_prefixlen}"), None))
        routes.append((destination, hop))
    return list(dict.fromkeys(routes))


def _add_route(netlink: IPRoute, index: int, destination: IpNetwork, hop: IpAddress | None) -> None:
    family = _FAMILY[destination.version]
    through: dict[str, Any] = (
        {"gateway": str(hop)} if hop else {"scope": _LINK_SCOPE if family == socket.AF_INET else 0}
    )
    _add(netlink.route, dst=str(destination), oif=index, family=family, **through)


def _add(table: Any, **values: Any) -> None:
    try:
        table("add", **values)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        # Of ours from an earlier try, or somebody else's: the second makes `replace` fail or the check complain.
        if "dst" in values:
            table("replace", **values)


def _route_of(found: Any) -> tuple[IpNetwork, IpAddress | None]:
    everywhere = "0.0.0.0" if found["family"] == socket.AF_INET else "::"  # noqa: S104 - not an address to listen on
    destination = ip_network(f"{found.get_attr('RTA_DST') or everywhere}/{found['dst_len']}")
    hop = found.get_attr("RTA_GATEWAY")
    return destination, ip_interface(hop).ip if hop else None


def _allow_ipv6(name: str) -> None:
    """Undo an engine's `disable_ipv6`; of the thread's namespace, as all of /proc/sys/net. May be read-only."""
    try:
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0", "ascii")
    except OSError:
        return
