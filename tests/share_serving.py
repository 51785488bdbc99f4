"""A machine that serves shares, for tests: the very parts of `isthmus up`, in a directory of its own, on free ports."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.embedded import credentials, share_servers
from isthmus.embedded.layout import Layout, make_directories
from isthmus.embedded.part import NotReady, Part, Site
from isthmus.embedded.ports import LOOPBACK, Ports
from isthmus.shares.drivers.btrfs.driver import BtrfsDriver

START_SECONDS = 60
IMAGE_GIB = 4


@dataclass
class ShareSite:
    """The bus, Ganesha and Samba of one state directory; each can be stopped, killed and started again."""

    site: Site
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def options(self, **others: str) -> dict[str, str]:
        """Return the options of the back end `local` upon a small image."""
        text = share_servers.backend_section(self.site).splitlines()[1:]
        given = dict(line.split(" = ", 1) for line in text)
        return {**given, "image_gib": str(IMAGE_GIB), **others}

    def driver(self, **others: str) -> BtrfsDriver:
        """Return a driver, not yet started."""
        return BtrfsDriver("local", self.options(**others))

    def start(self, *names: str) -> None:
        """Start parts and wait until they answer."""
        for name in names:
            part = self._part(name)
            log = self.site.layout.log(name).open("ab")
            with log:
                self.processes[name] = subprocess.Popen(
                    ("setpriv", "--pdeathsig", "TERM", "--", *part.command),
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **part.environment},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            self._wait(part)

    def kill(self, name: str) -> None:
        """End a part at once, as a crash would."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def stop(self, names: Sequence[str] = ("smb", "nfs", "share-bus")) -> None:
        """Ask parts to end and wait."""
        for name in names:
            process = self.processes.pop(name, None)
            if process:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _part(self, name: str) -> Part:
        return next(part for part in share_servers.parts(self.site) if part.name == name)

    def _wait(self, part: Part) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                part.check()
            except (NotReady, OSError) as error:
                dead = self.processes[part.name].poll() is not None
                if dead or time.monotonic() > deadline:
                    said = self.site.layout.log(part.name).read_text()[-3000:]
                    raise RuntimeError(f"{part.name} does not answer ({error}): {said}") from error
                time.sleep(0.05)
            else:
                return


@contextmanager
def share_site(below: str = "/tmp") -> Iterator[ShareSite]:
    """Yield a configured site with nothing started; at the end nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="is-", dir=below) as place:
        layout = Layout(Path(place) / "s")
        make_directories(layout)
        site = Site(layout, Ports(nfs=free_port(), smb=free_port()), credentials.load_or_make(layout))
        share_servers.configure(site)
        serving = ShareSite(site)
        try:
            yield serving
        finally:
            serving.stop()
            share_servers.release(layout)
            left = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if place in line]
            assert left == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
