"""An NBD URI as libguestfs wants it: a server and an export name."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from isthmus.control.errors import InvalidInput, NotSupported

_DEFAULT_PORT = 10809


@dataclass(frozen=True)
class NbdAddress:
    """`server` in libguestfs' words, "unix:/path" or "host:port"; `export` may be empty."""

    server: str
    export: str


def parse(uri: str) -> NbdAddress:
    """Parse an NBD URI (the NBD project's doc/uri.md). NotSupported for TLS, which libguestfs 1.48 cannot speak."""
    parts = urlsplit(uri)
    export = unquote(parts.path.removeprefix("/"))
    if parts.scheme in ("nbds", "nbds+unix"):
        raise NotSupported("the appliance cannot open a disk over NBD with TLS: give it by a local socket")
    if parts.scheme == "nbd+unix":
        sockets = parse_qs(parts.query).get("socket", [])
        if len(sockets) == 1:
            return NbdAddress(f"unix:{sockets[0]}", export)
    elif parts.scheme == "nbd" and parts.hostname:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return NbdAddress(f"{host}:{parts.port or _DEFAULT_PORT}", export)
    raise InvalidInput(f"{uri} is not an NBD URI: nbd://host:port/export or nbd+unix:///export?socket=/path")
