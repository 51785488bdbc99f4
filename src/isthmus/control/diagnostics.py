"""What a process tells of itself to find faults by: Coriolis' diagnostics record. No configuration, no secrets."""

import platform
import socket
from functools import cache
from importlib import metadata
from typing import Any

from isthmus import __version__


@cache
def host_name() -> str:
    """Return the name by which this machine's services are known."""
    return socket.gethostname()


def describe(application: str) -> dict[str, Any]:
    """Return this process' record."""
    return {
        "application": application,
        "packages": list(_packages()),
        "os_info": _os_info(),
        "hostname": host_name(),
        "ip_addresses": _addresses(),
        "release_tag": __version__,
    }


@cache
def _packages() -> tuple[str, ...]:
    return tuple(sorted({f"{each.name}=={each.version}" for each in metadata.distributions()}, key=str.lower))


def _os_info() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"


def _addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(host_name(), None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(address[0]) for *_, address in found})
