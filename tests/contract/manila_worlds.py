"""Manila's DummyDriver through the adapter, as a world of the contract suite. It keeps no bytes and serves nothing."""

import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.functional.shares.manila_backends import NO_DELAYS, backend

from isthmus.shares.drivers.contract import ShareDriver
from isthmus.shares.drivers.facts import AccessLevel, AccessRule, AccessType, ShareFacts

LARGEST_GIB = 1230


@dataclass
class DummyWorld:
    """A DummyDriver that can be silenced and is full some day; its objects are what its private storage tells of."""

    home: Path
    driver: ShareDriver
    host: str = "machine@CONTRACT#fake_pool_for_CONTRACT"
    protocol: str = "NFS"
    too_large_gib: int = LARGEST_GIB + 1
    keeps_data: bool = False

    def another_driver(self) -> ShareDriver:
        return dummy_driver(self.home)

    def rule(self, number: int, level: AccessLevel) -> AccessRule:
        return AccessRule(str(uuid.uuid4()), AccessType.IP, f"192.0.2.{number}", level)

    def wrong_rule(self) -> AccessRule:
        return AccessRule(str(uuid.uuid4()), AccessType.USER, "somebody", AccessLevel.RW)

    def write(self, share: ShareFacts, name: str, data: bytes) -> None:
        raise AssertionError("the DummyDriver keeps no data")

    def read(self, share: ShareFacts) -> Mapping[str, bytes]:
        raise AssertionError("the DummyDriver keeps no data")

    def served(self) -> Sequence[tuple[str, str, str]]:
        raise AssertionError("the DummyDriver serves nothing")

    @contextmanager
    def silence(self) -> Iterator[None]:
        sign = self.home / "silent"
        sign.touch()
        try:
            yield
        finally:
            sign.unlink()

    def leftovers(self) -> Sequence[str]:
        # A creation that was refused stays noted as begun until the share is deleted.
        with closing(sqlite3.connect(self.home / "private")) as connection:
            rows = connection.execute("SELECT entity_id, key FROM private_data WHERE key <> 'isthmus:begun'")
            return [f"{entity} {key}" for entity, key in rows]


@contextmanager
def dummy_world() -> Iterator[DummyWorld]:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        yield DummyWorld(home, dummy_driver(home))


def dummy_driver(home: Path) -> ShareDriver:
    """Return a started driver that keeps its private data, and looks whether to be silent, in this directory."""
    return backend(
        "CONTRACT",
        home / "private",
        share_driver="tests.functional.shares.manila_drivers.FiniteDummyDriver",
        finite_home=str(home),
        finite_gib=str(LARGEST_GIB),
        **NO_DELAYS,
    )
