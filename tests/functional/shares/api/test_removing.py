"""What is taken from a back end: once, twice after a crash, by force, and when its clients cannot be shut out."""

import pytest
from sqlalchemy import func, select
from tests.functional.shares.api.ledger import LedgerDriver, crash_at_the_next, work_off
from tests.functional.shares.api.made import share_feature
from tests.functional.shares.api.parts import MEMBER, Shares, refused

from isthmus.shares.tables import JobRow


@pytest.fixture
def driver() -> LedgerDriver:
    """Return a back end with nothing in it."""
    return LedgerDriver()


@pytest.fixture
def share(shares: Shares, driver: LedgerDriver) -> str:
    """Return the id of a share that the back end has made, with a client."""
    shares.share_type()
    shares.back_end()
    made = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS"}}, by=MEMBER)["share"]["id"]
    work_off(shares, driver)
    allow(shares, f"/shares/{made}/action")
    work_off(shares, driver)
    return str(made)


@pytest.fixture
def snapshot(shares: Shares, driver: LedgerDriver, share: str) -> str:
    """Return the id of a snapshot that a client may mount."""
    share_feature(shares, share, mount_snapshot_support=True)
    body = {"snapshot": {"share_id": share}}
    made = shares.post("/snapshots", body, 202, by=MEMBER)["snapshot"]["id"]
    work_off(shares, driver)
    allow(shares, f"/snapshots/{made}/action", 202)
    work_off(shares, driver)
    return str(made)


def allow(shares: Shares, path: str, status: int = 200) -> None:
    body = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}
    shares.post(path, body, status, by=MEMBER)


def nothing_is_left(shares: Shares, driver: LedgerDriver, path: str, identity: str) -> None:
    refused(shares.call("GET", f"{path}/{identity}"), 404)
    with shares.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(JobRow)) == 0


def test_a_share_goes_though_a_manager_died_when_it_was_gone(shares: Shares, driver: LedgerDriver, share: str) -> None:
    shares.delete(f"/shares/{share}", by=MEMBER)
    crash_at_the_next(shares, driver)
    assert driver.shares == set()
    work_off(shares, driver)
    nothing_is_left(shares, driver, "/shares", share)


def test_a_snapshot_goes_though_a_manager_died_when_it_was_gone(
    shares: Shares, driver: LedgerDriver, snapshot: str
) -> None:
    shares.delete(f"/snapshots/{snapshot}", by=MEMBER)
    crash_at_the_next(shares, driver)
    assert driver.snapshots == set()
    work_off(shares, driver)
    nothing_is_left(shares, driver, "/snapshots", snapshot)


def test_a_share_whose_clients_cannot_be_shut_out_goes(shares: Shares, driver: LedgerDriver, share: str) -> None:
    driver.refused = {"update_access"}
    shares.delete(f"/shares/{share}", by=MEMBER)
    work_off(shares, driver)
    nothing_is_left(shares, driver, "/shares", share)
    assert driver.shares == set()


def test_by_force_too_the_back_end_is_asked_to_remove_it(shares: Shares, driver: LedgerDriver, share: str) -> None:
    driver.refused = {"update_access"}
    shares.post(f"/shares/{share}/action", {"force_delete": None}, 202)
    work_off(shares, driver)
    nothing_is_left(shares, driver, "/shares", share)
    assert driver.shares == set()


def test_a_share_of_which_something_is_left_where_it_failed_is_in_error_and_stays_there(
    shares: Shares, driver: LedgerDriver
) -> None:
    shares.share_type()
    shares.back_end(pools=("pool", "other"))
    driver.refused = {"create_share", "delete_share"}
    made = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS"}}, by=MEMBER)["share"]["id"]
    host = shares.get(f"/shares/{made}")["share"]["host"]
    work_off(shares, driver)
    shown = shares.get(f"/shares/{made}")["share"]
    assert (shown["status"], shown["host"]) == ("error", host)
    assert "refuses create_share" in shares.get("/messages", by=MEMBER)["messages"][0]["user_message"]
    driver.refused = set()
    shares.delete(f"/shares/{made}", by=MEMBER)
    work_off(shares, driver)
    nothing_is_left(shares, driver, "/shares", made)
