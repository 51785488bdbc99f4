import pytest
from tests.functional.shares.api import made
from tests.functional.shares.api.ledger import crash_at_the_next
from tests.functional.shares.api.parts import HOST, MEMBER, POOL, STRANGER, Shares, refused
from tests.functional.shares.api.replica_calls import (
    act,
    active,
    add,
    counted,
    create,
    of,
    one,
    promised,
    replicas,
    replicating,
    share_with_rule,
)
from tests.functional.shares.api.replica_ledger import BETA, ReplicaLedger, work_off_all

from isthmus.control.errors import NotSupported
from isthmus.shares.model import Status
from isthmus.shares.tables import InstanceRow


@pytest.fixture
def driver(shares: Shares) -> ReplicaLedger:
    return replicating(shares)


@pytest.fixture
def share(shares: Shares, driver: ReplicaLedger) -> str:
    return share_with_rule(shares, driver)


def test_a_share_of_a_replicated_type_is_its_own_first_replica(shares: Shares, share: str) -> None:
    (only,) = replicas(shares, share).values()
    assert (only["replica_state"], only["status"], only["host"]) == ("active", "available", POOL)
    assert not of(shares, share)["has_replicas"]
    assert counted(shares) == (1, 1)
    shares.delete(f"/shares/{share}", by=MEMBER)
    work_off_all(shares, ReplicaLedger())
    assert counted(shares) == (0, 0)


def test_a_replica_lies_where_the_domain_is_the_same_and_no_replica_is(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    replica = add(shares, driver, share)
    assert (replica["status"], replica["replica_state"]) == ("available", "in_sync")
    assert (replica["host"], replica["availability_zone"]) == (f"{BETA}#pool", "south")
    assert replica["cast_rules_to_readonly"]
    assert driver.rules[replica["id"]] == {"10.0.0.1 ro"}
    assert counted(shares) == (2, 2)
    assert promised(shares, f"{BETA}#pool") == 1
    shown = of(shares, share)
    assert (shown["has_replicas"], shown["host"], shown["status"]) == (True, POOL, "available")
    listed = shares.get("/shares/detail", by=MEMBER)["shares"]
    assert [each["id"] for each in listed] == [share]
    third = shares.post("/share-replicas", {"share_replica": {"share_id": share}}, 202)["share_replica"]
    assert (third["status"], third["replica_state"]) == ("error", "error")
    (message,) = shares.get(f"/messages?resource_id={third['id']}")["messages"]
    assert "ShareReplication filter" in message["user_message"]


def test_a_replica_may_be_asked_for_in_a_zone_or_a_pool(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    body = {"share_replica": {"share_id": share, "availability_zone": "west"}}
    assert shares.post("/share-replicas", body, 202)["share_replica"]["status"] == "error"
    body["share_replica"]["availability_zone"] = "nowhere"
    refused(shares.call("POST", "/share-replicas", body), 400, "nowhere")
    there = add(shares, driver, share, scheduler_hints={"only_host": f"{BETA}#pool"}, metadata={"for": "reports"})
    assert (there["host"], there["metadata"]) == (f"{BETA}#pool", {"for": "reports"})
    hints = {"share_replica": {"share_id": share, "scheduler_hints": {"same_host": share}}}
    refused(shares.call("POST", "/share-replicas", hints), 400, "only_host")


def test_what_cannot_be_replicated_is_refused(shares: Shares, driver: ReplicaLedger) -> None:
    shares.share_type("plain")
    plain = made.share(shares, share_type="plain")
    refused(create(shares, share_id=plain), 400, f"Replication not supported for share {plain}.")
    refused(create(shares), 400, "Must provide Share ID")
    refused(create(shares, share_id="nothing"), 404, "No share exists with ID nothing.")
    creating = made.share(shares, status=Status.CREATING)
    refused(create(shares, share_id=creating), 400, "does not have any active replica in available state")
    refused(create(shares, by=STRANGER, share_id=creating), 404)
    assert counted(shares) == (1, 1)


@pytest.mark.parametrize(("resource", "limit"), [("share_replicas", 1), ("replica_gigabytes", 1)])
def test_a_replica_beyond_the_quota_is_refused(shares: Shares, share: str, resource: str, limit: int) -> None:
    shares.put("/quota-sets/p1", {"quota_set": {resource: limit}})
    refused(create(shares, share_id=share), 413, "exceed")
    assert (counted(shares), len(replicas(shares, share))) == ((1, 1), 1)


def test_growth_is_counted_for_each_replica(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    add(shares, driver, share)
    shares.put("/quota-sets/p1", {"quota_set": {"replica_gigabytes": 5}})
    answer = shares.call("POST", f"/shares/{share}/action", {"extend": {"new_size": 3}}, by=MEMBER)
    refused(answer, 413, "replica_gigabytes")
    shares.post(f"/shares/{share}/action", {"extend": {"new_size": 2}}, 202, by=MEMBER)
    work_off_all(shares, driver)
    assert counted(shares) == (2, 4)
    assert (promised(shares, POOL), promised(shares, f"{BETA}#pool")) == (2, 2)


def test_a_promoted_replica_stands_for_the_share(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    old, new = active(shares, share), add(shares, driver, share)["id"]
    answer = act(shares, new, "promote", {"quiesce_wait_time": 7}, by=MEMBER)
    assert (answer.status_code, answer.json["share_replica"]["status"]) == (202, "replication_change")
    assert of(shares, share)["status"] == "replication_change"
    work_off_all(shares, driver)
    found = replicas(shares, share)
    assert {each: found[each]["replica_state"] for each in (old, new)} == {old: "in_sync", new: "active"}
    assert {each["status"] for each in found.values()} == {"available"}
    assert (found[old]["cast_rules_to_readonly"], found[new]["cast_rules_to_readonly"]) == (True, False)
    assert driver.waited == 7
    shown = of(shares, share)
    assert (shown["host"], shown["status"], shown["availability_zone"]) == (f"{BETA}#pool", "available", "south")
    exports = shares.get(f"/shares/{share}/export_locations")["export_locations"]
    assert [each["path"] for each in exports] == [f"ledger:/active/{new}"]
    (left,) = shares.get(f"/share-replicas/{old}/export-locations")["export_locations"]
    assert (left["path"], left["replica_state"]) == (f"ledger:/{old}", "in_sync")
    assert driver.asked.count("update_access") == 3, "the rules of both have changed"
    assert act(shares, new, "promote", by=MEMBER).status_code == 200


def test_a_promotion_goes_on_after_a_crash(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    new = add(shares, driver, share)["id"]
    act(shares, new, "promote", by=MEMBER)
    crash_at_the_next(shares, driver, BETA)
    assert one(shares, new)["status"] == "replication_change"
    work_off_all(shares, driver)
    assert (active(shares, share), one(shares, new)["status"]) == (new, "available")


def test_a_creation_goes_on_after_a_crash(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    made_id = create(shares, share_id=share).json["share_replica"]["id"]
    crash_at_the_next(shares, driver, BETA)
    work_off_all(shares, driver)
    assert (one(shares, made_id)["status"], driver.asked.count("create_replica")) == ("available", 2)
    assert shares.get(f"/share-access-rules?share_id={share}")["access_list"][0]["state"] == "active"


def test_nothing_begins_with_a_share_that_changes_its_active_replica(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    new = add(shares, driver, share)["id"]
    act(shares, new, "promote", by=MEMBER)
    refused(act(shares, new, "promote", by=MEMBER), 400, "must be in available state to be promoted")
    refused(shares.call("POST", f"/shares/{share}/action", {"extend": {"new_size": 2}}, by=MEMBER), 400)
    refused(shares.call("POST", "/snapshots", {"snapshot": {"share_id": share}}, by=MEMBER), 400)
    refused(shares.call("DELETE", f"/share-replicas/{new}", by=MEMBER), 400, "is being promoted")
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.2"}}
    refused(shares.call("POST", f"/shares/{share}/action", rule, by=MEMBER), 400)
    work_off_all(shares, driver)
    assert active(shares, share) == new


def test_a_replica_that_lags_is_promoted_by_administrators_only(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    new = add(shares, driver, share)["id"]
    assert act(shares, new, "reset_replica_state", {"replica_state": "out_of_sync"}).status_code == 202
    refused(act(shares, new, "promote", by=MEMBER), 403, "requires administrator privileges")
    assert one(shares, new)["status"] == "available"
    assert act(shares, new, "promote").status_code == 202
    work_off_all(shares, driver)
    assert active(shares, share) == new


def test_a_dead_back_end_does_not_keep_another_from_being_promoted(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    old, new = active(shares, share), add(shares, driver, share)["id"]
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.2"}}
    shares.post(f"/shares/{share}/action", rule, by=MEMBER)
    work_off_all(shares, driver, but=HOST)
    assert {job.backend for job in shares.jobs()} == {HOST}, "alpha is dead"
    act(shares, new, "promote", by=MEMBER)
    work_off_all(shares, driver, but=HOST)
    assert (active(shares, share), of(shares, share)["host"]) == (new, f"{BETA}#pool")
    work_off_all(shares, driver)
    assert one(shares, old)["status"] == "available"


def test_an_active_replica_with_work_under_way_does_not_give_way(
    shares: Shares, driver: ReplicaLedger, share: str
) -> None:
    old, new = active(shares, share), add(shares, driver, share)["id"]
    made.set_status(shares, InstanceRow, old, Status.EXTENDING)
    refused(act(shares, new, "promote"), 400, f"The active replica {old} is extending")
    assert one(shares, new)["status"] == "available"
    act(shares, old, "reset_status", {"status": "error"})
    act(shares, new, "promote")
    work_off_all(shares, driver)
    assert (active(shares, share), one(shares, old)["status"]) == (new, "error")


def test_a_failed_promotion_leaves_replicas_in_error(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    old, new = active(shares, share), add(shares, driver, share)["id"]
    driver.refused = {"promote_replica"}
    act(shares, new, "promote", by=MEMBER)
    work_off_all(shares, driver)
    assert {each["status"] for each in replicas(shares, share).values()} == {"error"}
    assert active(shares, share) == old
    (message,) = shares.get(f"/messages?resource_id={new}", by=MEMBER)["messages"]
    assert (message["action_id"], message["resource_type"]) == ("004", "SHARE_REPLICA")


def test_a_back_end_that_cannot_promote_changes_nothing(
    shares: Shares, driver: ReplicaLedger, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = active(shares, share), add(shares, driver, share)["id"]

    def cannot(*_: object) -> None:
        raise NotSupported("the ledger cannot promote")

    monkeypatch.setattr(driver, "promote_replica", cannot)
    act(shares, new, "promote", by=MEMBER)
    work_off_all(shares, driver)
    assert {each["status"] for each in replicas(shares, share).values()} == {"available"}
    assert active(shares, share) == old


def test_a_failed_creation_says_why_and_can_be_deleted(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    driver.refused = {"create_replica"}
    failed = add(shares, driver, share)
    assert (failed["status"], failed["replica_state"]) == ("error", "error")
    (message,) = shares.get(f"/messages?resource_id={failed['id']}", by=MEMBER)["messages"]
    assert "the ledger refuses create_replica" in message["user_message"]
    shares.delete(f"/share-replicas/{failed['id']}", by=MEMBER)
    work_off_all(shares, driver)
    assert (len(replicas(shares, share)), counted(shares)) == (1, (1, 1))
    assert of(shares, share)["access_rules_status"] == "active"


def test_a_deleted_replica_gives_back_what_it_took(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    refused(shares.call("DELETE", f"/share-replicas/{replica}", by=STRANGER), 404)
    shares.delete(f"/share-replicas/{replica}", by=MEMBER)
    shares.delete(f"/share-replicas/{replica}", by=MEMBER)
    work_off_all(shares, driver)
    assert driver.asked.count("delete_replica") == 1
    assert (counted(shares), promised(shares, f"{BETA}#pool")) == ((1, 1), 0)
    refused(shares.call("GET", f"/share-replicas/{replica}"), 404, f"Replica {replica} not found.")


def test_a_refused_deletion_is_told_and_can_be_forced(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    driver.refused = {"delete_replica"}
    shares.delete(f"/share-replicas/{replica}", by=MEMBER)
    work_off_all(shares, driver)
    assert one(shares, replica)["status"] == "error_deleting"
    refused(act(shares, replica, "force_delete", by=MEMBER), 403)
    assert act(shares, replica, "force_delete").status_code == 202
    work_off_all(shares, driver)
    assert list(replicas(shares, share)) == [active(shares, share)]


def test_the_last_active_replica_goes_with_its_share_only(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    only = active(shares, share)
    for answer in (shares.call("DELETE", f"/share-replicas/{only}"), act(shares, only, "force_delete")):
        refused(answer, 400, "Cannot delete last active replica")
    assert one(shares, only)["status"] == "available"


def test_a_share_with_replicas_stays_as_it_is(shares: Shares, driver: ReplicaLedger, share: str) -> None:
    replica = add(shares, driver, share)["id"]
    refused(shares.call("DELETE", f"/shares/{share}", by=MEMBER), 409, "Remove the replicas before deleting")
    for action in ("soft_delete", "unmanage", "force_delete"):
        refused(shares.call("POST", f"/shares/{share}/action", {action: None}), 409, "has replicas")
    transfer = {"transfer": {"share_id": share, "name": "t"}}
    refused(shares.call("POST", "/share-transfers", transfer, by=MEMBER), 400, "with replicas cannot be transferred")
    assert of(shares, share)["status"] == "available"
    shares.delete(f"/share-replicas/{replica}", by=MEMBER)
    work_off_all(shares, driver)
    shares.delete(f"/shares/{share}", by=MEMBER)
    work_off_all(shares, driver)
    assert (driver.shares, counted(shares)) == (set(), (0, 0))
