"""Two real libvirt clouds for a run, and what tests of the provider share."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import nbd
import pytest
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.tiny_guest import TinyGuest, build_disks, domain_xml

from isthmus.migration.providers.libvirt.provider import LibvirtProvider
from isthmus.migration.reporting import Level, Progress

BOOT_SECONDS = 240
"""Generous: a guest boots under emulation, beside other tests."""


@dataclass
class Notes:
    """A report that keeps what it is told."""

    events: list[tuple[Level, str]] = field(default_factory=list)

    def event(self, level: Level, message: str) -> None:
        self.events.append((level, message))

    def progress(self, progress: Progress) -> None:
        assert progress.done >= 0

    def check(self) -> None:
        return

    def warnings(self) -> list[str]:
        return [message for level, message in self.events if level is Level.WARNING]


@dataclass(frozen=True)
class Clouds:
    """A source and a destination with a provider for each."""

    east: LibvirtCloud
    west: LibvirtCloud
    source: LibvirtProvider
    destination: LibvirtProvider


@pytest.fixture(scope="session")
def clouds() -> Iterator[Clouds]:
    """Return the run's pair of clouds."""
    directory = Path(tempfile.mkdtemp(prefix="/tmp/ic-"))
    try:
        with (
            LibvirtCloud("east", directory / "e") as east,
            LibvirtCloud("west", directory / "w") as west,
            closing(LibvirtProvider(east.connection)) as source,
            closing(LibvirtProvider(west.connection)) as destination,
        ):
            yield Clouds(east, west, source, destination)
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def make_machine(clouds: Clouds) -> Iterator[Callable[..., Any]]:
    """Return a function that defines a tiny guest in the east cloud; all of them are removed at the end."""
    made: list[tuple[str, list[Path]]] = []
    with contextlib.ExitStack() as stack:

        def make(name: str, guest: TinyGuest | None = None, **options: Any) -> Any:
            guest = guest or TinyGuest()
            disks = build_disks(clouds.east.pool_directory, guest, name=name)
            connection = stack.enter_context(closing(clouds.east.connect()))
            connection.storagePoolLookupByName("default").refresh()
            made.append((name, disks))
            return connection.defineXML(domain_xml(name, disks, guest.format, **options))

        yield make
    with closing(clouds.east.connect()) as connection:
        for name, disks in made:
            forget(connection.lookupByName(name))
            for disk in disks:
                disk.unlink()
    assert leftovers(clouds.east) == []


def forget(domain: Any) -> None:
    """Remove a domain whatever its state."""
    if domain.isActive():
        domain.destroy()
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)


def leftovers(cloud: LibvirtCloud) -> list[str]:
    """Return what Isthmus has left in a cloud: helper domains, volumes, sockets, scratch files."""
    with closing(cloud.connect()) as connection:
        domains = [domain.name() for domain in connection.listAllDomains() if domain.name().startswith("isthmus-")]
    files = [path.name for path in cloud.pool_directory.iterdir() if path.name.startswith("isthmus-")]
    return domains + files + [path.name for path in cloud.nbd_directory.iterdir()]


def start_and_wait(cloud: LibvirtCloud, name: str, line: str = "GUEST-UP") -> None:
    """Start a machine and wait until its console has said `line`."""
    with closing(cloud.connect()) as connection:
        domain = connection.lookupByName(name)
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        with Console(cloud, name) as console:
            domain.resume()
            console.wait_for(line, BOOT_SECONDS)


@contextmanager
def nbd_client(uri: str, context: str | None = None) -> Iterator[Any]:
    """Connect to one export."""
    handle = nbd.NBD()
    handle.set_uri_allow_local_file(True)
    if context:
        handle.add_meta_context(context)
    handle.connect_uri(uri)
    try:
        yield handle
    finally:
        handle.shutdown()


def read_all(uri: str, *, most: int | None = None) -> bytes:
    """Return all that an export holds, or its first `most` bytes."""
    with nbd_client(uri) as handle:
        size = min(handle.get_size(), most or handle.get_size())
        return b"".join(bytes(handle.pread(min(1 << 20, size - at), at)) for at in range(0, size, 1 << 20))


def changed_extents(uri: str, context: str) -> list[tuple[int, int]]:
    """Return (offset, length) of what the dirty bitmap names."""
    found: list[tuple[int, int]] = []
    with nbd_client(uri, context) as handle:
        size, at = handle.get_size(), 0

        def take(_context: str, offset: int, entries: list[int], _error: object) -> int:
            nonlocal at
            for length, flags in zip(entries[::2], entries[1::2], strict=True):
                if flags & 1:
                    found.append((offset, length))
                offset += length
            at = offset
            return 0

        while at < size:
            handle.block_status(size - at, at, take)
    return found


def write_all(uri: str, content: bytes) -> None:
    """Write and flush all of an export."""
    with nbd_client(uri) as handle:
        for at in range(0, len(content), 1 << 20):
            piece = content[at : at + (1 << 20)]
            if any(piece):
                handle.pwrite(piece, at)
            else:
                handle.zero(len(piece), at)
        handle.flush()


def fill(handle: Any, size: int) -> None:
    """Write `size` bytes that are not zero."""
    for at in range(0, size, 1 << 20):
        handle.pwrite(bytes([at % 251 + 1]) * (1 << 20), at)
