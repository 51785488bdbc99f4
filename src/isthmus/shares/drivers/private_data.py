"""What a driver keeps between calls, beside the back end: short texts by an object's id and a key of the driver's own.

The share manager keeps it in its database; `PrivateDataFile` is for a driver that is used without one.
"""

import sqlite3
import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

_TABLE = """\
CREATE TABLE IF NOT EXISTS private_data (
    entity_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (entity_id, key)
) WITHOUT ROWID
"""


class PrivateData(Protocol):
    """A durable store: what `write` was told is there after a crash. Called from several threads.

    An entity is a share instance, a snapshot instance, a group snapshot or what else a driver names by a UUID.
    """

    def read(self, entity_id: str) -> Mapping[str, str]:
        """Return all that is kept for the entity; nothing kept: an empty mapping."""

    def write(self, entity_id: str, values: Mapping[str, str]) -> None:
        """Add these values, all or none, in place of those of the same keys."""

    def remove(self, entity_id: str, keys: Collection[str]) -> None:
        """Forget these keys; those that are not there too."""


class PrivateDataFile:
    """A `PrivateData` in an SQLite file, which several processes of one machine may share."""

    def __init__(self, path: Path) -> None:
        """Make the file if it is missing, readable by its owner alone."""
        path.touch(mode=0o600, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        with self._lock, closing(self._connect()) as connection:
            connection.execute(_TABLE)

    def read(self, entity_id: str) -> Mapping[str, str]:
        """As `PrivateData.read`."""
        with self._lock, closing(self._connect()) as connection:
            rows = connection.execute("SELECT key, value FROM private_data WHERE entity_id = ?", (entity_id,))
            return dict(rows.fetchall())

    def write(self, entity_id: str, values: Mapping[str, str]) -> None:
        """As `PrivateData.write`."""
        with self._lock, closing(self._connect()) as connection, connection:
            connection.executemany(
                "INSERT INTO private_data VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                [(entity_id, key, value) for key, value in values.items()],
            )

    def remove(self, entity_id: str, keys: Collection[str]) -> None:
        """As `PrivateData.remove`."""
        with self._lock, closing(self._connect()) as connection, connection:
            connection.executemany(
                "DELETE FROM private_data WHERE entity_id = ? AND key = ?", [(entity_id, key) for key in keys]
            )

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)
