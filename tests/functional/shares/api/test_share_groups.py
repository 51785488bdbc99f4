from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, update
from tests.functional.shares.api import made
from tests.functional.shares.api.parts import ADMIN, HOST, MEMBER, POOL, READER, STRANGER, Shares, refused

from isthmus.control.database import utc_now
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import jobs, usage
from isthmus.shares.store.jobs import Job
from isthmus.shares.tables import (
    GroupRow,
    GroupSnapshotRow,
    GroupTypeRow,
    GroupTypeShareTypeRow,
    InstanceRow,
    JobRow,
    SnapshotInstanceRow,
    TypeSpecRow,
)


@pytest.fixture
def share_type(shares: Shares) -> str:
    """Return the default share type; a back end is there too."""
    shares.back_end(sg_consistent_snapshot_support="host")
    return shares.share_type()


@pytest.fixture
def group_type(shares: Shares, share_type: str) -> str:
    """Return the default group type, whose groups may hold shares of the default share type."""
    return make_group_type(shares, "gold-group", share_type)


def make_group_type(shares: Shares, name: str, *share_types: str, **specs: str) -> str:
    identity = str(uuid4())
    with shares.database.transaction() as session:
        session.execute(insert(GroupTypeRow).values(id=identity, name=name, is_public=True, created_at=utc_now()))
        for share_type in share_types:
            session.execute(insert(GroupTypeShareTypeRow).values(group_type_id=identity, share_type_id=share_type))
        for key, value in specs.items():
            session.execute(insert(TypeSpecRow).values(type_id=identity, key=key, value=value))
    return identity


def create(shares: Shares, status: int = 202, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = shares.post("/share-groups", {"share_group": body}, status, by=MEMBER)
    return answer["share_group"] if status == 202 else answer


def available(shares: Shares, **body: Any) -> str:
    identity = str(create(shares, **body)["id"])
    made.set_status(shares, GroupRow, identity, Status.AVAILABLE)
    return identity


def counted(shares: Shares, resource: str) -> int:
    with shares.database.transaction() as session:
        return usage.in_use(session, "p1")[resource]


def test_a_group_gets_the_defaults_and_a_place(shares: Shares, share_type: str, group_type: str) -> None:
    group = create(shares, name="g", description="d")
    assert (group["status"], group["host"], group["availability_zone"]) == ("creating", POOL, "nova")
    assert (group["share_types"], group["share_group_type_id"]) == ([share_type], group_type)
    assert group["consistent_snapshot_support"] == "host"
    assert "share_server_id" not in group
    assert "share_server_id" in shares.get(f"/share-groups/{group['id']}")["share_group"]
    (job,) = shares.jobs()
    assert (job.kind, job.subject, job.backend) == (Kind.CREATE_GROUP, group["id"], HOST)
    assert counted(shares, "share_groups") == 1


def test_a_group_without_a_fitting_pool_is_in_error(shares: Shares, share_type: str) -> None:
    group_type = make_group_type(shares, "strict", share_type, consistent_snapshot_support="pool")
    group = create(shares, share_group_type_id=group_type)
    assert (group["status"], group["host"]) == ("error", None)
    assert shares.jobs() == []
    shares.delete(f"/share-groups/{group['id']}", by=MEMBER)
    refused(shares.call("GET", f"/share-groups/{group['id']}", by=MEMBER), 404)
    assert counted(shares, "share_groups") == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"share_types": ["nothing"]}, 400),
        ({"share_types": [str(uuid4())]}, 400),
        ({"share_group_type_id": "nothing"}, 400),
        ({"share_group_type_id": str(uuid4())}, 400),
        ({"share_network_id": "nothing"}, 400),
        ({"share_network_id": str(uuid4())}, 400),
        ({"source_share_group_snapshot_id": "nothing"}, 400),
        ({"source_share_group_snapshot_id": str(uuid4())}, 400),
        ({"source_share_group_snapshot_id": str(uuid4()), "share_types": [str(uuid4())]}, 400),
        ({"availability_zone": "nowhere"}, 404),
        ({"size": 1}, 400),
        ({"name": 5}, 400),
    ],
)
@pytest.mark.usefixtures("group_type")
def test_nonsense_is_refused(shares: Shares, body: dict[str, Any], status: int) -> None:
    refused(shares.call("POST", "/share-groups", {"share_group": body}, by=MEMBER), status)
    assert counted(shares, "share_groups") == 0


def test_a_share_type_must_be_among_the_group_types(shares: Shares, share_type: str) -> None:
    other = shares.share_type("silver")
    group_type = make_group_type(shares, "gold-group", share_type)
    body = {"share_group": {"share_types": [other], "share_group_type_id": group_type}}
    refused(shares.call("POST", "/share-groups", body, by=MEMBER), 400, "subset")


@pytest.mark.usefixtures("group_type")
@pytest.mark.parametrize(("version", "status"), [("2.30", 404), ("2.54", 404), ("2.55", 202)])
def test_groups_were_experimental(shares: Shares, version: str, status: int) -> None:
    answer = shares.call("POST", "/share-groups", {"share_group": {}}, by=MEMBER, version=version)
    assert answer.status_code == status


@pytest.mark.usefixtures("group_type")
def test_who_asks_for_experiments_gets_them(shares: Shares) -> None:
    shown = shares.post("/share-groups", {"share_group": {}}, 202, by=MEMBER, version="2.31", experimental=True)
    assert "availability_zone" not in shown["share_group"]


@pytest.mark.parametrize("path", ["/consistency-groups", "/cgsnapshots"])
def test_consistency_groups_are_no_more(shares: Shares, path: str) -> None:
    refused(shares.call("GET", path, version="2.10", experimental=True), 404)


@pytest.mark.usefixtures("group_type")
def test_only_its_project_sees_a_group(shares: Shares) -> None:
    group = available(shares)
    for method in ("GET", "DELETE"):
        refused(shares.call(method, f"/share-groups/{group}", by=STRANGER), 404)
    refused(shares.call("POST", "/share-groups", {"share_group": {}}, by=READER), 403)
    assert shares.get("/share-groups", by=ADMIN)["share_groups"] == []
    assert len(shares.get("/share-groups/detail?all_tenants=1", by=ADMIN)["share_groups"]) == 1
    assert shares.get("/share-groups?all_tenants=1", by=STRANGER)["share_groups"] == []


@pytest.mark.usefixtures("group_type")
def test_lists_of_groups(shares: Shares) -> None:
    for name in ("a", "b", "ab"):
        available(shares, name=name)
    for query, found in (("name=a", 1), ("name~=a", 2), ("limit=2", 2), ("status=error", 0), ("limit=0", 3)):
        assert len(shares.get(f"/share-groups?{query}", by=MEMBER)["share_groups"]) == found, query
    refused(shares.call("GET", "/share-groups?foo=bar", by=MEMBER), 400, "cannot be filtered using 'foo'")
    refused(shares.call("GET", "/share-groups?sort_key=foo", by=MEMBER), 400, "foo")


@pytest.mark.usefixtures("group_type")
def test_a_name_is_changed(shares: Shares) -> None:
    group = available(shares)
    shown = shares.put(f"/share-groups/{group}", {"share_group": {"name": "new"}}, by=MEMBER)["share_group"]
    assert shown["name"] == "new"
    refused(shares.call("PUT", f"/share-groups/{group}", {"share_group": {"host": "x"}}, by=MEMBER), 400, "host")


@pytest.mark.usefixtures("group_type")
def test_what_is_in_a_group_keeps_it(shares: Shares) -> None:
    group = available(shares)
    share = made.share(shares, share_group_id=group)
    refused(shares.call("DELETE", f"/share-groups/{group}", by=MEMBER), 409, "with shares")
    assert shares.get(f"/share-groups/{group}")["share_group"]["status"] == "available"
    take(shares, group)
    refused(shares.call("DELETE", f"/share-groups/{group}", by=MEMBER), 409, "with snapshots")
    refused(shares.call("DELETE", f"/shares/{share}?share_group_id={group}", by=MEMBER), 403)


@pytest.mark.usefixtures("group_type")
def test_an_empty_group_is_deleted_by_its_back_end(shares: Shares) -> None:
    group = available(shares)
    shares.delete(f"/share-groups/{group}", by=MEMBER)
    assert shares.jobs()[-1].kind == Kind.DELETE_GROUP
    refused(shares.call("DELETE", f"/share-groups/{group}", by=MEMBER), 409, "status must be one of")


@pytest.mark.usefixtures("group_type")
def test_administrators_actions(shares: Shares) -> None:
    group = available(shares)
    share = made.share(shares, share_group_id=group)
    path = f"/share-groups/{group}/action"
    refused(shares.call("POST", path, {"force_delete": {}}, by=MEMBER), 403)
    refused(shares.call("POST", path, {"reset_status": {"status": "x"}}), 400)
    shares.post(path, {"reset_status": {"status": "error"}}, 202)
    assert shares.get(f"/share-groups/{group}")["share_group"]["status"] == "error"
    shares.post(path, {"force_delete": {}}, 202)
    assert shares.jobs()[-1].argument == {"group_id": group, "force": True}
    assert shares.get(f"/shares/{share}")["share"]["status"] == "deleting"


def take(shares: Shares, group: str, status: Status = Status.AVAILABLE, **body: Any) -> str:
    """Return the id of a snapshot of a group in this status."""
    entity = {"share_group_snapshot": {"share_group_id": group, **body}}
    shown = shares.post("/share-group-snapshots", entity, 202, by=MEMBER)["share_group_snapshot"]
    made.set_status(shares, GroupSnapshotRow, shown["id"], status)
    with shares.database.transaction() as session:
        session.execute(update(SnapshotInstanceRow).values(status=status))
    return str(shown["id"])


@pytest.mark.usefixtures("group_type")
def test_a_groups_snapshot_has_a_member_for_each_share(shares: Shares) -> None:
    group = available(shares)
    first, second = made.share(shares, share_group_id=group), made.share(shares, share_group_id=group)
    snapshot = take(shares, group, name="s")
    shown = shares.get(f"/share-group-snapshots/{snapshot}", by=MEMBER)["share_group_snapshot"]
    assert {member["share_id"] for member in shown["members"]} == {first, second}
    members = shares.get(f"/share-group-snapshots/{snapshot}/members", by=MEMBER)["share_group_snapshot_members"]
    assert {member["share_protocol"] for member in members} == {"NFS"}
    job = shares.jobs()[-1]
    assert (job.kind, job.subject) == (Kind.CREATE_GROUP_SNAPSHOT, group)
    assert counted(shares, "share_group_snapshots") == 1
    # Members are not snapshots of their shares.
    assert shares.get("/snapshots", by=MEMBER)["snapshots"] == []


@pytest.mark.usefixtures("group_type")
def test_a_groups_snapshot_needs_all_to_be_available(shares: Shares) -> None:
    group = available(shares)
    share = made.share(shares, share_group_id=group, status=Status.ERROR)
    body = {"share_group_snapshot": {"share_group_id": group}}
    refused(shares.call("POST", "/share-group-snapshots", body, by=MEMBER), 409, share)
    made.set_status(shares, GroupRow, group, Status.ERROR)
    refused(shares.call("POST", "/share-group-snapshots", body, by=MEMBER), 409, "Share group status")
    for wrong in ({}, {"share_group_id": "x"}, {"share_group_id": str(uuid4())}):
        refused(shares.call("POST", "/share-group-snapshots", {"share_group_snapshot": wrong}, by=MEMBER), 400)


@pytest.mark.usefixtures("group_type")
def test_a_group_is_made_from_a_snapshot(shares: Shares) -> None:
    group = available(shares)
    made.share(shares, share_group_id=group, size=3)
    snapshot = take(shares, group)
    copy = create(shares, source_share_group_snapshot_id=snapshot)
    assert (copy["host"], copy["source_share_group_snapshot_id"]) == (POOL, snapshot)
    (share,) = shares.get(f"/shares/detail?share_group_id={copy['id']}", by=MEMBER)["shares"]
    (member,) = shares.get(f"/share-group-snapshots/{snapshot}", by=MEMBER)["share_group_snapshot"]["members"]
    assert (share["size"], share["source_share_group_snapshot_member_id"]) == (3, member["id"])
    assert counted(shares, "gigabytes") == 6
    refused(shares.call("DELETE", f"/share-group-snapshots/{snapshot}", by=MEMBER), 409, share["id"])
    made.share_status(shares, share["id"], Status.AVAILABLE)
    shares.delete(f"/share-group-snapshots/{snapshot}", by=MEMBER)
    body = {"share_group": {"source_share_group_snapshot_id": snapshot}}
    refused(shares.call("POST", "/share-groups", body, by=MEMBER), 409)


@pytest.mark.usefixtures("group_type")
def test_what_may_be_done_with_a_groups_snapshot(shares: Shares) -> None:
    snapshot = take(shares, available(shares))
    path = f"/share-group-snapshots/{snapshot}"
    refused(shares.call("GET", path, by=STRANGER), 404)
    body = {"share_group_snapshot": {"name": "new"}}
    assert shares.put(path, body, by=MEMBER)["share_group_snapshot"]["name"] == "new"
    (listed,) = shares.get("/share-group-snapshots/detail?name=new", by=MEMBER)["share_group_snapshots"]
    assert listed["members"] == []
    refused(shares.call("POST", f"{path}/action", {"reset_status": {"status": "error"}}, by=MEMBER), 403)
    shares.post(f"{path}/action", {"reset_status": {"status": "error"}}, 202)
    shares.post(f"{path}/action", {"force_delete": {}}, 202)
    assert shares.jobs()[-1].argument == {"group_snapshot_id": snapshot, "force": True}


@pytest.mark.usefixtures("group_type")
def test_a_full_quota_refuses(shares: Shares) -> None:
    shares.put("/quota-sets/p1", {"quota_set": {"share_groups": 1, "share_group_snapshots": 0}})
    group = available(shares)
    refused(shares.call("POST", "/share-groups", {"share_group": {}}, by=MEMBER), 413, "share-groups")
    body = {"share_group_snapshot": {"share_group_id": group}}
    refused(shares.call("POST", "/share-group-snapshots", body, by=MEMBER), 413, "share-group-snapshots")


@pytest.mark.usefixtures("group_type")
def test_a_share_of_a_group_lies_in_its_pool(shares: Shares) -> None:
    shares.back_end("node@beta")
    group = available(shares)
    share = made.share(shares, share_group_id=group)
    with shares.database.transaction() as session:
        row = session.query(InstanceRow).filter_by(share_id=share).one()
    assert row.host == shares.get(f"/share-groups/{group}")["share_group"]["host"]


def claimed(shares: Shares) -> list[Job]:
    with shares.database.transaction() as session:
        lease = timedelta(minutes=1)
        return jobs.claim(session, backends=[HOST], owner="queue", now=utc_now(), lease=lease, limit=10)


def test_a_groups_jobs_and_its_shares_never_run_beside_each_other(shares: Shares) -> None:
    make_group_type(shares, "gold-group", shares.share_type())
    shares.back_end()
    group = available(shares)
    with shares.database.transaction() as session:
        session.execute(delete(JobRow))
    share = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS", "share_group_id": group}})["share"]["id"]
    (creation,) = claimed(shares)
    assert (creation.kind, creation.subject) == (Kind.CREATE_SHARE, share)

    shares.post(f"/share-groups/{group}/action", {"force_delete": None}, 202)
    other = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS"}})["share"]["id"]
    assert [job.subject for job in claimed(shares)] == [other]
    with shares.database.transaction() as session:
        assert jobs.finish(session, creation, "queue")
    (deletion,) = claimed(shares)
    assert (deletion.kind, deletion.subject) == (Kind.DELETE_GROUP, group)

    with shares.database.transaction() as session:
        jobs.enqueue(session, host=HOST, kind=Kind.UPDATE_ACCESS, subject=share, now=utc_now())
    assert claimed(shares) == []
    with shares.database.transaction() as session:
        assert jobs.finish(session, deletion, "queue")
    assert [job.subject for job in claimed(shares)] == [share]
