"""The database: one engine for a process, one transaction for a request or a control activity."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import PoolResetState

from isthmus.control.errors import InvalidInput

ISOLATION = "READ COMMITTED"
"""Of all transactions, as PostgreSQL has it by default. By MariaDB's default one reads what was true at its first look,
also after it has locked a row: it misses what the one that it waited for has changed beside that row."""

KEPT_CONNECTIONS = 16
"""Connections that are kept open; more are opened when they are needed and closed after."""


_EMPTY: dict[str, Callable[[], Any]] = {"{}": dict, "[]": list, "null": type(None)}

_MYSQLDB_DEFAULTS = {"charset": "utf8mb4", "connect_timeout": "10"}
"""PyMySQL's, for the driver written in C: by itself it speaks latin1, and waits for ever for a silent server."""


class Base(DeclarativeBase):
    """Parent of all tables."""


def utc_now() -> datetime:
    """Return the present time in UTC without a zone, as rows keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


def engine_of(url: str, **options: Any) -> Engine:
    """Return SQLAlchemy's engine for a URL, with its `create_engine` options; errors hide what was asked with.

    MySQLdb (`mysql+mysqldb://`) and PyMySQL (`mysql+pymysql://`) behave the same with it, if the URL does not say else.
    Raises `InvalidInput` for TLS with MySQLdb: it would be told of a certificate authority and check nothing by it.
    """
    address = make_url(url)
    if address.get_driver_name() == "mysqldb":
        if "ssl_mode" not in address.query and any(name.startswith("ssl") for name in address.query):
            raise InvalidInput(
                "[database] connection asks for TLS of mysql+mysqldb, which would not check the server's certificate; "
                "use mysql+pymysql there"
            )
        defaults = {name: value for name, value in _MYSQLDB_DEFAULTS.items() if name not in address.query}
        address = address.update_query_dict(defaults)
    engine = create_engine(
        address, hide_parameters=True, json_deserializer=_document, pool_reset_on_return=None, **options
    )
    _reset_unfinished(engine)
    return engine


def _document(text: str) -> Any:
    """Parse a column's JSON. Most are empty: those 1,000 of a page of 100 transfers were an eighth of its cost."""
    empty = _EMPTY.get(text)
    return empty() if empty else json.loads(text)


class Database:
    """A pool of connections to one database (`[database] connection`, an SQLAlchemy URL)."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 15,
        trusted_seconds: float = 0,
    ) -> None:
        """Take the URL.

        `connections` is how many may be in use at once: one for each thread, or threads wait for each other. One that
        was used less than `trusted_seconds` ago is not asked whether it lives: for who tries again if it does not.
        """
        options: dict[str, Any] = {}
        if not url.startswith("sqlite"):
            kept = min(connections, KEPT_CONNECTIONS)
            options = {"pool_size": kept, "max_overflow": connections - kept, "pool_pre_ping": not trusted_seconds}
            options["isolation_level"] = ISOLATION
        self.engine: Engine = engine_of(url, **options)
        if options and trusted_seconds:
            _ask_idle_connections(self.engine, trusted_seconds)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session; commit at the end, roll back if the block raises."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def _reset_unfinished(engine: Engine) -> None:
    """Have a connection that is given back rolled back if its transaction is open, and not always.

    SQLAlchemy's own reset sends a ROLLBACK also after a COMMIT: one question of four for a page of a list.
    """

    def taken(connection: Any, record: Any, _: Any) -> None:
        del connection
        record.info["open"] = True  # until we are told of an end: who takes the driver's own connection tells nothing

    def begun(connection: Connection) -> None:
        connection.info["open"] = True  # once more, before the connection was given back

    def ended(connection: Connection) -> None:
        # Told before it is done. If a COMMIT fails the session rolls back, and if that fails the connection is dropped.
        if not connection.invalidated:
            connection.info["open"] = False

    def given_back(connection: Any, record: Any, state: PoolResetState) -> None:
        if record.info.get("open", True) and not state.transaction_was_reset and not state.terminate_only:
            engine.dialect.do_rollback(connection)

    event.listen(engine, "checkout", taken)
    event.listen(engine, "begin", begun)
    event.listen(engine, "commit", ended)
    event.listen(engine, "rollback", ended)
    event.listen(engine, "reset", given_back)


def _ask_idle_connections(engine: Engine, trusted_seconds: float) -> None:
    """Have connections that lay idle for longer asked whether they live, before they are used."""

    def given_back(connection: Any, record: Any) -> None:
        del connection
        record.info["used_at"] = time.monotonic()

    def taken(connection: Any, record: Any, _: Any) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at <= trusted_seconds:
            return
        try:
            lives = engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error
        if not lives:
            raise DisconnectionError

    event.listen(engine, "checkin", given_back)
    event.listen(engine, "checkout", taken)
