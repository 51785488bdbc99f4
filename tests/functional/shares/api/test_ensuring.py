"""Shares are served again after a restart, whatever becomes of some of them."""

import threading
from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import update
from tests.functional.shares.api.ledger import LedgerDriver, work_off
from tests.functional.shares.api.parts import HOST, MEMBER, Shares

from isthmus.control.database import utc_now
from isthmus.control.errors import NotFound
from isthmus.shares.drivers.contract import BackendUnavailable
from isthmus.shares.drivers.facts import ExportLocation, ShareFacts
from isthmus.shares.services import backends
from isthmus.shares.services.work import Work
from isthmus.shares.tables import InstanceRow


class RestartedLedger(LedgerDriver):
    """`silent` is how often it does not answer; `vanished` are shares it lost, `moved` those served elsewhere now."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = 0
        self.vanished: set[str] = set()
        self.moved: set[str] = set()

    def ensure_shares(self, shares: Sequence[ShareFacts]) -> Mapping[str, tuple[ExportLocation, ...]]:
        if self.silent:
            self.silent -= 1
            raise BackendUnavailable("the ledger does not answer")
        for share in shares:
            if share.instance_id in self.vanished:
                raise NotFound(f"the ledger has no share instance {share.instance_id}")
        self.moved |= {share.instance_id for share in shares}
        return {share.instance_id: (ExportLocation(f"moved:/{share.instance_id}"),) for share in shares}


@pytest.fixture
def driver() -> RestartedLedger:
    return RestartedLedger()


@pytest.fixture
def work(shares: Shares, driver: RestartedLedger) -> Work:
    shares.share_type()
    shares.back_end()
    return Work(shares.conf, shares.database, driver, HOST, utc_now)


def made(shares: Shares, driver: RestartedLedger, how_many: int) -> list[str]:
    """Return the ids of shares."""
    return [_make(shares, driver) for _ in range(how_many)]


def _make(shares: Shares, driver: RestartedLedger) -> str:
    share = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS"}}, by=MEMBER)["share"]["id"]
    work_off(shares, driver)
    return str(share)


def instance_of(shares: Shares, share: str) -> str:
    (found,) = shares.get(f"/shares/{share}/instances")["share_instances"]
    return str(found["id"])


def test_a_share_that_vanished_is_told_and_keeps_no_other_from_being_served(
    shares: Shares, driver: RestartedLedger, work: Work
) -> None:
    lost, *others = made(shares, driver, 3)
    driver.vanished = {instance_of(shares, lost)}

    backends.ensure(work, threading.Event())

    assert driver.moved == {instance_of(shares, share) for share in others}
    for share in others:
        (export,) = shares.get(f"/shares/{share}/export_locations")["export_locations"]
        assert export["path"].startswith("moved:/")
    (message,) = shares.get("/messages", by=MEMBER)["messages"]
    assert (message["resource_id"], "no share instance" in message["user_message"]) == (lost, True)


def test_serving_again_goes_on_when_the_back_end_answers(
    shares: Shares, driver: RestartedLedger, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "SHORTEST_WAIT", 0.01)
    (share,) = made(shares, driver, 1)
    driver.silent = 2
    stopping, started = threading.Event(), threading.Event()
    bringing = threading.Thread(
        target=backends.bring_up, args=(work, "alpha", stopping, lambda _: started.set()), daemon=True
    )
    bringing.start()
    try:
        assert started.wait(20)
        for _ in range(200):
            if driver.moved:
                break
            stopping.wait(0.05)
        assert driver.moved == {instance_of(shares, share)}
    finally:
        stopping.set()
        bringing.join(20)


@pytest.mark.parametrize("status", ["reverting_error", "unmanage_error", "extending_error"])
def test_a_share_in_error_whose_bytes_are_there_is_served(
    shares: Shares, driver: RestartedLedger, work: Work, status: str
) -> None:
    (share,) = made(shares, driver, 1)
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).values(status=status))
    backends.ensure(work, threading.Event())
    assert driver.moved == {instance_of(shares, share)}


def test_a_share_that_is_deleted_meanwhile_is_left_alone(shares: Shares, driver: RestartedLedger, work: Work) -> None:
    gone, stays = made(shares, driver, 2)

    class Deleting(RestartedLedger):
        def ensure_shares(self, shares_: Sequence[ShareFacts]) -> Mapping[str, tuple[ExportLocation, ...]]:
            found = super().ensure_shares(shares_)
            shares.delete(f"/shares/{gone}", by=MEMBER)
            work_off(shares, driver)
            return found

    backends.ensure(Work(shares.conf, shares.database, Deleting(), HOST, utc_now), threading.Event())
    assert [share["id"] for share in shares.get("/shares", by=MEMBER)["shares"]] == [stays]
    assert [job.subject for job in shares.jobs()] == [stays]
