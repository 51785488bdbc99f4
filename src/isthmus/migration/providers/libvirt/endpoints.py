"""Where QEMU listens for NBD: a unix socket on the worker's own machine, or TCP with TLS anywhere else."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from isthmus.control.errors import InvalidInput
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.names import short

DEFAULT_SOCKET_DIRECTORY = "/run/isthmus-nbd"


@dataclass(frozen=True)
class Endpoint:
    """One listening place: `socket` for unix, else `address` and `port` with TLS.

    `certificates` is the directory of the client's certificates on the worker.
    """

    socket: str | None = None
    address: str | None = None
    port: int = 0
    certificates: str | None = None

    def uri(self, export: str) -> str:
        """Return the NBD URI of one export here."""
        if self.socket is not None:
            return f"nbd+unix:///{quote(export, safe='')}?socket={quote(self.socket)}"
        host = f"[{self.address}]" if ":" in (self.address or "") else self.address
        return f"nbds://{host}:{self.port}/{quote(export, safe='')}"


def is_unix(hypervisor: Hypervisor) -> bool:
    """Tell which transport the connection details choose: unix by default where the URI is local."""
    return bool(hypervisor.nbd.get("transport", "unix" if hypervisor.is_local else "tls") == "unix")


def candidates(hypervisor: Hypervisor, purpose: str) -> Iterator[Endpoint]:
    """Yield the places to try for `purpose` (a name that is the same at each attempt), best first.

    Over TCP the port follows from the name, so that two users of a hypervisor seldom meet; a taken one is passed by.
    """
    if is_unix(hypervisor):
        yield Endpoint(socket=str(socket_path(hypervisor, purpose)))
        return
    first, last = hypervisor.nbd.get("first_port", 10810), hypervisor.nbd.get("last_port", 10909)
    if last < first:
        raise InvalidInput(f"NBD ports {first} to {last} of {hypervisor.label} are none; correct the endpoint")
    ports = last - first + 1
    start = int(short(purpose), 16) % ports
    for index in range(ports):
        yield at_port(hypervisor, first + (start + index) % ports)


def at_port(hypervisor: Hypervisor, port: int) -> Endpoint:
    """Return the TLS endpoint at a port of the hypervisor."""
    address = hypervisor.nbd.get("address") or urlsplit(hypervisor.uri).hostname or "localhost"
    return Endpoint(address=address, port=port, certificates=hypervisor.nbd_certificates)


def socket_path(hypervisor: Hypervisor, purpose: str) -> Path:
    """Return the socket for `purpose`; its directory is made if it is the default one."""
    directory = Path(hypervisor.nbd.get("socket_directory", DEFAULT_SOCKET_DIRECTORY))
    if not directory.is_dir():
        # QEMU runs as another user on a usual hypervisor: it must be able to make its socket here.
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    return directory / f"{short(purpose)}.sock"


def forget_socket(hypervisor: Hypervisor, purpose: str) -> None:
    """Remove the socket file that a killed QEMU left behind."""
    if is_unix(hypervisor):
        path = Path(hypervisor.nbd.get("socket_directory", DEFAULT_SOCKET_DIRECTORY)) / f"{short(purpose)}.sock"
        if os.path.lexists(path):
            path.unlink(missing_ok=True)
