"""Links as they come to be in this network namespace, from the kernel's own announcements (rtnetlink)."""

import socket
import struct
import threading
from collections.abc import Iterator

_GROUP_LINK = 1  # RTMGRP_LINK
_NEW_LINK = 16  # RTM_NEWLINK
_NAME = 3  # IFLA_IFNAME
_HEADER, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")
_LOOK_UP_SECONDS = 1.0


def arrivals(stopped: threading.Event) -> Iterator[str]:
    """Yield the name of each link that is made, or made again under its name, until `stopped` is set.

    When the kernel had to drop announcements, every link of a name counts as new once more.
    """
    known: dict[str, int] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
        news.bind((0, _GROUP_LINK))
        news.settimeout(_LOOK_UP_SECONDS)
        while not stopped.is_set():
            try:
                message = news.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:  # ENOBUFS
                known.clear()
                continue
            for name, index in links_in(message):
                if known.get(name) != index:
                    known[name] = index
                    yield name


def links_in(message: bytes) -> Iterator[tuple[str, int]]:
    """Yield (name, index) of each new or changed link in a datagram of rtnetlink."""
    at = 0
    while at + _HEADER.size <= len(message):
        length, kind, *_ = _HEADER.unpack_from(message, at)
        if length < _HEADER.size:
            return
        if kind == _NEW_LINK:
            _, _, index, _, _ = _LINK.unpack_from(message, at + _HEADER.size)
            name = _name_in(message[at + _HEADER.size + _LINK.size : at + length])
            if name:
                yield name, index
        at += (length + 3) & ~3


def _name_in(attributes: bytes) -> str:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if length < _ATTRIBUTE.size:
            break
        if kind == _NAME:
            return attributes[at + _ATTRIBUTE.size : at + length].rstrip(b"\0").decode(errors="replace")
        at += (length + 3) & ~3
    return ""
