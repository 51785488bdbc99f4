"""Two sites that see nothing of each other but one link: a worker in each, in namespaces of its own.

    with TwoSites(plane, place, temporal_port, temporal_lines) as sites:
        sites.east.start("queues = east")
        sites.west.start("queues = west\nchannel_listen = 10.79.0.2:7670")

Each site's loopback has the control plane's Keystone, Barbican and Temporal, as if a route led outwards to them;
nothing leads from the control plane into a site. A site can be kept from seeing the other's files (`hide`).

`ByHub` has no link between the two: each has one to a third, the hub, which forwards nothing.
"""

import errno
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
HUB = "10.79.9.9"
_EVERY_PROTOCOL = 0x0003
_SO_RCVBUFFORCE = 33
_IPV4 = b"\x08\x00"
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
        self._routes: list[str] = []

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

    def link(self, state: str) -> None:
        """Set the site's link `up` or `down`; its routes are there again when it is up."""
        routes = self.host.run("ip", "route", "show").splitlines()
        self.host.run("ip", "link", "set", LINK, state)
        if state == "down":
            self._routes = [each for each in routes if " via " in each]
        for each in self._routes if state == "up" else []:
            self.host.run("ip", "route", "replace", *each.split())

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


class ByHub(TwoSites):
    """East and west, each with a link to the hub alone. The hub's address is the same for both (`HUB`)."""

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.east = self._site("east", "10.79.1.1", undo)
            self.west = self._site("west", "10.79.2.1", undo)
            self.hub = self._site("hub", HUB, undo)
            for site, end in ((self.east, "10.79.1.2"), (self.west, "10.79.2.2")):
                self._join_hub(site, end)
            self.hub.host.run("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
            self._closing = undo.pop_all()
        return self

    def _join_hub(self, site: SiteHost, end: str) -> None:
        """Make a site's link: `end` is the hub's address on it. All that is not the site's own leads there."""
        here = f"nsenter --net=/proc/{site.host.pid}/ns/net"
        hub = f"nsenter --net=/proc/{self.hub.host.pid}/ns/net"
        commands = [
            f"{here} ip link add {LINK} type veth peer name {site.name} netns {self.hub.host.pid}",
            f"{here} ip address add {site.address}/30 dev {LINK}",
            f"{hub} ip address add {end}/30 dev {site.name}",
            f"{hub} ip address replace {HUB}/32 dev lo",
            f"{here} ip link set {LINK} up",
            f"{hub} ip link set {site.name} up",
            f"{here} ip route add 10.79.0.0/16 via {end}",
        ]
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True, timeout=30)


class Capture:
    """All that crosses the link, as it is on the wire; a context manager. The first 256 MiB are kept.

    `pairs` are the addresses of all IPv4 packets, (from, to).
    """

    def __init__(self, site: SiteHost) -> None:
        with site.host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL))
        # Beyond the system's own limit: on a busy machine whoever reads may come late.
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 26)
        self._socket.bind((LINK, _EVERY_PROTOCOL))
        self._socket.settimeout(0.2)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self.bytes = bytearray()
        self.pairs: set[tuple[str, str]] = set()

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
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue  # told once for each time that the link is set down
            if packet[12:14] == _IPV4:
                self.pairs.add((socket.inet_ntoa(packet[26:30]), socket.inet_ntoa(packet[30:34])))
            if len(self.bytes) < _KEPT:
                self.bytes += packet
