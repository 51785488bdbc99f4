"""The agent's own SQLite file: one connection, used by one thread at a time.

WAL with `synchronous=NORMAL`: a killed agent loses nothing; a host that loses power may lose the last moves, and has
then lost every interface with them, which the repairs find.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.control.errors import Unavailable

FIRST = """
CREATE TABLE attachments (
    owner TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, project TEXT NOT NULL, network_id TEXT NOT NULL,
    port_id TEXT UNIQUE, wish TEXT NOT NULL, port TEXT, network TEXT, target TEXT, far TEXT, near TEXT,
    binder TEXT NOT NULL, borrowed TEXT, labelled INTEGER NOT NULL DEFAULT 0, problem TEXT,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE TABLE spare_ports (
    port_id TEXT PRIMARY KEY, fate TEXT NOT NULL, pool TEXT NOT NULL, project TEXT NOT NULL, network_id TEXT NOT NULL,
    binder TEXT NOT NULL, port TEXT NOT NULL, borrowed TEXT, labelled INTEGER NOT NULL DEFAULT 0,
    prepared INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX spare_ports_by_pool ON spare_ports (pool, fate);
CREATE TABLE pools (
    pool TEXT PRIMARY KEY, project TEXT NOT NULL, network_id TEXT NOT NULL, used_at REAL NOT NULL
) STRICT;
CREATE TABLE networks (
    project TEXT NOT NULL, id TEXT NOT NULL, network TEXT NOT NULL, read_at REAL NOT NULL, PRIMARY KEY (project, id)
) STRICT;
CREATE TABLE publications (
    owner TEXT NOT NULL, id TEXT NOT NULL, protocol TEXT NOT NULL, container_port INTEGER NOT NULL,
    host_port INTEGER NOT NULL, host_address TEXT, far TEXT NOT NULL,
    PRIMARY KEY (owner, id, protocol, container_port, host_port)
) STRICT;
"""

_ADDRESSES_OF_PUBLICATIONS = """
ALTER TABLE publications RENAME TO old_publications;
CREATE TABLE publications (
    owner TEXT NOT NULL, id TEXT NOT NULL, protocol TEXT NOT NULL, container_port INTEGER NOT NULL,
    host_port INTEGER NOT NULL, host_address TEXT NOT NULL, far TEXT NOT NULL,
    PRIMARY KEY (owner, id, protocol, container_port, host_port, host_address)
) STRICT;
INSERT INTO publications SELECT owner, id, protocol, container_port, host_port, coalesce(host_address, ''), far
    FROM old_publications;
DROP TABLE old_publications;
"""

_UPGRADES = (FIRST, "ALTER TABLE pools ADD COLUMN rules TEXT;", _ADDRESSES_OF_PUBLICATIONS)
"""What makes a file of each version from the one before; a new file goes through all."""


class Database:
    """The file, opened; made if it is not there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._connection.row_factory = sqlite3.Row
        path.chmod(0o600)
        for setting in ("journal_mode=WAL", "synchronous=NORMAL"):
            self._connection.execute(f"PRAGMA {setting}")
        self._upgrade()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction: committed at the end, rolled back by an exception."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _upgrade(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_UPGRADES):
            raise Unavailable(f"{self._path} was written by a newer Isthmus (version {version}); install that one")
        for number, script in enumerate(_UPGRADES[version:], version + 1):
            self._connection.executescript(f"BEGIN; {script} PRAGMA user_version={number}; COMMIT;")
