"""Links of the kernel by netlink: find, make, remove; each act is told apart from "already so"."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from isthmus.networking.binding.contract import BindingFailed, BindingUnavailable, InterfaceExists
from isthmus.networking.binding.netlink import IPRoute, NetlinkError

Link = Any
"""A link as pyroute2 has it: a message with `get_attr`."""

MARK = "isthmus:"
"""Begins the alias of every link that is ours; the port's id follows."""

_GONE = {errno.ENODEV, errno.ENXIO, errno.ENOENT}
_AGAIN = {errno.EBUSY, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINTR}


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the kernel's refusals into the contract's errors; `what` says what was done, as "plug port X"."""
    try:
        yield
    except NetlinkError as error:
        reason = f"the kernel refused to {what}: {errno.errorcode.get(error.code, error.code)}"
        if error.code == errno.EEXIST:
            raise InterfaceExists(f"{reason}; remove what has the name or the address") from error
        if error.code == errno.EOPNOTSUPP:
            raise BindingFailed(f"{reason}; load the kernel's module for it (8021q, macvlan, veth, bridge)") from error
        if error.code in _AGAIN:
            raise BindingUnavailable(f"{reason}; try again") from error
        raise BindingFailed(f"{reason}; see the kernel's log (dmesg)") from error
    except OSError as error:
        raise BindingUnavailable(
            f"the kernel's netlink does not answer ({error.strerror}): {what}; try again"
        ) from error


def find_link(netlink: IPRoute, name: str) -> Link | None:
    """Return the link of a name, or None."""
    try:
        found = netlink.link("get", ifname=name)
    except NetlinkError as error:
        if error.code in _GONE:
            return None
        raise
    return found[0] if found else None


def find_link_by_index(netlink: IPRoute, index: int) -> Link | None:
    """Return the link of an index, or None."""
    try:
        found = netlink.link("get", index=index)
    except NetlinkError as error:
        if error.code in _GONE:
            return None
        raise
    return found[0] if found else None


def name_of(link: Link) -> str:
    """Return a link's name."""
    return str(link.get_attr("IFLA_IFNAME"))


def kind_of(link: Link) -> str | None:
    """Return a virtual link's kind ("veth", "macvlan"), None for another."""
    information = link.get_attr("IFLA_LINKINFO")
    kind = information.get_attr("IFLA_INFO_KIND") if information else None
    return None if kind is None else str(kind)


def port_of(link: Link) -> str | None:
    """Return the id of the port that a link of ours is for, from its alias."""
    alias = str(link.get_attr("IFLA_IFALIAS") or "")
    return alias.removeprefix(MARK) if alias.startswith(MARK) else None


def remove_link(netlink: IPRoute, name: str) -> None:
    """Remove a link. Gone: success."""
    link = find_link(netlink, name)
    if link is None:
        return
    try:
        netlink.link("del", index=link["index"])
    except NetlinkError as error:
        if error.code not in _GONE:
            raise


def peer_here(netlink: IPRoute, far: Link) -> Link | None:
    """Return the other end of a veth if it is in the same namespace."""
    index = far.get_attr("IFLA_LINK")
    if not index or far.get_attr("IFLA_LINK_NETNSID") is not None:
        return None
    return find_link_by_index(netlink, index)
