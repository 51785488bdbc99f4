"""What a manager does each minute: retired shares are deleted, transfers that nobody accepted end."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from tests.functional.shares.api import made
from tests.functional.shares.api.ledger import LedgerDriver, work_off
from tests.functional.shares.api.parts import HOST, MEMBER, Shares, refused

from isthmus.control.database import utc_now
from isthmus.shares.model import Status
from isthmus.shares.services import sweeping
from isthmus.shares.services.work import Work
from isthmus.shares.tables import InstanceRow, JobRow, ShareRow, TransferRow


@pytest.fixture
def driver() -> LedgerDriver:
    """Return a back end with nothing in it."""
    return LedgerDriver()


@pytest.fixture
def work(shares: Shares, driver: LedgerDriver) -> Work:
    """Return what a manager sweeps with; there is a share type and a back end."""
    shares.share_type()
    shares.back_end()
    return Work(shares.conf, shares.database, driver, HOST, utc_now)


def retired(shares: Shares, *, due: timedelta = -timedelta(minutes=1), status: Status = Status.AVAILABLE) -> str:
    """Return the id of a share in the recycle bin whose time there ends that long from now."""
    share = made.share(shares)
    shares.post(f"/shares/{share}/action", {"soft_delete": None}, 202, by=MEMBER)
    with shares.database.transaction() as session:
        at = utc_now() + due
        session.execute(update(ShareRow).where(ShareRow.id == share).values(scheduled_to_be_deleted_at=at))
        session.execute(delete(JobRow).where(JobRow.subject == share))
    made.share_status(shares, share, status)
    return share


def sweep(work: Work) -> None:
    with work.database.transaction() as session:
        sweeping.delete_retired_shares(session, work)


def being_deleted(shares: Shares) -> list[str]:
    return [job.subject for job in shares.jobs()]


def test_shares_are_deleted_when_their_time_in_the_bin_is_over(shares: Shares, work: Work) -> None:
    due, retried = retired(shares), retired(shares, status=Status.ERROR_DELETING)
    kept = retired(shares, due=timedelta(minutes=1))
    sweep(work)
    assert sorted(being_deleted(shares)) == sorted([due, retried])
    assert isinstance(work.driver, LedgerDriver)
    work_off(shares, work.driver)
    for share in (due, retried):
        refused(shares.call("GET", f"/shares/{share}"), 404)
    assert shares.get(f"/shares/{kept}")["share"]["status"] == Status.AVAILABLE


@pytest.mark.parametrize("status", [Status.ERROR, Status.INACTIVE])
def test_a_share_goes_in_each_status_that_it_was_put_into_the_bin_in(
    shares: Shares, work: Work, status: Status
) -> None:
    share = retired(shares, status=status)
    sweep(work)
    assert being_deleted(shares) == [share]


def test_a_share_without_a_pool_goes_at_once(shares: Shares, work: Work) -> None:
    share = retired(shares, status=Status.ERROR)
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).where(InstanceRow.share_id == share).values(host=""))
    sweep(work)
    refused(shares.call("GET", f"/shares/{share}"), 404)
    assert being_deleted(shares) == []


def test_shares_that_cannot_go_do_not_keep_others(shares: Shares, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "MOST", 2)
    for _ in range(2):
        retired(shares, due=-timedelta(hours=2), status=Status.DELETING)
    failed = [retired(shares, due=-timedelta(hours=1), status=Status.ERROR_DELETING) for _ in range(2)]
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).where(InstanceRow.share_id.in_(failed)).values(updated_at=utc_now()))
    later, sooner = retired(shares, due=-timedelta(minutes=1)), retired(shares, due=-timedelta(minutes=2))
    sweep(work)
    assert being_deleted(shares) == [sooner, later]
    sweep(work)
    assert sorted(being_deleted(shares)[2:]) == sorted(failed)


def test_a_transfer_that_nobody_accepted_ends_and_its_share_is_free(shares: Shares, work: Work) -> None:
    over, going_on = made.share(shares), made.share(shares)
    transfers = {
        share: shares.post("/share-transfers", {"transfer": {"share_id": share}}, 202, by=MEMBER)["transfer"]["id"]
        for share in (over, going_on)
    }
    with shares.database.transaction() as session:
        ended = utc_now() - timedelta(seconds=1)
        session.execute(update(TransferRow).where(TransferRow.resource_id == over).values(expires_at=ended))
    with shares.database.transaction() as session:
        sweeping.end_old_transfers(session, work)
    refused(shares.call("GET", f"/share-transfers/{transfers[over]}"), 404)
    assert shares.get(f"/shares/{over}")["share"]["status"] == Status.AVAILABLE
    shares.get(f"/share-transfers/{transfers[going_on]}")
    assert shares.get(f"/shares/{going_on}")["share"]["status"] == Status.AWAITING_TRANSFER
