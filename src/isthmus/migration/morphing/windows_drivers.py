"""Drivers for a Windows guest, out of a directory or an ISO image with virtio-win's layout, on the worker.

Its layout has the driver, the release and the processor in each file's path, in this order (viostor/2k22/amd64) or
another (amd64/2k22): the release's and the processor's names are looked for anywhere in the path.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from isthmus.control.errors import InvalidInput
from isthmus.migration.morphing.contract import Target

_CLIENTS = ("w11", "w10", "w8.1", "w8", "w7")
_SERVERS = ("2k25", "2k22", "2k19", "2k16", "2k12r2", "2k12", "2k8r2")
# The first build of each release, newest first.
_CLIENT_BUILDS = ((22000, "w11"), (10240, "w10"), (9600, "w8.1"), (9200, "w8"), (7600, "w7"))
_SERVER_BUILDS = (
    *((26100, "2k25"), (20348, "2k22"), (17763, "2k19"), (14393, "2k16")),
    *((9600, "2k12r2"), (9200, "2k12"), (7600, "2k8r2")),
)
_PROCESSORS = {"AMD64": "amd64", "x86": "x86", "ARM64": "arm64"}
_FOR_DISKS = {"virtio": "viostor", "scsi": "vioscsi"}
_HELPFUL = ("balloon", "vioser", "viorng", "pvpanic")
_SETTING, _CLOUDBASE_SETTING = "ISTHMUS_WINDOWS_DRIVERS", "ISTHMUS_CLOUDBASE_INIT"
_PLACES = ("/usr/share/virtio-win/virtio-win.iso", "/usr/share/virtio-win")
_LARGEST_INF = 1 << 20
_UNPACK_SECONDS = 600


@dataclass(frozen=True)
class Driver:
    """One driver's package: its .inf, .sys, .cat and other files, all in one directory."""

    name: str
    directory: Path
    files: tuple[Path, ...]

    def file(self, ending: str) -> Path | None:
        """Return its file of this ending that is named like the driver."""
        return next((each for each in self.files if each.name.lower() == f"{self.name}{ending}"), None)

    def inf_text(self) -> str:
        """Return its .inf file, which is written in UTF-16 or in one byte for each character."""
        path = self.file(".inf")
        content = path.read_bytes()[:_LARGEST_INF] if path else b""
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if wide else "latin-1", errors="replace")


def of_this_worker() -> Path | None:
    """Return this worker's drivers: at ISTHMUS_WINDOWS_DRIVERS, or where distributions install virtio-win."""
    return _existing(os.environ.get(_SETTING), *_PLACES)


def cloudbase_init_of_this_worker() -> Path | None:
    """Return the MSI at ISTHMUS_CLOUDBASE_INIT; None if it is not set."""
    return _existing(os.environ.get(_CLOUDBASE_SETTING))


def _existing(setting: str | None, *places: str) -> Path | None:
    if setting:
        return Path(setting)  # what is not there is told when it is opened
    return next((Path(each) for each in places if Path(each).exists()), None)


def release_name(build: int, *, server: bool) -> str:
    """Return virtio-win's name for a Windows build ("2k22"); "" for one that is older than all."""
    return next((name for first, name in (_SERVER_BUILDS if server else _CLIENT_BUILDS) if build >= first), "")


def wanted(target: Target) -> tuple[str, ...]:
    """Return the drivers without which the guest has no disk or no network on the target."""
    disks = (_FOR_DISKS[target.disk_bus],) if target.disk_bus in _FOR_DISKS else ()
    return (*disks, *(("netkvm",) if target.nic_model == "virtio" else ()))


@contextmanager
def opened(source: Path) -> Iterator[Path]:
    """Yield the directory of drivers; an ISO image is unpacked. Raises `InvalidInput` for what is neither."""
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise InvalidInput(f"the Windows drivers at {source} are not there: give virtio-win's directory or ISO image")
    with TemporaryDirectory(prefix="isthmus-drivers-") as name:
        # libarchive reads the image in user space; Rock Ridge's long names are wanted, its owners are not.
        command = ["bsdtar", "-x", "-f", str(source), "-C", name, "--no-same-owner", "--no-same-permissions"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_UNPACK_SECONDS, check=False)
        if done.returncode:
            raise InvalidInput(f"{source} is not an ISO image that can be read: {done.stderr.strip()[-200:]}")
        yield Path(name)


def find(directory: Path, names: Sequence[str], release: str, processor: str) -> list[Driver]:
    """Return the drivers of these names for a release, or for the one next before it, and a processor.

    Raises `InvalidInput` naming a driver of `names` that is not there; those that only help are added if they are.
    """
    infs = [each for each in sorted(directory.rglob("*")) if each.suffix.lower() == ".inf" and each.is_file()]
    found = []
    for name in (*names, *_HELPFUL):
        driver = _best(infs, name, release, processor)
        if driver:
            found.append(driver)
        elif name in names:
            raise InvalidInput(
                f"the Windows drivers have no {name} for {release} on {processor}: give a newer virtio-win, or choose "
                "disk_bus sata and nic_model e1000e"
            )
    return found


def processor_name(said: str) -> str:
    """Return virtio-win's name of what Windows calls its processor; as it is if unknown."""
    return _PROCESSORS.get(said, said.lower())


def _best(infs: Sequence[Path], name: str, release: str, processor: str) -> Driver | None:
    order = _SERVERS if release in _SERVERS else _CLIENTS
    releases = order[order.index(release) :] if release in order else ()
    for each in releases:
        for inf in infs:
            words = {re.sub(r"\s", "", word.lower()) for word in inf.parent.parts}
            if inf.stem.lower() == name and each in words and processor in words:
                files = tuple(file for file in sorted(inf.parent.iterdir()) if file.is_file())
                return Driver(name, inf.parent, files)
    return None
