"""Placing shares on a real MariaDB: several schedulers at once never promise the same room twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from oslo_config.cfg import ConfigOpts
from sqlalchemy import delete, insert, select, update

from isthmus.control import configuration
from isthmus.control.database import Database, utc_now
from isthmus.shares.store import placing
from isthmus.shares.store.placing import Placement, PlacementRequest
from isthmus.shares.tables import PoolRow, ServiceRow

BACKEND = "machine@placing"
POOLS = (f"{BACKEND}#one", f"{BACKEND}#two")
SPECS = {"share_backend_name": "PLACING"}
AT_ONCE = 8


@pytest.fixture
def conf(control_plane: ControlPlane) -> ConfigOpts:
    return configuration.load(["--config-file", str(control_plane.configuration)])


@pytest.fixture
def pools(database: Database) -> Iterator[Database]:
    """Return the database with a manager that is up and two pools of 10 GiB."""
    _forget(database)
    now = utc_now()
    with database.transaction() as session:
        session.execute(
            insert(ServiceRow).values(
                host=BACKEND, availability_zone="nova", heartbeat_at=now, created_at=now, disabled=False, answers=True
            )
        )
        facts = {"share_backend_name": "PLACING", "storage_protocol": "NFS"}
        for host in POOLS:
            session.execute(
                insert(PoolRow).values(
                    host=host, backend=BACKEND, total_gib=10, free_gib=10, capabilities=facts, reported_at=now
                )
            )
    yield database
    _forget(database)


def _forget(database: Database) -> None:
    with database.transaction() as session:
        session.execute(delete(PoolRow).where(PoolRow.backend == BACKEND))
        session.execute(delete(ServiceRow).where(ServiceRow.host == BACKEND))


def request(size: int = 1, **facts: Any) -> PlacementRequest:
    return PlacementRequest("share", "project", size, "NFS", SPECS, {"size": size}, **facts)


def place(database: Database, conf: ConfigOpts, wanted: PlacementRequest) -> Placement:
    with database.transaction() as session:
        return placing.place(session, conf, wanted, utc_now())


def promised(database: Database) -> dict[str, tuple[int, int]]:
    with database.transaction() as session:
        rows = session.scalars(select(PoolRow).where(PoolRow.backend == BACKEND)).all()
        return {row.host: (row.placed_gib, row.promised_gib) for row in rows}


def test_no_more_is_placed_than_there_is_room(pools: Database, conf: ConfigOpts) -> None:
    with ThreadPoolExecutor(AT_ONCE) as people:
        placed = list(people.map(lambda _: place(pools, conf, request()), range(30)))
    assert sum(each.host is not None for each in placed) == 20
    assert promised(pools) == dict.fromkeys(POOLS, (10, 10))


def test_a_burst_is_spread_over_equal_pools(pools: Database, conf: ConfigOpts) -> None:
    with ThreadPoolExecutor(AT_ONCE) as people:
        list(people.map(lambda _: place(pools, conf, request()), range(8)))
    assert promised(pools) == dict.fromkeys(POOLS, (4, 4))


def test_room_is_given_back_and_never_more_than_was_taken(pools: Database, conf: ConfigOpts) -> None:
    host = place(pools, conf, request(10)).host
    assert host == POOLS[0]
    with pools.transaction() as session:
        placing.give_room_back(session, host, 4)
        placing.give_room_back(session, host, 400)
        placing.give_room_back(session, "", 4)
        placing.give_room_back(session, "machine@nowhere#pool", 4)
    assert promised(pools)[host] == (0, 0)


def test_a_pool_that_failed_is_left_out_the_next_time(pools: Database, conf: ConfigOpts) -> None:
    assert place(pools, conf, request(tried=(POOLS[0],))).host == POOLS[1]
    assert place(pools, conf, request(tried=POOLS)).host is None


@pytest.mark.parametrize("state", [{"disabled": True}, {"answers": False}, {"heartbeat_at": None}])
def test_a_manager_that_is_off_silent_or_down_gets_nothing(
    pools: Database, conf: ConfigOpts, state: dict[str, Any]
) -> None:
    with pools.transaction() as session:
        session.execute(update(ServiceRow).where(ServiceRow.host == BACKEND).values(**state))
    assert place(pools, conf, request()).host is None


def test_what_is_bound_to_a_pool_is_put_there_unasked(pools: Database, conf: ConfigOpts) -> None:
    found = place(pools, conf, request(50, fixed_host=POOLS[1]))
    assert (found.host, found.availability_zone) == (POOLS[1], "nova")
    assert promised(pools)[POOLS[1]] == (50, 50)


def test_a_share_grows_where_it_is_or_not_at_all(pools: Database, conf: ConfigOpts) -> None:
    with pools.transaction() as session:
        grown = placing.room_for_growth(session, conf, host=POOLS[1], grown_gib=6, specs=SPECS, now=utc_now())
        assert grown.pool is not None
        full = placing.room_for_growth(session, conf, host=POOLS[1], grown_gib=6, specs=SPECS, now=utc_now())
        assert (full.pool, full.emptied_by) == (None, "CapacityFilter")
    assert promised(pools) == {POOLS[0]: (0, 0), POOLS[1]: (6, 6)}
