"""Calls at once that exclude each other, on a real MariaDB: exactly one wins, and what is counted stays right."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from sqlalchemy import create_engine, event, select, update
from tests.functional.shares.api import made
from tests.functional.shares.api.ledger import LedgerDriver
from tests.functional.shares.api.parts import HOST, MEMBER, POOL, STRANGER, Shares, refused
from tests.functional.shares.api.test_share_groups import available, make_group_type

from isthmus.control import configuration, migrations
from isthmus.control.database import Base, utc_now
from isthmus.shares.model import Kind, Status
from isthmus.shares.services import sweeping
from isthmus.shares.services.work import Work
from isthmus.shares.store import usage
from isthmus.shares.tables import InstanceRow, ShareRow, SnapshotInstanceRow

ROUNDS = 10


@pytest.fixture
def database_url(backing_services: ControlPlane) -> str:
    """Return a MariaDB without shares."""
    url: str = configuration.load(["--config-file", str(backing_services.configuration)]).database.connection
    migrations.upgrade(url)
    engine = create_engine(url, hide_parameters=True)
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if table.name.startswith("share_"):
                connection.execute(table.delete())
    engine.dispose()
    return url


def at_once(*calls: Callable[[], int]) -> list[int]:
    """Return the statuses of calls that begin together."""
    start, statuses = Barrier(len(calls)), [0] * len(calls)

    def ask(place: int, call: Callable[[], int]) -> None:
        start.wait()
        statuses[place] = call()

    threads = [Thread(target=ask, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def status_of(shares: Shares, method: str, path: str, body: object = None) -> int:
    return shares.call(method, path, body, by=MEMBER).status_code


def counted(shares: Shares, project: str) -> dict[str, int]:
    with shares.database.transaction() as session:
        return usage.in_use(session, project)


def test_a_snapshot_and_the_shares_deletion(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    for _ in range(ROUNDS):
        share = made.share(shares)
        body = {"snapshot": {"share_id": share}}
        statuses = at_once(
            partial(status_of, shares, "POST", "/snapshots", body),
            partial(status_of, shares, "DELETE", f"/shares/{share}"),
        )
        assert statuses in ([202, 403], [400, 202]), statuses
        with shares.database.transaction() as session:
            taken = len(session.scalars(select(SnapshotInstanceRow.id).filter_by(share_id=share)).all())
            status = session.scalar(select(InstanceRow.status).where(InstanceRow.share_id == share))
        assert (taken, status) in {(1, Status.AVAILABLE), (0, Status.DELETING)}


def test_a_lock_and_the_shares_deletion(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    for _ in range(ROUNDS):
        share = made.share(shares)
        body = {"resource_lock": {"resource_id": share}}
        statuses = at_once(
            partial(status_of, shares, "POST", "/resource-locks", body),
            partial(status_of, shares, "DELETE", f"/shares/{share}"),
        )
        assert statuses in ([200, 403], [409, 202]), statuses


def test_two_accept_one_transfer(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    for _ in range(ROUNDS):
        share = made.share(shares)
        body = {"transfer": {"share_id": share}}
        transfer = shares.post("/share-transfers", body, 202, by=MEMBER)["transfer"]
        accepted, path = {"accept": {"auth_key": transfer["auth_key"]}}, f"/share-transfers/{transfer['id']}/accept"

        def take(path: str = path, accepted: object = accepted) -> int:
            return shares.call("POST", path, accepted, by=STRANGER).status_code

        assert sorted(at_once(take, take)) == [202, 400]
    assert (counted(shares, "p1")["shares"], counted(shares, "p2")["shares"]) == (0, ROUNDS)


def test_a_share_joins_a_group_that_is_being_deleted(shares: Shares) -> None:
    make_group_type(shares, "gold-group", shares.share_type())
    shares.back_end()
    for _ in range(ROUNDS):
        group = available(shares)
        body = {"share": {"size": 1, "share_proto": "NFS", "share_group_id": group}}
        statuses = at_once(
            partial(status_of, shares, "POST", "/shares", body),
            partial(status_of, shares, "DELETE", f"/share-groups/{group}"),
        )
        assert statuses in ([200, 409], [400, 202]), statuses


def test_a_groups_snapshot_and_the_deletion_of_its_share(shares: Shares) -> None:
    make_group_type(shares, "gold-group", shares.share_type())
    shares.back_end()
    for _ in range(ROUNDS):
        group = available(shares)
        share = made.share(shares, share_group_id=group)
        body = {"share_group_snapshot": {"share_group_id": group}}
        path = f"/shares/{share}?share_group_id={group}"
        statuses = at_once(
            partial(status_of, shares, "POST", "/share-group-snapshots", body),
            partial(status_of, shares, "DELETE", path),
        )
        assert statuses in ([202, 403], [409, 202]), statuses


def manage_status(shares: Shares, body: object) -> int:
    return shares.call("POST", "/shares/manage", body).status_code


def test_of_calls_to_manage_one_path_one_wins(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    for number in range(ROUNDS):
        body = {"share": {"service_host": POOL, "export_path": f"node:/kept/{number}", "protocol": "nfs"}}
        statuses = at_once(*[partial(manage_status, shares, body)] * 3)
        assert sorted(statuses) == [200, 409, 409], statuses


def test_a_quota_of_one_is_given_once(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    shares.put("/quota-sets/p1", {"quota_set": {"snapshots": 1}})
    body = {"snapshot": {"share_id": made.share(shares)}}

    def take() -> int:
        return shares.call("POST", "/snapshots", body, by=MEMBER).status_code

    assert sorted(at_once(*[take] * 4)) == [202, 413, 413, 413]
    assert counted(shares, "p1")["snapshots"] == 1


def meanwhile(shares: Shares, words: str, act: Callable[[], object]) -> None:
    """Act once, on another connection, right after the next statement that holds the words was carried out."""
    done = False

    def after(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal done
        del connection, cursor, rest
        if words in statement and not done:
            done = True
            act()

    event.listen(shares.database.engine, "after_cursor_execute", after)


def soft_deleted(shares: Shares) -> str:
    share = made.share(shares)
    shares.post(f"/shares/{share}/action", {"soft_delete": None}, 202, by=MEMBER)
    return share


def test_a_share_that_is_restored_while_a_manager_looks_for_retired_ones_stays(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    share = soft_deleted(shares)
    with shares.database.transaction() as session:
        session.execute(update(ShareRow).where(ShareRow.id == share).values(scheduled_to_be_deleted_at=utc_now()))
    restored = partial(shares.post, f"/shares/{share}/action", {"restore": None}, 202, by=MEMBER)
    meanwhile(shares, "scheduled_to_be_deleted_at <=", restored)
    with shares.database.transaction() as session:
        sweeping.delete_retired_shares(
            session, Work(shares.conf, shares.database, LedgerDriver(), HOST, lambda: utc_now() + timedelta(seconds=1))
        )
    assert shares.get(f"/shares/{share}")["share"]["is_soft_deleted"] is False
    assert shares.get(f"/shares/{share}")["share"]["status"] == Status.AVAILABLE


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/snapshots", {"snapshot": {"share_id": "<share>"}}),
        ("/shares/<share>/action", {"extend": {"new_size": 3}}),
        ("/shares/<share>/action", {"shrink": {"new_size": 1}}),
        ("/shares/<share>/action", {"unmanage": None}),
        ("/shares/<share>/action", {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}),
        ("/snapshots/manage", {"snapshot": {"share_id": "<share>", "provider_location": "there"}}),
        ("/share-transfers", {"transfer": {"share_id": "<share>"}}),
        ("/share-group-snapshots", {"share_group_snapshot": {"share_group_id": "<group>"}}),
    ],
    ids=["snapshot", "extend", "shrink", "unmanage", "allow", "manage", "transfer", "group"],
)
def test_a_share_that_gets_into_the_bin_after_the_call_has_looked(shares: Shares, path: str, body: object) -> None:
    make_group_type(shares, "gold-group", shares.share_type())
    shares.back_end()
    group = available(shares) if "<group>" in str(body) else ""
    joined: dict[str, Any] = {"share_group_id": group} if group else {}
    share = made.share(shares, size=2, **joined)
    path, body = json.loads(json.dumps([path, body]).replace("<share>", share).replace("<group>", group))
    put = partial(shares.post, f"/shares/{share}/action", {"soft_delete": None}, 202, by=MEMBER)
    meanwhile(shares, "FROM share_groups" if group else "is_soft_deleted", put)
    refused(shares.call("POST", path, body), 409 if group else 403, "soft deleted")
    assert shares.get(f"/shares/{share}")["share"]["status"] == Status.AVAILABLE
    assert [job.kind for job in shares.jobs() if job.kind not in {Kind.CREATE_SHARE, Kind.CREATE_GROUP}] == []
