"""MariaDB through either driver, MySQLdb in C and PyMySQL: what the rest of the code relies on is the same."""

import socket
import time
from collections.abc import Iterator
from datetime import datetime
from threading import Barrier, Thread

import pytest
from lab.control_plane import ControlPlane
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from isthmus.control import configuration
from isthmus.control.database import Database, engine_of
from isthmus.control.errors import InvalidInput
from isthmus.shares.store.deadlocks import in_transaction, is_deadlock, was_dead

DRIVERS = ("mysqldb", "pymysql")
TABLE = Table(
    "driver_test",
    MetaData(),
    Column("id", String(40), primary_key=True),
    Column("words", Text),
    Column("facts", JSON),
    Column("raw", LargeBinary(64)),
    Column("is_so", Boolean),
    Column("bytes", BigInteger),
    Column("at", DATETIME(fsp=6)),
    mysql_charset="utf8mb4",
)
ROWS = ("first", "second")


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest, backing_services: ControlPlane) -> str:
    """Return a MariaDB's address with the driver's own name and nothing said of its character set."""
    conf = configuration.load(["--config-file", str(backing_services.configuration)])
    address = make_url(conf.database.connection).set(drivername=f"mysql+{request.param}")
    return address.difference_update_query(["charset"]).render_as_string(hide_password=False)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Return a database with two rows, whose idle connections are trusted for long."""
    database = Database(url, trusted_seconds=600)
    TABLE.metadata.drop_all(database.engine)
    TABLE.metadata.create_all(database.engine)
    with database.transaction() as session:
        session.execute(insert(TABLE), [{"id": name} for name in ROWS])
    yield database
    TABLE.metadata.drop_all(database.engine)
    database.close()


def say(session: Session, row: str, words: str) -> int:
    """Change a row; return how many were found."""
    return int(session.execute(update(TABLE).where(TABLE.c.id == row).values(words=words)).rowcount)  # type: ignore[attr-defined]


def words_of(database: Database, row: str) -> str | None:
    with database.transaction() as session:
        return session.scalar(select(TABLE.c.words).where(TABLE.c.id == row))


def kill(url: str, own_id: int) -> None:
    """Have the server close a connection."""
    engine = engine_of(url)
    with engine.connect() as connection:
        connection.execute(text(f"KILL CONNECTION {own_id}"))
    engine.dispose()


def connection_id(session: Session) -> int:
    return int(session.scalar(text("SELECT CONNECTION_ID()")))


def test_what_is_written_comes_back(database: Database) -> None:
    row = {
        "id": "all",
        "words": "Größe ≥ 1 — 🐘 100% 'quoted' \\ \n",
        "facts": {"name": "東京", "list": [1, None, True]},
        "raw": bytes(range(32)),
        "is_so": True,
        "bytes": 1 << 62,
        "at": datetime.fromisoformat("2026-01-02T03:04:05.678901"),
    }
    with database.transaction() as session:
        session.execute(insert(TABLE), [row])
    with database.transaction() as session:
        assert dict(session.execute(select(TABLE).where(TABLE.c.id == "all")).mappings().one()) == row
        empty = session.execute(select(TABLE).where(TABLE.c.id == ROWS[0])).one()
    assert set(empty[1:]) == {None}


def test_a_row_that_stays_as_it_was_is_counted(database: Database) -> None:
    for _ in range(2):
        with database.transaction() as session:
            assert say(session, ROWS[0], "the same") == 1
    with database.transaction() as session:
        assert say(session, "none", "the same") == 0


def test_a_second_row_of_the_same_id_is_an_integrity_error(database: Database) -> None:
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(insert(TABLE), [{"id": ROWS[0]}])


def test_the_isolation_level_holds(database: Database) -> None:
    with database.transaction() as session:
        assert session.scalar(text("SELECT @@tx_isolation")) == "READ-COMMITTED"


def test_who_has_waited_for_a_row_sees_what_the_other_changed_beside_it(database: Database) -> None:
    """It had looked before: a call reads a pool, then locks it, then adds to what the pool has."""
    with database.transaction() as session:
        assert session.scalar(select(TABLE.c.words).where(TABLE.c.id == "second")) is None
        with database.transaction() as earlier:
            say(earlier, "first", "locked")
            say(earlier, "second", "changed beside it")
        say(session, "first", "locked by me")
        assert session.scalar(select(TABLE.c.words).where(TABLE.c.id == "second")) == "changed beside it"


@pytest.mark.parametrize("in_savepoint", [False, True])
def test_a_deadlocks_victim_tries_again(database: Database, in_savepoint: bool) -> None:
    begun, tries, failures = Barrier(2), [], []

    def change(name: str, order: tuple[str, str]) -> None:
        def act(session: Session) -> None:
            tries.append(name)
            say(session, order[0], name)
            if tries.count(name) == 1:
                begun.wait(timeout=20)
            if in_savepoint:
                with session.begin_nested():
                    say(session, order[1], name)
            else:
                say(session, order[1], name)

        try:
            in_transaction(database, act)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [Thread(target=change, args=(name, order)) for name, order in (("a", ROWS), ("b", ROWS[::-1]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(tries) > 2
    assert words_of(database, ROWS[0]) == words_of(database, ROWS[1])


def test_a_long_wait_for_a_lock_is_told_as_one(database: Database) -> None:
    def wait() -> None:
        with database.transaction() as session:
            session.execute(text("SET innodb_lock_wait_timeout = 1"))
            say(session, ROWS[0], "waiting")

    with database.transaction() as holder:
        say(holder, ROWS[0], "held")
        with pytest.raises(OperationalError) as raised:
            wait()
    assert is_deadlock(raised.value)


def test_a_lost_connection_is_told_as_one(database: Database, url: str) -> None:
    def lose() -> None:
        with database.transaction() as session:
            say(session, ROWS[0], "lost")
            kill(url, connection_id(session))
            say(session, ROWS[1], "lost")

    with pytest.raises(OperationalError) as raised:
        lose()
    assert was_dead(raised.value)
    assert words_of(database, ROWS[0]) is None


def test_a_transaction_on_a_dead_connection_is_tried_again(database: Database, url: str) -> None:
    with database.transaction() as session:
        kept = connection_id(session)
    kill(url, kept)
    in_transaction(database, lambda session: void(say(session, ROWS[0], "written")))
    assert words_of(database, ROWS[0]) == "written"


@pytest.mark.parametrize("trusted_seconds", [0, 0.001])
def test_an_idle_connection_that_died_is_replaced(url: str, database: Database, trusted_seconds: float) -> None:
    asking = Database(url, trusted_seconds=trusted_seconds)
    with asking.transaction() as session:
        kept = connection_id(session)
    kill(url, kept)
    time.sleep(0.01)
    with asking.transaction() as session:
        assert say(session, ROWS[0], "asked") == 1
        assert connection_id(session) != kept
    asking.close()


def rollbacks(session: Session) -> int:
    """How many this connection's server has been asked for."""
    return int(session.execute(text("SHOW SESSION STATUS LIKE 'Com_rollback'")).one()[1])


def test_a_connection_is_rolled_back_once_and_only_if_its_transaction_is_open(url: str, database: Database) -> None:
    one = Database(url, connections=1)
    with one.transaction() as session:
        own, before = connection_id(session), rollbacks(session)
    with one.transaction() as session:
        say(session, ROWS[0], "kept")
    with pytest.raises(IntegrityError), one.transaction() as session:
        session.execute(insert(TABLE), [{"id": "new"}, {"id": ROWS[0]}])
    with one.engine.connect() as connection:
        connection.execute(update(TABLE).values(words="left open"))
    with one.engine.connect() as connection:
        connection.commit()
        connection.execute(update(TABLE).values(words="left open after a commit"))
    raw = one.engine.raw_connection()
    raw.cursor().execute("UPDATE driver_test SET words = 'by the driver'")
    raw.close()
    del raw
    with one.transaction() as session:
        assert (connection_id(session), rollbacks(session)) == (own, before + 4)
        assert say(session, ROWS[1], "free") == 1
        assert session.scalar(select(TABLE.c.id).where(TABLE.c.id == "new")) is None
    assert (words_of(database, ROWS[0]), words_of(database, ROWS[1])) == ("kept", "free")
    one.close()


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        engine = engine_of(f"mysql+mysqldb://isthmus@127.0.0.1:{port}/isthmus?connect_timeout=1")
        began = time.monotonic()
        with pytest.raises(OperationalError):
            engine.connect()
        assert time.monotonic() - began < 8


def test_the_c_driver_waits_as_long_as_the_other_for_a_connection() -> None:
    engine = engine_of("mysql+mysqldb://isthmus@127.0.0.1:1/isthmus")
    _, options = engine.dialect.create_connect_args(engine.url)
    assert (options["connect_timeout"], options["charset"]) == (10, "utf8mb4")


def test_the_c_driver_takes_no_certificates() -> None:
    with pytest.raises(InvalidInput, match=r"use mysql\+pymysql"):
        engine_of("mysql+mysqldb://isthmus@127.0.0.1:1/isthmus?ssl_ca=/etc/ssl/certs/ca-certificates.crt")


def void(_: object) -> None:
    """Forget an answer."""
