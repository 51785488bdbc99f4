"""A veth pair for a port: the far end stays with the host, the near end goes to the target.

Names are Kuryr's, from the port's id: `tap…` and `t_c…` with its first 11 characters.
"""

import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from isthmus.networking.binding import checksums
from isthmus.networking.binding.contract import BindingUnavailable, InterfaceExists, NamespaceGone
from isthmus.networking.binding.interfaces import configure, missing
from isthmus.networking.binding.links import (
    MARK,
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
from isthmus.networking.binding.namespaces import inside, open_namespace, socket_inside
from isthmus.networking.binding.netlink import IPRoute
from isthmus.networking.model import InterfaceConfiguration, Target, TargetKind

_ID_LENGTH = 11  # so that the name fits in the kernel's 15 bytes
_FAR, _NEAR = "tap", "t_c"


def far_name(port_id: str) -> str:
    """Return the name of the host's end."""
    return _FAR + port_id[:_ID_LENGTH]


def near_name(port_id: str) -> str:
    """Return the name of the target's end before anybody renames it."""
    return _NEAR + port_id[:_ID_LENGTH]


@dataclass(frozen=True)
class Veth:
    """The pair of one port. `finished`: what leaves its near end has its checksums finished."""

    port_id: str
    mac: str
    mtu: int
    finished: bool = False

    @property
    def far(self) -> str:
        """The host's end."""
        return far_name(self.port_id)

    @property
    def near(self) -> str:
        """The target's end."""
        return near_name(self.port_id)

    def ensure(self, netlink: IPRoute) -> Link:
        """Return the near end, in this namespace, of a whole pair; one whose near end went away is made anew."""
        far = find_link(netlink, self.far)
        near = peer_here(netlink, far) if far is not None and kind_of(far) == "veth" else None
        if far is not None and near is None:
            self._refuse_foreign(far)
            remove_link(netlink, self.far)
        if near is None:
            remove_link(netlink, self.near)
            peer = {"ifname": self.near, "address": self.mac, "mtu": self.mtu}
            netlink.link("add", ifname=self.far, kind="veth", mtu=self.mtu, peer=peer)
            far, near = find_link(netlink, self.far), find_link(netlink, self.near)
        if far is None or near is None:
            raise BindingUnavailable(f"{self.far} vanished while it was made; try again")
        if port_of(far) != self.port_id:
            self._refuse_foreign(far)
            netlink.link("set", index=far["index"], ifalias=MARK + self.port_id)
            _without_ipv6(self.far)
        netlink.link("set", index=far["index"], mtu=self.mtu, state="up")
        if self.finished:
            # It goes with the interface into any namespace.
            checksums.finish(name_of(near))
        return near

    def _refuse_foreign(self, far: Link) -> None:
        if (port_of(far) or self.port_id) != self.port_id or kind_of(far) != "veth":
            raise InterfaceExists(f"an interface {self.far} exists and is not port {self.port_id}'s; remove it")


def settle(netlink: IPRoute, pair: Veth, target: Target, wanted: InterfaceConfiguration) -> str:
    """Bring the near end to its target, configured; return its name there."""
    if target.kind is TargetKind.ENGINE:
        near = pair.ensure(netlink)
        if name_of(near) != pair.near:
            netlink.link("set", index=near["index"], ifname=pair.near)
        netlink.link("set", index=near["index"], mtu=pair.mtu, address=pair.mac)
        return pair.near
    if target.netns is None:
        return _settle_here(netlink, pair, target, wanted)
    with open_namespace(target.netns) as namespace:
        far = find_link(netlink, pair.far)
        if far is not None and inside(namespace, target.netns, lambda there: _settled(there, far, target, wanted)):
            return target.interface
        inside(namespace, target.netns, lambda there: _refuse_taken(there, target))
        near = pair.ensure(netlink)
        index = near["index"]
        netlink.link("set", index=index, net_ns_fd=namespace)
        name = name_of(near)
        try:
            inside(namespace, target.netns, lambda there: _configure_named(there, name, target, wanted))
        except BaseException:
            remove_link(netlink, pair.far)
            raise
    return target.interface


def finish_checksums(netlink: IPRoute, port_id: str, target: Target | None) -> None:
    """Have a pair's near end finish its checksums, wherever it is. Gone: success."""
    far = find_link(netlink, far_name(port_id))
    if far is None:
        return
    here = peer_here(netlink, far)
    if here is not None:
        checksums.finish(name_of(here))
    elif target is not None and target.netns is not None:
        path, index = target.netns, far.get_attr("IFLA_LINK") or 0
        with contextlib.suppress(NamespaceGone), open_namespace(path) as namespace:
            near = inside(namespace, path, lambda there: find_link_by_index(there, index))
            if near is not None:
                with socket_inside(namespace, path, socket.AF_INET, socket.SOCK_DGRAM) as through:
                    checksums.finish(name_of(near), through)


def inspect(netlink: IPRoute, port_id: str, target: Target, wanted: InterfaceConfiguration) -> tuple[str, ...]:
    """Return what is wrong with a settled pair."""
    far = find_link(netlink, far_name(port_id))
    if far is None:
        return (f"the host has no interface {far_name(port_id)}",)
    problems = [] if far["flags"] & 1 else [f"interface {far_name(port_id)} is down"]
    if target.kind is TargetKind.ENGINE:
        return tuple(problems)
    if target.netns is None:
        return (*problems, *_inspect_near(netlink, far, target, wanted))
    try:
        with open_namespace(target.netns) as namespace:
            found = inside(namespace, target.netns, lambda there: _inspect_near(there, far, target, wanted))
    except NamespaceGone as error:
        found = (error.message,)
    return (*problems, *found)


def _settle_here(netlink: IPRoute, pair: Veth, target: Target, wanted: InterfaceConfiguration) -> str:
    far = find_link(netlink, pair.far)
    if far is None or not _settled(netlink, far, target, wanted):
        _refuse_taken(netlink, target)
        near = pair.ensure(netlink)
        try:
            configure(netlink, near, target.interface, wanted)
        except BaseException:
            remove_link(netlink, pair.far)
            raise
    return target.interface


def _settled(there: IPRoute, far: Link, target: Target, wanted: InterfaceConfiguration) -> bool:
    """Complete a near end that is at its place already; False if it is not."""
    near = find_link(there, target.interface)
    if near is None or kind_of(near) != "veth" or near.get_attr("IFLA_LINK") != far["index"]:
        return False
    if far.get_attr("IFLA_LINK") != near["index"]:
        return False
    with explained(f"configure {target.interface}"):
        configure(there, near, target.interface, wanted)
    return True


def _refuse_taken(there: IPRoute, target: Target) -> None:
    if find_link(there, target.interface) is not None:
        raise InterfaceExists(
            f"there is an interface {target.interface} in {target.netns or 'this host'} already; "
            "choose another name, or remove it"
        )


def _configure_named(there: IPRoute, name: str, target: Target, wanted: InterfaceConfiguration) -> None:
    limit = time.monotonic() + 5
    while (near := find_link(there, name)) is None and time.monotonic() < limit:
        time.sleep(0.01)
    if near is None:
        raise BindingUnavailable(f"{name} did not arrive in {target.netns}; try again")
    with explained(f"configure {target.interface} in {target.netns}"):
        configure(there, near, target.interface, wanted)


def _inspect_near(there: IPRoute, far: Link, target: Target, wanted: InterfaceConfiguration) -> tuple[str, ...]:
    near = find_link_by_index(there, far.get_attr("IFLA_LINK") or 0)
    if near is None or name_of(near) != target.interface or near.get_attr("IFLA_LINK") != far["index"]:
        return (f"there is no interface {target.interface} of this port in {target.netns or 'this host'}",)
    return missing(there, near, wanted)


def _without_ipv6(name: str) -> None:
    """Keep the kernel from speaking IPv6 on the host's end, which is no host on that network."""
    try:
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1", "ascii")
    except OSError:
        return
