"""Two sites that see nothing of each other but one link: a worker in each, in namespaces of its own.

    with TwoSites(plane, place, temporal_port, temporal_lines) as sites:
        sites.east.start("queues = east")
        sites.west.start("queues = west\nchannel_listen = 10.79.0.2:7670")

Each site's loopback has the control plane's Keystone, Barbican and Temporal, as if a route led outwards to them;
nothing leads from the control plane into a site. A site can be kept from seeing the other's files (`hide`).
"""

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from lab.control_plane import ControlPlane
from lab.network_host import NetworkHost, wait_for
from lab.network_relay import LoopbackRelay

ISTHMUS = str(Path(sys.executable).parent / "isthmus")
READY_SECONDS = 120
LINK = "link0"
_EVERY_PROTOCOL = 0x0003
_KEPT = 1 << 28


class SiteHost:
    """One site: its host, its address on the link, and its worker."""

    def __init__(self, name: str, address: str, place: Path, plane: ControlPlane, lines: str) -> None:
        self.name = name
        self.address = address
        self.host = NetworkHost()
        self._place = place
        self._plane = plane
        self._lines = lines
        self._spawned: subprocess.Popen[bytes] | None = None
        self._worker: psutil.Process | None = None

    @property
    def log(self) -> str:
        """What its worker has logged."""
        return (self._place / f"{self.name}.log").read_text()

    def hide(self, directory: str) -> None:
        """Have the site see an empty directory there."""
        self.host.run("mount", "-t", "tmpfs", "hidden", directory)

    def start(self, options: str) -> None:
        """Start the worker with these options and wait until it is ready."""
        own, ready = self._place / f"{self.name}.conf", self._place / f"{self.name}.ready"
        staging = self._place / f"staging-{self.name}"
        own.write_text(f"[worker]\nqueues = {self.name}\nstaging_dir = {staging}\n{options}\n{self._lines}")
        ready.unlink(missing_ok=True)
        files = ["--config-file", str(self._plane.configuration), "--config-file", str(own)]
        # A name of its own, as a machine has.
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name} && exec "$@"', "sh"]
        self._spawned = self.host.spawn(
            *named,
            *(ISTHMUS, "worker", *files),
            log=self._place / f"{self.name}.log",
            env={**os.environ, "ISTHMUS_READY_FILE": str(ready)},
        )
        wait_for(f"the worker of {self.name}", lambda: ready.exists() or self._has_ended(), READY_SECONDS)
        if not ready.exists():
            raise RuntimeError(f"the worker of {self.name} did not start:\n{self.log}")
        self._worker = self.host.program_of(self._spawned)

    def kill(self) -> None:
        """Kill the worker without warning."""
        if self._worker is not None and self._spawned is not None:
            self._worker.kill()
            self._spawned.wait(READY_SECONDS)
            self._worker = None

    def stop(self) -> None:
        """End the worker as an operator does."""
        if self._worker is not None and self._spawned is not None:
            self._worker.terminate()
            self._spawned.wait(READY_SECONDS)
            self._worker = None

    def listening(self) -> set[str]:
        """Return address:port of all that listens in the site beyond its loopback."""
        lines = self.host.run("ss", "-Htln").splitlines()
        return {local for line in lines if not (local := line.split()[3]).startswith(("127.", "[::1]"))}

    def _has_ended(self) -> bool:
        return self._spawned is not None and self._spawned.poll() is not None


class TwoSites:
    """East and west; a context manager. `lines` are for both workers' configuration."""

    def __init__(self, plane: ControlPlane, place: Path, temporal_port: int, lines: str) -> None:
        self._plane = plane
        self._place = place
        self._ports = (plane.ports["keystone"], plane.ports["barbican"], temporal_port)
        self._lines = lines
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.east = self._site("east", "10.79.0.1", undo)
            self.west = self._site("west", "10.79.0.2", undo)
            self._join()
            self._closing = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _site(self, name: str, address: str, undo: ExitStack) -> SiteHost:
        site = SiteHost(name, address, self._place, self._plane, self._lines)
        undo.callback(site.host.close)
        undo.enter_context(LoopbackRelay(site.host, None, *self._ports))
        undo.callback(site.stop)
        return site

    def _join(self) -> None:
        """Make the link: two ends, one in each site."""
        ends = [f"nsenter --net=/proc/{site.host.pid}/ns/net" for site in (self.east, self.west)]
        commands = [
            f"{ends[0]} ip link add {LINK} type veth peer name {LINK} netns {self.west.host.pid}",
            f"{ends[0]} ip address add {self.east.address}/30 dev {LINK}",
            f"{ends[1]} ip address add {self.west.address}/30 dev {LINK}",
            f"{ends[0]} ip link set {LINK} up",
            f"{ends[1]} ip link set {LINK} up",
        ]
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True, timeout=30)


class Capture:
    """All that crosses the link, as it is on the wire; a context manager. The first 256 MiB are kept."""

    def __init__(self, site: SiteHost) -> None:
        with site.host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
        self._socket.bind((LINK, _EVERY_PROTOCOL))
        self._socket.settimeout(0.2)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self.bytes = bytearray()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)
        self._socket.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                packet = self._socket.recv(1 << 17)
            except TimeoutError:
                continue
            if len(self.bytes) < _KEPT:
                self.bytes += packet
