"""The back ends that the contract suite for share drivers is run on: a small world for each driver.

A driver joins by a class like `BtrfsWorld` and an entry in `WORLDS`.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tests.contract.manila_worlds import dummy_world
from tests.share_serving import IMAGE_GIB, ShareSite, share_site

from isthmus.shares.drivers.btrfs import mounts
from isthmus.shares.drivers.contract import ShareDriver
from isthmus.shares.drivers.facts import AccessLevel, AccessRule, AccessType, ShareFacts, SnapshotFacts


class ShareDriverWorld(Protocol):
    """One back end that is ready for use, with nothing in it."""

    driver: ShareDriver
    host: str
    protocol: str
    too_large_gib: int
    """A size that the pool can never hold."""
    keeps_data: bool
    """Whether shares really hold bytes; `write`, `read` and `serves` are only called then."""

    def another_driver(self) -> ShareDriver:
        """Return a driver made anew for the same back end and started, as after a crash."""

    def rule(self, number: int, level: AccessLevel) -> AccessRule:
        """Return a rule that can be applied, another client for each number."""

    def wrong_rule(self) -> AccessRule:
        """Return a rule of a kind that the protocol does not know."""

    def write(self, share: ShareFacts, name: str, data: bytes) -> None:
        """Write a file into a share."""

    def read(self, share: ShareFacts) -> Mapping[str, bytes]:
        """Return all files of a share."""

    def served(self) -> Sequence[tuple[str, str, str]]:
        """Return what the servers serve: instance id, client, level."""

    def silence(self) -> AbstractContextManager[None]:
        """Have the storage not answer."""

    def leftovers(self) -> Sequence[str]:
        """Return what is in the back end and on this machine for its shares."""


@dataclass
class BtrfsWorld:
    """An image file, served by Ganesha."""

    site: ShareSite
    driver: ShareDriver
    host: str = "machine@local#pool"
    protocol: str = "NFS"
    too_large_gib: int = IMAGE_GIB + 1
    keeps_data: bool = True

    def another_driver(self) -> ShareDriver:
        driver = self.site.driver()
        driver.start()
        return driver

    def rule(self, number: int, level: AccessLevel) -> AccessRule:
        return AccessRule(str(uuid.uuid4()), AccessType.IP, f"192.0.2.{number}", level)

    def wrong_rule(self) -> AccessRule:
        return AccessRule(str(uuid.uuid4()), AccessType.CEPHX, "client", AccessLevel.RW)

    def write(self, share: ShareFacts, name: str, data: bytes) -> None:
        (self._pool / "shares" / f"share-{share.instance_id}" / name).write_bytes(data)

    def read(self, share: ShareFacts) -> Mapping[str, bytes]:
        files = (self._pool / "shares" / f"share-{share.instance_id}").iterdir()
        return {file.name: file.read_bytes() for file in files}

    def served(self) -> Sequence[tuple[str, str, str]]:
        found = []
        for file in self._exports.glob("*-*.conf"):
            for line in file.read_text().splitlines():
                if "CLIENT {" in line:
                    client = line.partition("Clients = ")[2].partition(";")[0]
                    level = line.partition("Access_Type = ")[2].partition(";")[0].lower()
                    found.append((file.name.split(".")[0].partition("-")[2], client, level))
        return sorted(found)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Lose the pool's file system; whoever finds it is the driver, when it is asked for a report."""
        image = Path(self.site.options()["image"])
        image.rename(image.with_suffix(".away"))
        mounts.release_below(self._pool)
        try:
            yield
        finally:
            image.with_suffix(".away").rename(image)

    def leftovers(self) -> Sequence[str]:
        rooms = ("shares", "snapshots", "names", "served")
        pool = [str(path) for room in rooms for path in (self._pool / room).iterdir()]
        shown = [str(path) for path in (self._pool.parent / "mounts").iterdir()]
        return [*pool, *shown, *(str(path) for path in self._exports.glob("*-*.conf"))]

    @property
    def _pool(self) -> Path:
        return Path(self.site.options()["state_dir"]) / "pool"

    @property
    def _exports(self) -> Path:
        return Path(self.site.options()["ganesha_exports"])


@contextmanager
def btrfs_world() -> Iterator[ShareDriverWorld]:
    with share_site() as site:
        site.start("share-bus")
        driver = site.driver()
        driver.start()
        site.start("nfs", "smb")
        yield BtrfsWorld(site, driver)


WORLDS: Mapping[str, Callable[[], AbstractContextManager[ShareDriverWorld]]] = {
    "btrfs": btrfs_world,
    "manila": dummy_world,
}

_numbers = itertools.count(1)


def share_facts(world: ShareDriverWorld, size_gib: int = 1) -> ShareFacts:
    """Return facts of a share that does not exist yet."""
    return ShareFacts(
        instance_id=str(uuid.uuid4()),
        share_id=str(uuid.uuid4()),
        size_gib=size_gib,
        protocol=world.protocol,
        host=world.host,
        project_id=uuid.uuid4().hex,
        user_id=uuid.uuid4().hex,
        name=f"contract-{next(_numbers)}",
        status="creating",
    )


def snapshot_facts(share: ShareFacts) -> SnapshotFacts:
    """Return facts of a snapshot that does not exist yet."""
    made = replace(share, status="available")
    return SnapshotFacts(str(uuid.uuid4()), str(uuid.uuid4()), share=made, size_gib=share.size_gib, status="creating")
