"""The database: one engine for a process, one transaction for a request or a control activity."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

READ_COMMITTED = "READ COMMITTED"
"""Guarded updates need no more; MariaDB's default would let a transaction read what was true at its start."""


class Base(DeclarativeBase):
    """Parent of all tables."""


def utc_now() -> datetime:
    """Return the present time in UTC without a zone, as rows keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Database:
    """A pool of connections to one database (`[database] connection`, an SQLAlchemy URL)."""

    def __init__(self, url: str, *, isolation_level: str | None = None) -> None:
        """Take the URL and, where the database's own is not wanted, the isolation level of all transactions."""
        options = {"isolation_level": isolation_level} if isolation_level and not url.startswith("sqlite") else {}
        self.engine: Engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, **options)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session; commit at the end, roll back if the block raises."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()
