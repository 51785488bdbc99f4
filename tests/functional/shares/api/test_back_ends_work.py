"""What becomes of snapshots, groups and transfers when a manager has done the jobs that the API wrote."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from tests.functional.shares.api.ledger import OWNER, LedgerDriver, work_off
from tests.functional.shares.api.made import share_feature
from tests.functional.shares.api.parts import MEMBER, STRANGER, Shares, refused

from isthmus.control.database import utc_now
from isthmus.shares.drivers.facts import Creation, ExportLocation
from isthmus.shares.services.running import TRIES_OF_A_BROKEN_JOB
from isthmus.shares.store import jobs, usage
from isthmus.shares.tables import (
    GroupTypeRow,
    GroupTypeShareTypeRow,
    MetadataRow,
    PoolRow,
    PrivateRow,
    ShareRow,
    SnapshotInstanceRow,
)


@pytest.fixture
def driver() -> LedgerDriver:
    """Return a back end with nothing in it."""
    return LedgerDriver()


@pytest.fixture
def share(shares: Shares, driver: LedgerDriver) -> str:
    """Return the id of a share that the back end has made."""
    type_id = shares.share_type()
    shares.back_end()
    group_type = str(uuid4())
    with shares.database.transaction() as session:
        session.execute(insert(GroupTypeRow).values(id=group_type, name="gold-group", created_at=utc_now()))
        session.execute(insert(GroupTypeShareTypeRow).values(group_type_id=group_type, share_type_id=type_id))
    return make_share(shares, driver)


def make_share(shares: Shares, driver: LedgerDriver, **body: Any) -> str:
    made = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS", **body}}, by=MEMBER)["share"]["id"]
    work_off(shares, driver)
    return str(made)


def take(shares: Shares, driver: LedgerDriver, share_id: str, **body: Any) -> dict[str, Any]:
    """Return a snapshot as an administrator sees it when the back end is done."""
    made = shares.post("/snapshots", {"snapshot": {"share_id": share_id, **body}}, 202, by=MEMBER)["snapshot"]["id"]
    work_off(shares, driver)
    shown: dict[str, Any] = shares.get(f"/snapshots/{made}")["snapshot"]
    return shown


def told(shares: Shares) -> list[str]:
    return [each["user_message"] for each in shares.get("/messages", by=MEMBER)["messages"]]


def counted(shares: Shares, project: str = "p1") -> dict[str, int]:
    with shares.database.transaction() as session:
        return {name: amount for name, amount in usage.in_use(session, project).items() if amount}


def test_a_snapshot_is_taken(shares: Shares, driver: LedgerDriver, share: str) -> None:
    share_feature(shares, share, mount_snapshot_support=True)
    snapshot = take(shares, driver, share)
    assert (snapshot["status"], snapshot["provider_location"] in driver.snapshots) == ("available", True)
    path = f"/snapshots/{snapshot['id']}/export-locations"
    (short,) = shares.get(path, by=MEMBER)["share_snapshot_export_locations"]
    assert set(short) == {"id", "path", "links"}
    shown = shares.get(f"{path}/{short['id']}")["share_snapshot_export_location"]
    assert (shown["path"], shown["is_admin_only"]) == (short["path"], False)
    instance = shown["share_snapshot_instance_id"]
    assert len(shares.get(f"/snapshot-instances/{instance}/export-locations")["share_snapshot_export_locations"]) == 1
    refused(shares.call("GET", f"{path}/nothing", by=MEMBER), 404)


def test_what_cannot_be_mounted_shows_no_way(shares: Shares, driver: LedgerDriver, share: str) -> None:
    snapshot = take(shares, driver, share)
    shown = shares.get(f"/snapshots/{snapshot['id']}/export-locations", by=MEMBER)
    assert shown["share_snapshot_export_locations"] == []


def test_a_result_that_cannot_be_recorded_is_an_error_and_its_owner_told(
    shares: Shares, driver: LedgerDriver, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = ExportLocation(path=None)  # type: ignore[arg-type] # what the database does not take
    monkeypatch.setattr(driver, "create_share", lambda _: Creation((nowhere,)))
    body = {"share": {"size": 1, "share_proto": "NFS"}}
    made = shares.post("/shares", body, by=MEMBER)["share"]["id"]
    for _ in range(TRIES_OF_A_BROKEN_JOB - 1):
        with pytest.raises(IntegrityError):
            work_off(shares, driver)
        release_all(shares)
    work_off(shares, driver)
    assert shares.get(f"/shares/{made}", by=MEMBER)["share"]["status"] == "error"
    assert "nobody foresaw (IntegrityError)" in told(shares)[0]
    assert shares.jobs() == []


def release_all(shares: Shares) -> None:
    with shares.database.transaction() as session:
        jobs.release(session, OWNER)


def test_a_snapshot_that_fails_is_in_error_and_its_owner_told(shares: Shares, driver: LedgerDriver, share: str) -> None:
    driver.refused = {"create_snapshot"}
    assert take(shares, driver, share)["status"] == "error"
    assert "refuses create_snapshot" in told(shares)[0]


def test_a_deleted_snapshot_leaves_nothing(shares: Shares, driver: LedgerDriver, share: str) -> None:
    snapshot = take(shares, driver, share, metadata={"a": "b"})
    shares.delete(f"/snapshots/{snapshot['id']}", by=MEMBER)
    work_off(shares, driver)
    refused(shares.call("GET", f"/snapshots/{snapshot['id']}", by=MEMBER), 404)
    assert (driver.snapshots, counted(shares)) == (set(), {"shares": 1, "gigabytes": 1})
    with shares.database.transaction() as session:
        assert session.scalars(select(MetadataRow.key)).all() == []
        assert session.scalars(select(PrivateRow.key)).all() == []


def test_a_snapshot_that_cannot_be_deleted_can_be_by_force(shares: Shares, driver: LedgerDriver, share: str) -> None:
    snapshot = take(shares, driver, share)
    driver.refused = {"delete_snapshot"}
    shares.delete(f"/snapshots/{snapshot['id']}", by=MEMBER)
    work_off(shares, driver)
    assert shares.get(f"/snapshots/{snapshot['id']}")["snapshot"]["status"] == "error_deleting"
    assert "refuses delete_snapshot" in told(shares)[0]
    shares.post(f"/snapshots/{snapshot['id']}/action", {"force_delete": None}, 202)
    work_off(shares, driver)
    refused(shares.call("GET", f"/snapshots/{snapshot['id']}"), 404)
    assert "snapshots" not in counted(shares)


def test_a_snapshot_is_given_up_and_taken_back(shares: Shares, driver: LedgerDriver, share: str) -> None:
    snapshot = take(shares, driver, share)
    shares.post(f"/snapshots/{snapshot['id']}/action", {"unmanage": None}, 202)
    work_off(shares, driver)
    refused(shares.call("GET", f"/snapshots/{snapshot['id']}"), 404)
    assert driver.snapshots == {snapshot["provider_location"]}
    with shares.database.transaction() as session:
        assert session.scalars(select(PrivateRow.key)).all() == ["seen"]
    entity = {"share_id": share, "provider_location": snapshot["provider_location"], "driver_options": {"size": "4"}}
    back = shares.post("/snapshots/manage", {"snapshot": entity}, 202)["snapshot"]["id"]
    work_off(shares, driver)
    shown = shares.get(f"/snapshots/{back}")["snapshot"]
    assert (shown["status"], shown["size"]) == ("available", 4)
    assert counted(shares, "cloud") == {"snapshots": 1, "snapshot_gigabytes": 4}


def test_what_is_not_there_is_not_taken_under_management(shares: Shares, driver: LedgerDriver, share: str) -> None:
    entity = {"share_id": share, "provider_location": "nowhere"}
    wrong = shares.post("/snapshots/manage", {"snapshot": entity}, 202)["snapshot"]["id"]
    work_off(shares, driver)
    assert shares.get(f"/snapshots/{wrong}")["snapshot"]["status"] == "manage_error"
    shares.post(f"/snapshots/{wrong}/action", {"unmanage": None}, 202)
    work_off(shares, driver)
    refused(shares.call("GET", f"/snapshots/{wrong}"), 404)
    assert counted(shares, "cloud") == {}


def test_a_snapshot_that_cannot_be_given_up_stays(shares: Shares, driver: LedgerDriver, share: str) -> None:
    snapshot = take(shares, driver, share)
    driver.refused = {"unmanage_snapshot"}
    shares.post(f"/snapshots/{snapshot['id']}/action", {"unmanage": None}, 202)
    work_off(shares, driver)
    assert shares.get(f"/snapshots/{snapshot['id']}")["snapshot"]["status"] == "unmanage_error"


def test_rules_of_a_snapshot_come_and_go(shares: Shares, driver: LedgerDriver, share: str) -> None:
    share_feature(shares, share, mount_snapshot_support=True)
    snapshot = take(shares, driver, share)
    path = f"/snapshots/{snapshot['id']}"
    rules: dict[str, str] = {}
    for client in ("10.0.0.1", "10.9.9.9"):
        body = {"allow_access": {"access_type": "ip", "access_to": client}}
        rules[client] = shares.post(f"{path}/action", body, 202, by=MEMBER)["snapshot_access"]["id"]
    work_off(shares, driver)
    listed = shares.get(f"{path}/access-list", by=MEMBER)["snapshot_access_list"]
    assert {each["access_to"]: each["state"] for each in listed} == {"10.0.0.1": "active", "10.9.9.9": "error"}
    assert driver.rules[snapshot["provider_location"]] == {"10.0.0.1"}
    assert "unknown client" in told(shares)[0]
    for rule in rules.values():
        shares.post(f"{path}/action", {"deny_access": {"access_id": rule}}, 202, by=MEMBER)
    work_off(shares, driver)
    assert shares.get(f"{path}/access-list", by=MEMBER)["snapshot_access_list"] == []
    refused(shares.call("POST", f"{path}/action", {"deny_access": {"access_id": rules["10.0.0.1"]}}, by=MEMBER), 404)


def test_rules_that_the_back_end_refuses_are_put_right_later(shares: Shares, driver: LedgerDriver, share: str) -> None:
    share_feature(shares, share, mount_snapshot_support=True)
    path = f"/snapshots/{take(shares, driver, share)['id']}"
    driver.refused = {"update_access"}
    body = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}
    shares.post(f"{path}/action", body, 202, by=MEMBER)
    work_off(shares, driver)
    (rule,) = shares.get(f"{path}/access-list", by=MEMBER)["snapshot_access_list"]
    assert rule["state"] == "error"
    driver.refused = set()
    shares.post(f"{path}/action", {"deny_access": {"access_id": rule["id"]}}, 202, by=MEMBER)
    work_off(shares, driver)
    assert shares.get(f"{path}/access-list", by=MEMBER)["snapshot_access_list"] == []


def make_group(shares: Shares, driver: LedgerDriver, **body: Any) -> dict[str, Any]:
    made = shares.post("/share-groups", {"share_group": body}, 202, by=MEMBER)["share_group"]["id"]
    work_off(shares, driver)
    shown: dict[str, Any] = shares.get(f"/share-groups/{made}", by=MEMBER)["share_group"]
    return shown


def take_of_group(shares: Shares, driver: LedgerDriver, group_id: str) -> dict[str, Any]:
    entity = {"share_group_snapshot": {"share_group_id": group_id}}
    made = shares.post("/share-group-snapshots", entity, 202, by=MEMBER)["share_group_snapshot"]["id"]
    work_off(shares, driver)
    shown: dict[str, Any] = shares.get(f"/share-group-snapshots/{made}", by=MEMBER)["share_group_snapshot"]
    return shown


@pytest.mark.usefixtures("share")
def test_a_group_comes_and_goes(shares: Shares, driver: LedgerDriver) -> None:
    group = make_group(shares, driver)
    assert (group["status"], driver.groups) == ("available", {group["id"]})
    shares.delete(f"/share-groups/{group['id']}", by=MEMBER)
    work_off(shares, driver)
    refused(shares.call("GET", f"/share-groups/{group['id']}"), 404)
    assert (driver.groups, "share_groups" in counted(shares)) == (set(), False)


@pytest.mark.usefixtures("share")
def test_what_fails_with_a_group_leaves_it_in_error(shares: Shares, driver: LedgerDriver) -> None:
    driver.refused = {"create_group"}
    assert make_group(shares, driver)["status"] == "error"
    driver.refused = {"delete_group", "create_group_snapshot"}
    group = make_group(shares, driver)
    assert take_of_group(shares, driver, group["id"])["status"] == "error"
    snapshot = shares.get("/share-group-snapshots", by=MEMBER)["share_group_snapshots"][0]["id"]
    shares.delete(f"/share-group-snapshots/{snapshot}", by=MEMBER)
    work_off(shares, driver)
    shares.delete(f"/share-groups/{group['id']}", by=MEMBER)
    work_off(shares, driver)
    assert shares.get(f"/share-groups/{group['id']}")["share_group"]["status"] == "error"
    assert len(told(shares)) == 3


@pytest.mark.usefixtures("share")
def test_a_group_is_copied_from_its_snapshot(shares: Shares, driver: LedgerDriver) -> None:
    group = make_group(shares, driver)
    for size in (1, 2):
        make_share(shares, driver, share_group_id=group["id"], size=size)
    snapshot = take_of_group(shares, driver, group["id"])
    assert (snapshot["status"], len(snapshot["members"])) == ("available", 2)
    assert {member["id"] for member in snapshot["members"]} == driver.snapshots
    copy = make_group(shares, driver, source_share_group_snapshot_id=snapshot["id"])
    assert copy["status"] == "available"
    copied = shares.get(f"/shares/detail?share_group_id={copy['id']}", by=MEMBER)["shares"]
    assert sorted((each["size"], each["status"]) for each in copied) == [(1, "available"), (2, "available")]
    shares.delete(f"/share-group-snapshots/{snapshot['id']}", by=MEMBER)
    work_off(shares, driver)
    assert driver.snapshots == set()


@pytest.mark.usefixtures("share")
def test_a_copy_whose_share_fails_is_in_error(shares: Shares, driver: LedgerDriver) -> None:
    group = make_group(shares, driver)
    make_share(shares, driver, share_group_id=group["id"])
    snapshot = take_of_group(shares, driver, group["id"])
    driver.refused = {"create_share"}
    assert make_group(shares, driver, source_share_group_snapshot_id=snapshot["id"])["status"] == "error"


def test_a_group_goes_by_force_with_all_that_is_in_it(shares: Shares, driver: LedgerDriver, share: str) -> None:
    group = make_group(shares, driver)
    member = make_share(shares, driver, share_group_id=group["id"])
    take(shares, driver, member)
    take_of_group(shares, driver, group["id"])
    driver.refused = {"delete_snapshot", "delete_group"}
    shares.post(f"/share-groups/{group['id']}/action", {"force_delete": None}, 202)
    work_off(shares, driver)
    refused(shares.call("GET", f"/share-groups/{group['id']}"), 404)
    assert counted(shares) == {"shares": 1, "gigabytes": 1}
    with shares.database.transaction() as session:
        assert session.scalars(select(ShareRow.id)).all() == [share]
        assert session.scalars(select(SnapshotInstanceRow.id)).all() == []
        assert session.scalars(select(PoolRow.promised_gib)).one() == 1


def hand_over(shares: Shares, share_id: str) -> None:
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}}
    shares.post(f"/shares/{share_id}/action", rule, by=MEMBER)
    transfer = shares.post("/share-transfers", {"transfer": {"share_id": share_id}}, 202, by=MEMBER)["transfer"]
    accepted = {"accept": {"auth_key": transfer["auth_key"], "clear_access_rules": True}}
    shares.post(f"/share-transfers/{transfer['id']}/accept", accepted, 202, by=STRANGER)


def test_a_share_changes_hands_without_its_rules(shares: Shares, driver: LedgerDriver, share: str) -> None:
    hand_over(shares, share)
    work_off(shares, driver)
    assert shares.get(f"/shares/{share}", by=STRANGER)["share"]["status"] == "available"
    assert shares.get(f"/share-access-rules?share_id={share}", by=STRANGER)["access_list"] == []
    assert list(driver.rules.values()) == [set()]


def test_a_share_changes_hands_though_its_rules_stay(shares: Shares, driver: LedgerDriver, share: str) -> None:
    driver.refused = {"update_access"}
    hand_over(shares, share)
    work_off(shares, driver)
    shown = shares.get(f"/shares/{share}", by=STRANGER)["share"]
    assert (shown["status"], shown["access_rules_status"]) == ("available", "error")
    (message,) = shares.get("/messages?action_id=026", by=STRANGER)["messages"]
    assert "refuses update_access" in message["user_message"]


def test_rules_that_come_together_are_brought_to_the_back_end_together(
    shares: Shares, driver: LedgerDriver, share: str
) -> None:
    wanted = {f"10.0.0.{number}" for number in range(1, 21)}
    for each in wanted:
        rule = {"allow_access": {"access_type": "ip", "access_to": each}}
        shares.post(f"/shares/{share}/action", rule, by=MEMBER)
    work_off(shares, driver)
    assert list(driver.rules.values()) == [wanted]
    assert driver.asked.count("update_access") == 1
    shown = shares.get(f"/share-access-rules?share_id={share}", by=MEMBER)["access_list"]
    assert {rule["state"] for rule in shown} == {"active"}
    assert shares.get(f"/shares/{share}")["share"]["access_rules_status"] == "active"
