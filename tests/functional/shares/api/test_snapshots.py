from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import select
from tests.functional.shares.api import made
from tests.functional.shares.api.parts import (
    ADMIN,
    COLLEAGUE,
    HOST,
    MEMBER,
    READER,
    STRANGER,
    Shares,
    expect,
    refused,
)

from isthmus.shares.model import Kind, Status
from isthmus.shares.store import usage
from isthmus.shares.tables import InstanceRow, SnapshotInstanceRow


@pytest.fixture
def share(shares: Shares) -> str:
    """Return the id of an available share of p1."""
    shares.share_type()
    shares.back_end()
    return made.share(shares)


def counted(shares: Shares, project: str = "p1") -> tuple[int, int]:
    with shares.database.transaction() as session:
        found = usage.in_use(session, project)
    return found["snapshots"], found["snapshot_gigabytes"]


def take(shares: Shares, share_id: str, **options: Any) -> Any:
    return shares.call("POST", "/snapshots", {"snapshot": {"share_id": share_id}}, by=MEMBER, **options)


def test_a_snapshot_is_counted_and_its_back_end_told(shares: Shares, share: str) -> None:
    body = {"snapshot": {"share_id": share, "name": "nightly", "description": "d", "metadata": {"a": "b"}}}
    shown = shares.post("/snapshots", body, 202, by=MEMBER)["snapshot"]
    assert (shown["status"], shown["name"], shown["size"], shown["share_size"]) == ("creating", "nightly", 1, 1)
    assert (shown["project_id"], shown["user_id"], shown["metadata"]) == ("p1", "ann", {"a": "b"})
    assert "provider_location" not in shown
    job = shares.jobs()[-1]
    assert (job.kind, job.subject, job.backend) == (Kind.CREATE_SNAPSHOT, share, HOST)
    assert counted(shares) == (1, 1)


def test_older_versions_see_fewer_fields(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    assert "user_id" not in shares.get(f"/snapshots/{snapshot}", version="2.16")["snapshot"]
    assert "provider_location" not in shares.get(f"/snapshots/{snapshot}", version="2.11")["snapshot"]
    assert "provider_location" in shares.get(f"/snapshots/{snapshot}", version="2.12")["snapshot"]
    assert "metadata" not in shares.get(f"/snapshots/{snapshot}", version="2.72")["snapshot"]


def test_a_share_must_be_available(shares: Shares, share: str) -> None:
    made.share_status(shares, share, Status.EXTENDING)
    refused(take(shares, share), 400, "Source share status must be available")
    assert counted(shares) == (0, 0)


def test_a_share_must_be_able_to(shares: Shares, share: str) -> None:
    made.share_feature(shares, share, snapshot_support=False)
    refused(take(shares, share), 422, "does not have that capability")


def test_a_share_in_the_recycle_bin_gets_no_snapshot(shares: Shares, share: str) -> None:
    made.share_feature(shares, share, is_soft_deleted=True)
    refused(take(shares, share), 403, "soft deleted")


def test_malformed_bodies(shares: Shares, share: str) -> None:
    refused(shares.call("POST", "/snapshots", {"nothing": {}}, by=MEMBER), 422)
    refused(shares.call("POST", "/snapshots", {"snapshot": {"share_id": share, "name": "n" * 256}}, by=MEMBER), 400)
    refused(shares.call("POST", "/snapshots", {"snapshot": {"share_id": share, "name": 5}}, by=MEMBER), 400)
    refused(shares.call("POST", "/snapshots", {"snapshot": {"share_id": "nothing"}}, by=MEMBER), 404)


def test_a_reader_takes_none(shares: Shares, share: str) -> None:
    refused(shares.call("POST", "/snapshots", {"snapshot": {"share_id": share}}, by=READER), 403)


def test_only_its_project_sees_a_snapshot(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    assert shares.get(f"/snapshots/{snapshot}", by=COLLEAGUE)["snapshot"]["id"] == snapshot
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/metadata"), ("GET", "/export-locations")):
        refused(shares.call(method, f"/snapshots/{snapshot}{path}", by=STRANGER), 404)
    assert shares.get("/snapshots", by=STRANGER)["snapshots"] == []
    assert shares.get("/snapshots?all_tenants=1", by=STRANGER)["snapshots"] == []
    assert len(shares.get("/snapshots?all_tenants=1", by=ADMIN)["snapshots"]) == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=a", ["a"]),
        ("name~=b", ["ab", "bb"]),
        ("status=error", ["bb"]),
        ("metadata={'k':'v'}", ["ab"]),
        ("sort_key=name&sort_dir=asc", ["a", "ab", "bb"]),
        ("limit=1&offset=1", ["bb"]),
        ("size=2", []),
        ("unknown=x", ["ab", "bb", "a"]),
    ],
)
def test_lists_are_narrowed_ordered_and_paged(shares: Shares, share: str, query: str, found: list[str]) -> None:
    made.snapshot(shares, share, name="a")
    made.snapshot(shares, share, name="bb", status=Status.ERROR)
    made.snapshot(shares, share, name="ab", metadata={"k": "v"})
    query = query.replace("'", "%27").replace("{", "%7B").replace("}", "%7D")
    answer = shares.get(f"/snapshots/detail?{query}&with_count=1", by=MEMBER)
    assert [each["name"] for each in answer["snapshots"]] == found
    assert answer["count"] >= len(found)


@pytest.mark.parametrize("query", ["limit=-1", "offset=x", "sort_key=nothing", "sort_dir=up", "name=", "metadata=x"])
def test_lists_refuse_nonsense(shares: Shares, query: str) -> None:
    refused(shares.call("GET", f"/snapshots?{query}", by=MEMBER), 400)


def test_a_name_is_changed(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    body = {"snapshot": {"display_name": "new", "display_description": "why"}}
    shown = shares.put(f"/snapshots/{snapshot}", body, by=MEMBER)["snapshot"]
    assert (shown["name"], shown["description"]) == ("new", "why")
    refused(shares.call("PUT", f"/snapshots/{snapshot}", {"nothing": 1}, by=MEMBER), 422)


def test_a_deletion_is_the_back_ends_work(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    shares.delete(f"/snapshots/{snapshot}", by=MEMBER)
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "deleting"
    assert shares.jobs()[-1].kind == Kind.DELETE_SNAPSHOT
    refused(shares.call("DELETE", f"/snapshots/{snapshot}", by=MEMBER), 400, "must be one of")


def test_a_snapshot_that_a_share_is_being_made_from_stays(shares: Shares, share: str) -> None:
    made.share_feature(shares, share, create_share_from_snapshot_support=True)
    snapshot = made.snapshot(shares, share)
    copy = made.share(shares, snapshot_id=snapshot, status=Status.CREATING)
    refused(shares.call("DELETE", f"/snapshots/{snapshot}", by=MEMBER), 409, copy)
    made.share_status(shares, copy, Status.AVAILABLE)
    shares.delete(f"/snapshots/{snapshot}", by=MEMBER)


def test_a_share_with_a_snapshot_stays(shares: Shares, share: str) -> None:
    made.snapshot(shares, share)
    refused(shares.call("DELETE", f"/shares/{share}", by=MEMBER), 403, "snapshots")


def test_a_full_quota_refuses(shares: Shares, share: str) -> None:
    shares.put("/quota-sets/p1", {"quota_set": {"snapshots": 1}})
    made.snapshot(shares, share)
    refused(take(shares, share), 413, "Maximum number of snapshots allowed (1)")
    shares.put("/quota-sets/p1", {"quota_set": {"snapshots": 5, "snapshot_gigabytes": 1}})
    refused(take(shares, share), 413, "gigabytes quota")
    assert counted(shares) == (1, 1)


@pytest.mark.parametrize(("name", "version"), [("reset_status", "2.99"), ("os-reset_status", "2.6")])
def test_an_administrator_sets_a_status(shares: Shares, share: str, name: str, version: str) -> None:
    snapshot = made.snapshot(shares, share)
    path = f"/snapshots/{snapshot}/action"
    shares.post(path, {name: {"status": "error"}}, 202, version=version)
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "error"
    refused(shares.call("POST", path, {name: {"status": "nonsense"}}, version=version), 400, "Valid states")
    refused(shares.call("POST", path, {name: {}}, version=version), 400, "Must specify 'status'")
    refused(shares.call("POST", path, {name: {"status": "error"}}, by=MEMBER, version=version), 403)


def test_force_deletes_whatever_the_status(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share, status=Status.CREATING)
    path = f"/snapshots/{snapshot}/action"
    refused(shares.call("POST", path, {"force_delete": None}, by=MEMBER), 403)
    shares.post(path, {"force_delete": None}, 202)
    assert shares.jobs()[-1].argument["force"] is True


def test_managing_a_snapshot(shares: Shares, share: str) -> None:
    entity = {"share_id": share, "provider_location": "there", "name": "n", "driver_options": {"a": "b"}}
    shown = shares.post("/snapshots/manage", {"snapshot": entity}, 202)["snapshot"]
    assert (shown["status"], shown["name"], shown["size"]) == ("manage_starting", "n", None)
    job = shares.jobs()[-1]
    assert (job.kind, job.argument["driver_options"]) == (Kind.MANAGE_SNAPSHOT, {"a": "b"})
    refused(shares.call("POST", "/snapshots/manage", {"snapshot": entity}), 409, "already managed")
    refused(shares.call("POST", "/snapshots/manage", {"snapshot": entity}, by=MEMBER), 403)
    refused(shares.call("POST", "/snapshots/manage", {"snapshot": {"share_id": share}}), 422, "provider_location")
    assert counted(shares, "cloud") == (0, 0)


def test_unmanaging_a_snapshot(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    path = f"/snapshots/{snapshot}/action"
    refused(shares.call("POST", path, {"unmanage": None}, by=MEMBER), 403)
    shares.post(path, {"unmanage": None}, 202)
    assert shares.jobs()[-1].kind == Kind.UNMANAGE_SNAPSHOT
    refused(shares.call("POST", path, {"unmanage": None}), 403, "transitional state")


def test_rules_of_a_mountable_snapshot(shares: Shares, share: str) -> None:
    made.share_feature(shares, share, mount_snapshot_support=True)
    snapshot = made.snapshot(shares, share)
    path = f"/snapshots/{snapshot}/action"
    allow = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}
    rule = shares.post(path, allow, 202, by=MEMBER)["snapshot_access"]
    assert rule["state"] == "queued_to_apply"
    assert shares.get(f"/snapshots/{snapshot}/access-list", by=MEMBER)["snapshot_access_list"] == [rule]
    same = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1/32"}}
    refused(shares.call("POST", path, same, by=MEMBER), 400, "exists")
    shares.post(path, {"deny_access": {"access_id": rule["id"]}}, 202, by=MEMBER)
    (left,) = shares.get(f"/snapshots/{snapshot}/access-list", by=MEMBER)["snapshot_access_list"]
    assert left["state"] == "queued_to_deny"
    assert [job.kind for job in shares.jobs()[-2:]] == [Kind.UPDATE_SNAPSHOT_ACCESS] * 2


@pytest.mark.parametrize(
    ("access_type", "access_to"),
    [("ip", "10.0.0.256"), ("ip", "10.0.0.1/24"), ("user", "a"), ("user", "...."), ("cert", "c" * 65), ("x", "y")],
)
def test_rules_for_nobody_are_refused(shares: Shares, share: str, access_type: str, access_to: str) -> None:
    made.share_feature(shares, share, mount_snapshot_support=True)
    snapshot = made.snapshot(shares, share)
    body = {"allow_access": {"access_type": access_type, "access_to": access_to}}
    refused(shares.call("POST", f"/snapshots/{snapshot}/action", body, by=MEMBER), 400)


def test_rules_need_a_share_whose_snapshots_can_be_mounted(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    body = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}
    path = f"/snapshots/{snapshot}/action"
    refused(shares.call("POST", path, body, by=MEMBER), 400, "does not support mounting")
    made.share_feature(shares, share, mount_snapshot_support=True, snapshot_inherit_share_access_support=True)
    refused(shares.call("POST", path, body, by=MEMBER), 400, "inherited")
    made.share_feature(shares, share, snapshot_inherit_share_access_support=False)
    made.snapshot_status(shares, snapshot, Status.CREATING)
    refused(shares.call("POST", path, body, by=MEMBER), 400, "not in available state")


def test_instances_are_for_administrators(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share)
    refused(shares.call("GET", "/snapshot-instances", by=MEMBER), 403)
    (short,) = shares.get(f"/snapshot-instances?snapshot_id={snapshot}")["snapshot_instances"]
    assert (short["snapshot_id"], short["status"]) == (snapshot, "available")
    shown = shares.get(f"/snapshot-instances/{short['id']}")["snapshot_instance"]
    assert shown["share_id"] == share
    shares.post(f"/snapshot-instances/{short['id']}/action", {"reset_status": {"status": "error"}}, 202)
    assert shares.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "error"
    refused(shares.call("GET", "/snapshot-instances", version="2.18"), 404)
    refused(shares.call("GET", "/snapshot-instances/nothing"), 404, "nothing")


def test_a_snapshot_and_the_shares_deletion_never_both_win(shares: Shares, share: str) -> None:
    start, answers = Barrier(2), dict[str, int]()

    def ask(name: str, method: str, path: str, body: object) -> None:
        start.wait()
        answers[name] = shares.call(method, path, body, by=MEMBER).status_code

    threads = [
        Thread(target=ask, args=("snapshot", "POST", "/snapshots", {"snapshot": {"share_id": share}})),
        Thread(target=ask, args=("deletion", "DELETE", f"/shares/{share}", None)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status == 202 for status in answers.values()) == [False, True], answers
    with shares.database.transaction() as session:
        taken = session.scalars(select(SnapshotInstanceRow.id)).all()
        status = session.scalar(select(InstanceRow.status).where(InstanceRow.share_id == share))
    assert (len(taken), status) in {(1, Status.AVAILABLE), (0, Status.DELETING)}


def test_metadata_of_a_snapshot(shares: Shares, share: str) -> None:
    snapshot = made.snapshot(shares, share, metadata={"a": "b"})
    shares.post(f"/snapshots/{snapshot}/metadata", {"metadata": {"c": "d"}}, by=MEMBER)
    assert expect(shares.call("GET", f"/snapshots/{snapshot}/metadata", by=MEMBER), 200)["metadata"] == {
        "a": "b",
        "c": "d",
    }
    refused(shares.call("GET", f"/snapshots/{snapshot}/metadata", by=MEMBER, version="2.72"), 404)
