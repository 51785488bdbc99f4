import pytest
from sqlalchemy import select
from tests.functional.shares.api.parts import MEMBER, POOL, STRANGER, Shares, refused
from tests.functional.shares.api.replica_calls import (
    act,
    active,
    add,
    counted,
    look,
    of,
    one,
    replicas,
    replicating,
    share_with_rule,
)
from tests.functional.shares.api.replica_ledger import BETA, ReplicaLedger, work_off_all

from isthmus.control.database import utc_now
from isthmus.shares.services import sweeping
from isthmus.shares.services.work import Work
from isthmus.shares.tables import SnapshotInstanceRow


@pytest.fixture
def driver(shares: Shares) -> ReplicaLedger:
    return replicating(shares)


@pytest.fixture
def share(shares: Shares, driver: ReplicaLedger) -> str:
    return share_with_rule(shares, driver)


def test_a_snapshot_is_of_all_replicas(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    add(shares, driver, share)
    snapshot = shares.post("/snapshots", {"snapshot": {"share_id": share}}, 202, by=MEMBER)["snapshot"]["id"]
    work_off_all(shares, driver)
    instances = shares.get(f"/snapshot-instances?snapshot_id={snapshot}")["snapshot_instances"]
    assert [each["status"] for each in instances] == ["available", "available"]
    assert [each["id"] for each in shares.get("/snapshots/detail", by=MEMBER)["snapshots"]] == [snapshot]
    shares.post(f"/shares/{share}/action", {"revert": {"snapshot_id": snapshot}}, 202, by=MEMBER)
    work_off_all(shares, driver)
    assert driver.reverted == [active(shares, share)]
    shares.delete(f"/snapshots/{snapshot}", by=MEMBER)
    assert {each["status"] for each in shares.get("/snapshot-instances")["snapshot_instances"]} == {"deleting"}
    work_off_all(shares, driver)
    assert shares.get("/snapshot-instances")["snapshot_instances"] == []
    assert driver.snapshots == set()


def test_a_snapshot_is_available_when_it_has_come_to_replicas_in_sync(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    replica = add(shares, driver, share)["id"]
    driver.late = True
    snapshot = shares.post("/snapshots", {"snapshot": {"share_id": share}}, 202, by=MEMBER)["snapshot"]["id"]
    work_off_all(shares, driver)
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "creating"
    look(shares, driver, replica)
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "available"


def test_a_new_replica_gets_the_snapshots_that_are_there(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    snapshot = shares.post("/snapshots", {"snapshot": {"share_id": share}}, 202, by=MEMBER)["snapshot"]["id"]
    work_off_all(shares, driver)
    replica = add(shares, driver, share)["id"]
    found = shares.get(f"/snapshot-instances/detail?snapshot_id={snapshot}")["snapshot_instances"]
    assert {each["share_instance_id"]: each["status"] for each in found}[replica] == "available"
    act(shares, replica, "promote", by=MEMBER)
    work_off_all(shares, driver)
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "available"


def test_a_snapshot_under_way_at_a_promotion_is_in_error(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    driver.late = True
    shares.post("/snapshots", {"snapshot": {"share_id": share}}, 202, by=MEMBER)
    work_off_all(shares, driver)
    act(shares, replica, "promote", by=MEMBER)
    work_off_all(shares, driver)
    with shares.database.transaction() as session:
        own = select(SnapshotInstanceRow.status).where(SnapshotInstanceRow.instance_id == replica)
        assert session.scalar(own) == "error"


@pytest.mark.parametrize("says", ["in_sync", "out_of_sync", "error"])
def test_replicas_are_asked_how_they_stand(shares: Shares, driver: ReplicaLedger, share: str, says: str) -> None:
    replica = add(shares, driver, share)["id"]
    driver.says = type(driver.says)(says)  # type: ignore[misc]
    work = Work(shares.conf, shares.database, driver, BETA, utc_now)
    with shares.database.transaction() as session:
        sweeping.look_at_replicas(session, work)
    assert shares.jobs() == [], "it was asked a moment ago"
    look(shares, driver, replica)
    assert one(shares, replica)["replica_state"] == says


def test_a_resync_is_for_administrators(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    refused(act(shares, replica, "resync", by=MEMBER), 403)
    assert act(shares, active(shares, share), "resync").status_code == 200
    driver.says = None
    assert act(shares, replica, "resync").status_code == 202
    work_off_all(shares, driver)
    assert (one(shares, replica)["replica_state"], driver.asked[-1]) == ("in_sync", "state_of_replica")
    driver.refused = {"state_of_replica"}
    act(shares, replica, "resync")
    work_off_all(shares, driver)
    assert (one(shares, replica)["status"], one(shares, replica)["replica_state"]) == ("error", "error")


def test_a_share_stays_in_sight_whatever_state_its_replicas_are_set_to(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    old, new = active(shares, share), add(shares, driver, share)["id"]
    act(shares, old, "reset_replica_state", {"replica_state": "error"})
    assert of(shares, share)["host"] == POOL
    act(shares, new, "reset_replica_state", {"replica_state": "active"})
    assert of(shares, share)["host"] == f"{BETA}#pool"
    refused(act(shares, new, "reset_replica_state", {"replica_state": "great"}), 400, "Valid states")
    refused(act(shares, new, "reset_status", {}), 400, "Must specify 'status'")


def test_replicas_of_others_are_not_seen(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    assert shares.get("/share-replicas", by=STRANGER)["share_replicas"] == []
    refused(shares.call("GET", f"/share-replicas/{replica}", by=STRANGER), 404)
    refused(shares.call("GET", f"/share-replicas?share_id={share}", by=STRANGER), 404)
    assert len(shares.get("/share-replicas", by=MEMBER)["share_replicas"]) == 2
    assert "host" not in shares.get(f"/share-replicas/{replica}", by=MEMBER)["share_replica"]


def test_replicas_are_experimental_until_2_55(shares: Shares, share: str) -> None:
    refused(shares.call("GET", "/share-replicas", version="2.55"), 404)
    assert shares.call("GET", "/share-replicas", version="2.55", experimental=True).status_code == 200
    refused(shares.call("GET", "/share-replicas", version="2.10", experimental=True), 404)


def test_metadata_of_a_replica(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    path = f"/share-replicas/{replica}/metadata"
    shares.post(path, {"metadata": {"a": "1", "b": "2"}}, by=MEMBER)
    shares.delete(f"{path}/a", 200, by=MEMBER)
    assert shares.get(path, by=MEMBER) == {"metadata": {"b": "2"}}
    refused(shares.call("GET", path, by=STRANGER), 404)
    refused(shares.call("GET", path, version="2.94"), 404)


def test_an_instance_that_is_deleted_by_force_takes_its_snapshots_along(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    replica, only = add(shares, driver, share)["id"], active(shares, share)
    snapshot = shares.post("/snapshots", {"snapshot": {"share_id": share}}, 202, by=MEMBER)["snapshot"]["id"]
    work_off_all(shares, driver)
    shares.post(f"/share_instances/{replica}/action", {"force_delete": None}, 202)
    work_off_all(shares, driver)
    assert (list(replicas(shares, share)), counted(shares)) == ([only], (1, 1))
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "available"
    shares.post(f"/share_instances/{only}/action", {"force_delete": None}, 202)
    work_off_all(shares, driver)
    refused(shares.call("GET", f"/snapshots/{snapshot}"), 404)
    refused(shares.call("GET", f"/shares/{share}"), 404)
    assert counted(shares) == (0, 0)
