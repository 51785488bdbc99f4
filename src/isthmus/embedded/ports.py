"""The ports of the control plane, all on loopback: chosen once, remembered, checked before anything starts."""

import errno
import json
import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

import psutil

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.embedded.layout import Layout, write_private

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """TCP ports. Temporal takes the two after its own as well (its HTTP and metrics listeners cannot be turned off)."""

    api: int = 7667
    keystone: int = 15000
    barbican: int = 19311
    temporal: int = 17233
    nfs: int = 12049
    smb: int = 11445
    neutron: int = 19696

    def __post_init__(self) -> None:
        for name, port in self.by_part().items():
            if not 0 < port < 65536:
                raise InvalidInput(f"port {port} of {name} is not between 1 and 65535: choose another")
        if len(set(self.by_part().values())) < len(self.by_part()):
            raise InvalidInput(f"two parts want the same port ({self.by_part()}): choose different ones")

    @property
    def temporal_http(self) -> int:
        """Temporal's HTTP API: only the supervisor asks it, whether Temporal is ready."""
        return self.temporal + 1

    @property
    def temporal_metrics(self) -> int:
        """Temporal's Prometheus page."""
        return self.temporal + 2

    @property
    def keystone_url(self) -> str:
        """Keystone's version 3 API."""
        return f"http://{LOOPBACK}:{self.keystone}/v3"

    @property
    def barbican_url(self) -> str:
        """Barbican, without the version: clients add it."""
        return f"http://{LOOPBACK}:{self.barbican}"

    @property
    def neutron_url(self) -> str:
        """Neutron, without the version: clients add it."""
        return f"http://{LOOPBACK}:{self.neutron}"

    @property
    def api_url(self) -> str:
        """Isthmus's API, without the version."""
        return f"http://{LOOPBACK}:{self.api}"

    def by_part(self) -> dict[str, int]:
        """Return every port by the name of what listens on it."""
        extra = {"temporal-http": self.temporal_http, "temporal-metrics": self.temporal_metrics}
        return {**asdict(self), **extra}


def choose(layout: Layout, **wanted: int | None) -> Ports:
    """Return the ports asked for; those not asked for are the last start's, or the defaults at the first."""
    ports = Ports(**json.loads(layout.ports.read_text())) if layout.ports.exists() else Ports()
    return replace(ports, **{name: port for name, port in wanted.items() if port is not None})


def remember(layout: Layout, ports: Ports) -> None:
    """Keep the ports for the next start."""
    write_private(layout.ports, json.dumps(asdict(ports), indent=2) + "\n")


def check_free(ports: Ports, unused: Collection[str] = ()) -> None:
    """Raise Conflict naming each taken port and its owner; `unused` are the names of parts that are not started."""
    taken = [(part, port) for part, port in ports.by_part().items() if part not in unused and not _is_free(port)]
    if not taken:
        return
    owners = _listeners()
    lines = [f"port {port} (for {part}) is taken by {owners.get(port, 'another process')}" for part, port in taken]
    raise Conflict("; ".join(lines) + ". Stop it, or choose another port with --api-port, --keystone-port, "
                   "--barbican-port, --temporal-port, --nfs-port, --smb-port or --neutron-port. "
                   "Nothing was started.")  # fmt: skip


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection that lingers after its server's end does not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _listeners() -> dict[int, str]:
    owners: dict[int, str] = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid:
            try:
                owners[connection.laddr.port] = f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                continue
    return owners
