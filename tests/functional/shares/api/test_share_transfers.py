from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from tests.functional.shares.api import made
from tests.functional.shares.api.ledger import LedgerDriver, work_off
from tests.functional.shares.api.parts import ADMIN, COLLEAGUE, MEMBER, READER, STRANGER, Person, Shares, refused

from isthmus.control.database import utc_now
from isthmus.shares.model import Kind, RuleState, Status
from isthmus.shares.store import usage
from isthmus.shares.tables import InstanceRow, RuleStateRow, TransferRow


@pytest.fixture
def share(shares: Shares) -> str:
    """Return the id of an available share of p1."""
    shares.share_type()
    shares.back_end()
    return made.share(shares)


def offer(shares: Shares, share_id: str, **body: Any) -> dict[str, Any]:
    shown = shares.post("/share-transfers", {"transfer": {"share_id": share_id, **body}}, 202, by=MEMBER)
    transfer: dict[str, Any] = shown["transfer"]
    return transfer


def accept(shares: Shares, transfer: dict[str, Any], *, by: Person = STRANGER, **body: Any) -> Any:
    entity = {"accept": {"auth_key": transfer["auth_key"], **body}}
    return shares.call("POST", f"/share-transfers/{transfer['id']}/accept", entity, by=by)


def counted(shares: Shares, project: str) -> tuple[int, int, int, int]:
    with shares.database.transaction() as session:
        found = usage.in_use(session, project)
    return found["shares"], found["gigabytes"], found["snapshots"], found["snapshot_gigabytes"]


def status(shares: Shares, share_id: str) -> str:
    with shares.database.transaction() as session:
        return session.scalars(select(InstanceRow.status).where(InstanceRow.share_id == share_id)).one()


def test_a_share_goes_to_who_has_the_key(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    transfer = offer(shares, share, name=" gift ")
    assert (transfer["name"], transfer["accepted"], transfer["source_project_id"]) == ("gift", False, "p1")
    assert status(shares, share) == Status.AWAITING_TRANSFER
    assert accept(shares, transfer).status_code == 202
    shown = shares.get(f"/shares/{share}", by=STRANGER)["share"]
    assert (shown["project_id"], shown["user_id"], shown["status"]) == ("p2", "zoe", "available")
    assert shares.get(f"/snapshots/{snapshot}", by=STRANGER)["snapshot"]["project_id"] == "p2"
    refused(shares.call("GET", f"/shares/{share}", by=MEMBER), 404)
    assert (counted(shares, "p1"), counted(shares, "p2")) == ((0, 0, 0, 0), (1, 1, 1, 1))
    assert shares.get("/share-transfers?all_tenants=1")["transfers"] == []


def test_the_key_is_kept_by_nobody(shares: Shares, share: str) -> None:
    transfer = offer(shares, share)
    assert "auth_key" not in shares.get(f"/share-transfers/{transfer['id']}", by=MEMBER)["transfer"]
    with shares.database.transaction() as session:
        row = session.scalars(select(TransferRow)).one()
    assert transfer["auth_key"] not in {row.salt, row.key_hash}


def test_a_wrong_key_opens_nothing(shares: Shares, share: str) -> None:
    transfer = offer(shares, share)
    refused(accept(shares, transfer, auth_key="wrong"), 400, "invalid auth key")
    refused(accept(shares, transfer, auth_key=""), 400, "auth_key")
    refused(accept(shares, {**transfer, "id": str(uuid4())}), 400)
    refused(accept(shares, transfer, clear_access_rules="perhaps"), 400)
    refused(accept(shares, transfer, by=READER), 403)
    assert status(shares, share) == Status.AWAITING_TRANSFER


def test_an_offer_ends(shares: Shares, share: str) -> None:
    transfer = offer(shares, share)
    with shares.database.transaction() as session:
        session.execute(update(TransferRow).values(expires_at=utc_now() - timedelta(seconds=1)))
    refused(accept(shares, transfer), 400, transfer["id"])


def test_an_offer_is_withdrawn(shares: Shares, share: str) -> None:
    transfer = offer(shares, share)
    refused(shares.call("DELETE", f"/share-transfers/{transfer['id']}", by=STRANGER), 404)
    shares.delete(f"/share-transfers/{transfer['id']}", 200, by=MEMBER)
    assert status(shares, share) == Status.AVAILABLE
    refused(accept(shares, transfer), 400)


def test_rules_are_taken_away_before_the_new_owner_gets_the_share(shares: Shares, share: str) -> None:
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}}
    shares.post(f"/shares/{share}/action", rule, by=MEMBER)
    transfer = offer(shares, share)
    assert accept(shares, transfer, clear_access_rules=True).status_code == 202
    assert status(shares, share) == Status.AWAITING_TRANSFER
    assert shares.jobs()[-1].kind == Kind.TRANSFER_SHARE
    with shares.database.transaction() as session:
        assert session.scalars(select(RuleStateRow.state)).all() == [RuleState.QUEUED_TO_DENY]


def test_a_share_without_rules_waits_for_no_back_end(shares: Shares, share: str) -> None:
    transfer = offer(shares, share)
    assert accept(shares, transfer, clear_access_rules=True).status_code == 202
    assert status(shares, share) == Status.AVAILABLE


@pytest.mark.parametrize("clear", [True, False])
def test_the_back_end_is_told_whose_the_share_is(shares: Shares, share: str, clear: bool) -> None:
    driver = LedgerDriver()
    driver.shares.add(shares.get(f"/shares/{share}/instances")["share_instances"][0]["id"])
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}
    shares.post(f"/shares/{share}/action", rule, by=MEMBER)
    work_off(shares, driver)
    accept(shares, offer(shares, share), clear_access_rules=clear)
    work_off(shares, driver)
    assert driver.given == [("p2", "zoe", clear, 0 if clear else 1)]
    assert status(shares, share) == Status.AVAILABLE


def test_a_back_end_that_takes_no_note_is_told_of(shares: Shares, share: str) -> None:
    driver = LedgerDriver()
    driver.refused = {"accept_transfer"}
    accept(shares, offer(shares, share))
    work_off(shares, driver)
    (message,) = shares.get(f"/messages?resource_id={share}", by=STRANGER)["messages"]
    assert (message["action_id"], message["detail_id"]) == ("026", "026")
    assert status(shares, share) == Status.AVAILABLE


def test_what_cannot_be_handed_over(shares: Shares, share: str) -> None:
    body = {"transfer": {"share_id": share}}
    snapshot = made.snapshot(shares, share, status=Status.ERROR)
    refused(shares.call("POST", "/share-transfers", body, by=MEMBER), 400, snapshot)
    made.snapshot_status(shares, snapshot, Status.AVAILABLE)
    made.share_status(shares, share, Status.ERROR)
    refused(shares.call("POST", "/share-transfers", body, by=MEMBER), 400, "available")
    assert status(shares, share) == Status.ERROR
    refused(shares.call("POST", "/share-transfers", body, by=STRANGER), 400, "not found")
    refused(shares.call("POST", "/share-transfers", {"transfer": {}}, by=MEMBER), 400, "share_id")
    refused(shares.call("POST", "/share-transfers", {"transfer": {"share_id": "x"}}, by=MEMBER), 400, "uuid")
    refused(shares.call("POST", "/share-transfers", {}, by=MEMBER), 400)


def test_a_full_quota_keeps_the_share_where_it_is(shares: Shares, share: str) -> None:
    shares.put("/quota-sets/p2", {"quota_set": {"shares": 0}})
    transfer = offer(shares, share)
    refused(accept(shares, transfer), 413)
    assert (counted(shares, "p1")[:2], counted(shares, "p2")[:2]) == ((1, 1), (0, 0))
    assert shares.get(f"/share-transfers/{transfer['id']}", by=MEMBER)["transfer"]["accepted"] is False


def test_a_share_of_a_private_type_goes_to_its_projects_only(shares: Shares) -> None:
    shares.share_type("private", is_public=False, projects=("p1",))
    shares.back_end()
    share = made.share(shares, share_type="private")
    refused(accept(shares, offer(shares, share)), 400, "not public")


def test_lists_of_transfers(shares: Shares, share: str) -> None:
    transfer = offer(shares, share, name="gift")
    (short,) = shares.get("/share-transfers?name=gift", by=COLLEAGUE)["transfers"]
    assert set(short) == {"id", "name", "resource_type", "resource_id", "links"}
    (shown,) = shares.get("/share-transfers/detail", by=MEMBER)["transfers"]
    assert (shown["id"], shown["expires_at"] is not None) == (transfer["id"], True)
    for query in ("", "?all_tenants=1"):
        assert shares.get(f"/share-transfers{query}", by=STRANGER)["transfers"] == []
    assert shares.get("/share-transfers", by=ADMIN)["transfers"] == []
    refused(shares.call("GET", "/share-transfers", by=MEMBER, version="2.76"), 404)


def test_a_force_deleted_share_takes_its_transfer_along(shares: Shares, share: str) -> None:
    transfer = offer(shares, share)
    shares.post(f"/shares/{share}/action", {"force_delete": None}, 202)
    refused(accept(shares, transfer), 400, "awaiting_transfer")
