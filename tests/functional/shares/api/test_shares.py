import json
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.functional.shares.api.parts import (
    ADMIN,
    COLLEAGUE,
    MEMBER,
    POOL,
    READER,
    STRANGER,
    Person,
    Shares,
    refused,
)

from isthmus.control.database import utc_now
from isthmus.shares.drivers.facts import ExportLocation
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Status
from isthmus.shares.store import results
from isthmus.shares.tables import InstanceRow, MessageRow, NetworkRow, PoolRow, ShareRow, UsageRow


def make(shares: Shares, *, by: Person = MEMBER, version: str = "2.99", **body: Any) -> dict[str, Any]:
    answer = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS", **body}}, by=by, version=version)
    made: dict[str, Any] = answer["share"]
    return made


def attempt(shares: Shares, *, by: Person = MEMBER, version: str = "2.99", **body: Any) -> Any:
    return shares.call("POST", "/shares", {"share": {"size": 1, "share_proto": "NFS", **body}}, by=by, version=version)


def settle(shares: Shares, share_id: str, status: Status = Status.AVAILABLE) -> None:
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).where(InstanceRow.share_id == share_id).values(status=status))


def pool_of(shares: Shares, host: str = POOL) -> PoolRow:
    with shares.database.transaction() as session:
        return session.scalars(select(PoolRow).where(PoolRow.host == host)).one()


def in_use(shares: Shares, project: str = "p1") -> tuple[int, int]:
    with shares.database.transaction() as session:
        row = session.scalars(
            select(UsageRow).where(UsageRow.project_id == project, UsageRow.user_id == "", UsageRow.share_type_id == "")
        ).one()
        return row.shares, row.gigabytes


@pytest.fixture
def world(shares: Shares) -> Shares:
    """Return the API with a share type that is the default, and one pool."""
    shares.share_type()
    shares.back_end()
    return shares


def test_a_new_share_is_placed_and_its_back_end_told(world: Shares) -> None:
    made = make(world, name="home", description="ours", metadata={"a": "b"}, size=3)
    assert (made["status"], made["name"], made["description"]) == ("creating", "home", "ours")
    assert (made["share_type_name"], made["availability_zone"]) == ("gold", "nova")
    assert made["metadata"] == {"a": "b"}
    assert "host" not in made
    assert world.get(f"/shares/{made['id']}")["share"]["host"] == POOL
    (job,) = world.jobs()
    assert (job.kind, job.subject, job.backend) == ("create_share", made["id"], "node@alpha")
    assert job.argument["bound"] is False
    assert (pool_of(world).placed_gib, pool_of(world).promised_gib) == (3, 3)
    assert in_use(world) == (1, 3)


def test_a_share_that_finds_no_pool_is_in_error_and_its_owner_told_why(world: Shares) -> None:
    made = make(world, size=101)
    assert made["status"] == "error"
    assert world.jobs() == []
    with world.database.transaction() as session:
        message = session.scalars(select(MessageRow)).one()
    assert (message.resource_id, message.action_id, message.detail_id) == (
        made["id"],
        Action.ALLOCATE_HOST,
        Detail.FILTER_CAPACITY,
    )
    world.delete(f"/shares/{made['id']}", by=MEMBER)
    refused(world.call("GET", f"/shares/{made['id']}", by=MEMBER), 404)
    assert in_use(world) == (0, 0)


def test_what_was_just_placed_counts(world: Shares) -> None:
    assert make(world, size=60)["status"] == "creating"
    assert make(world, size=60)["status"] == "error"


def test_without_a_default_type_a_share_is_in_error(shares: Shares) -> None:
    shares.back_end()
    made = make(shares)
    assert (made["status"], made["share_type"]) == ("error", None)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"size": 0}, 400, "must be an integer and greater than 0"),
        ({"size": "1.5"}, 400, "must be an integer"),
        ({"size": True}, 400, "must be an integer"),
        ({"size": None}, 400, "must be an integer"),
        ({"size": 2**31}, 400, "must be an integer"),
        ({"share_proto": "AFS"}, 400, "Invalid share protocol provided: AFS"),
        ({"share_proto": 7}, 400, "share_proto must be a string"),
        ({"name": "x" * 256}, 400, "name can only be 255 characters long"),
        ({"share_type": "no-such"}, 404, "Share type not found."),
        ({"share_type": "gold", "volume_type": "gold"}, 400, "Cannot specify both"),
        ({"availability_zone": "mars"}, 404, "Availability zone mars could not be found."),
        ({"snapshot_id": "no-such"}, 404, "Snapshot no-such could not be found."),
        ({"share_network_id": "no-such"}, 404, "Share network no-such could not be found."),
        ({"share_group_id": "no-such"}, 404, "Share group no-such could not be found."),
        ({"is_public": "maybe"}, 400, "is_public"),
        ({"is_public": True}, 403, "not authorized to set 'is_public'"),
        ({"metadata": {"": "x"}}, 400, "key is blank"),
        ({"metadata": {"a": 5}}, 400, "must be text"),
        ({"scheduler_hints": {"same_host": "nonsense"}}, 400, "nonsense is not a valid uuid."),
        ({"scheduler_hints": {"same_host": "6f1c7e0c-0d0e-4c07-8c1d-2ed19b0c1f0e"}}, 404, "could not be found"),
        ({"mount_point_name": "x"}, 400, "mount point name is not supported"),
    ],
)
def test_what_cannot_be_created(world: Shares, body: dict[str, Any], status: int, words: str) -> None:
    refused(attempt(world, **body), status, words)
    assert world.jobs() == []


def test_a_body_without_a_share_is_unprocessable(world: Shares) -> None:
    refused(world.call("POST", "/shares", {"no": {}}, by=MEMBER), 422)
    refused(world.call("PUT", "/shares/x", {"no": {}}, by=MEMBER), 422)


def test_a_reader_creates_nothing(world: Shares) -> None:
    refused(attempt(world, by=READER), 403)


def test_a_private_type_is_only_for_its_projects(shares: Shares) -> None:
    shares.back_end()
    shares.share_type("secret", is_public=False, projects=("p2",))
    refused(attempt(shares, share_type="secret"), 404, "Share type not found.")
    assert make(shares, by=STRANGER, share_type="secret")["share_type_name"] == "secret"
    assert make(shares, by=ADMIN, share_type="secret")["share_type_name"] == "secret"


def test_a_type_limits_sizes_and_zones(shares: Shares) -> None:
    shares.back_end()
    shares.back_end("node@beta", zone="west")
    limits: dict[str, Any] = {
        "provisioning:min_share_size": "2",
        "provisioning:max_share_size": "4",
        "availability_zones": "west",
    }
    shares.share_type("tight", **limits)
    refused(attempt(shares, share_type="tight"), 400, "less than the minimum required size of '2'")
    refused(attempt(shares, share_type="tight", size=5), 400, "greater than the maximum allowable size of '4'")
    refused(attempt(shares, share_type="tight", size=2, availability_zone="nova"), 400, "within the availability zone")
    assert make(shares, share_type="tight", size=2)["availability_zone"] == "west"


def test_a_quota_ends_creation(world: Shares) -> None:
    world.conf.set_override("shares", 1, "shares_quota")
    make(world)
    refused(attempt(world), 413, "Maximum number of shares allowed (1)")
    world.conf.set_override("gigabytes", 2, "shares_quota")
    refused(attempt(world, size=9), 413, "gigabytes quota")
    world.conf.set_override("per_share_gigabytes", 3, "shares_quota")
    refused(attempt(world, size=9), 413, "share size 9 is larger than maximum allowed limit 3.")
    assert in_use(world) == (1, 1)


def test_a_hint_is_not_written_to_another_projects_public_share(shares: Shares) -> None:
    shares.share_type()
    shares.back_end(pools=("one", "two"))
    first = make(shares)
    with shares.database.transaction() as session:
        session.execute(update(ShareRow).values(is_public=True))
    apart = make(shares, by=STRANGER, scheduler_hints={"different_host": first["id"]})
    assert apart["metadata"] == {"__affinity_different_host": first["id"]}
    assert shares.get(f"/shares/{first['id']}/metadata", by=MEMBER)["metadata"] == {}


def test_a_share_is_named_in_as_many_hints_as_its_metadata_holds(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    hints = {"same_host": make(shares)["id"]}
    for _ in range(27):
        make(shares, scheduler_hints=hints)
    refused(attempt(shares, scheduler_hints=hints), 400, "hints of 27 shares")


def test_hints_keep_shares_together_and_apart(shares: Shares) -> None:
    shares.share_type()
    shares.back_end(pools=("one", "two"))
    first = make(shares)
    apart = make(shares, scheduler_hints={"different_host": first["id"]})
    beside = make(shares, scheduler_hints={"same_host": first["id"]})
    hosts = {each["id"]: shares.get(f"/shares/{each['id']}")["share"]["host"] for each in (first, apart, beside)}
    assert hosts[first["id"]] == hosts[beside["id"]] != hosts[apart["id"]]
    assert shares.get(f"/shares/{first['id']}/metadata")["metadata"] == {
        "__affinity_same_host": beside["id"],
        "__affinity_different_host": apart["id"],
    }
    settle(shares, beside["id"])
    shares.delete(f"/shares/{beside['id']}", by=MEMBER)
    kept = shares.get(f"/shares/{first['id']}/metadata")["metadata"]
    assert kept == {"__affinity_different_host": apart["id"]}


def test_only_an_administrator_names_the_host(shares: Shares) -> None:
    shares.share_type()
    shares.back_end(pools=("one", "two"))
    hints = {"only_host": "node@alpha#two"}
    assert make(shares, by=ADMIN, scheduler_hints=hints)["host"] == "node@alpha#two"
    made = make(shares, scheduler_hints={"only_host": "node@alpha#three"})
    assert made["status"] == "creating"


def test_only_its_project_sees_a_share(world: Shares) -> None:
    made = make(world)
    for who in (COLLEAGUE, READER, ADMIN):
        assert world.get(f"/shares/{made['id']}", by=who)["share"]["id"] == made["id"]
    refused(world.call("GET", f"/shares/{made['id']}", by=STRANGER), 404)
    refused(world.call("DELETE", f"/shares/{made['id']}", by=STRANGER), 404)
    assert world.get("/shares", by=STRANGER)["shares"] == []
    assert world.get("/shares?all_tenants=1", by=STRANGER)["shares"] == []
    assert world.get("/shares", by=ADMIN)["shares"] == []
    assert len(world.get("/shares?all_tenants=1", by=ADMIN)["shares"]) == 1


def test_a_public_share_is_seen_by_all_and_changed_by_its_project(world: Shares) -> None:
    made = make(world)
    changed = world.put(f"/shares/{made['id']}", {"share": {"is_public": True}}, by=ADMIN)["share"]
    assert changed["is_public"] is True
    assert world.get(f"/shares/{made['id']}", by=STRANGER)["share"]["is_public"] is True
    assert len(world.get("/shares?is_public=true", by=STRANGER)["shares"]) == 1
    refused(world.call("PUT", f"/shares/{made['id']}", {"share": {"display_name": "x"}}, by=STRANGER), 403)
    refused(world.call("DELETE", f"/shares/{made['id']}", by=STRANGER), 403)
    refused(world.call("PUT", f"/shares/{made['id']}/metadata", {"metadata": {}}, by=STRANGER), 403)


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        ("2.0", {"export_location", "export_locations"}, {"snapshot_support", "share_type_name"}),
        ("2.2", {"snapshot_support"}, {"task_state"}),
        ("2.6", {"share_type_name", "task_state"}, {"access_rules_status"}),
        ("2.9", set(), {"export_location", "export_locations"}),
        ("2.16", {"user_id", "has_replicas", "access_rules_status"}, {"create_share_from_snapshot_support"}),
        ("2.31", {"share_group_id", "revert_to_snapshot_support"}, {"mount_snapshot_support"}),
        ("2.54", {"progress"}, {"is_soft_deleted"}),
        (
            "2.90",
            {"encryption_key_ref", "is_soft_deleted", "source_backup_id"},
            {"snapshot_inherit_share_access_support"},
        ),
        ("2.99", {"snapshot_inherit_share_access_support"}, {"export_location"}),
    ],
)
def test_a_view_has_its_versions_fields(world: Shares, version: str, there: set[str], not_there: set[str]) -> None:
    made = make(world)
    shown = world.get(f"/shares/{made['id']}", version=version, by=MEMBER)["share"]
    assert there <= shown.keys()
    assert not not_there & shown.keys()


def test_a_list_is_filtered_sorted_and_paged(world: Shares) -> None:
    ids = [make(world, name=f"share-{number}", metadata={"n": str(number)})["id"] for number in range(4)]
    settle(world, ids[2])

    def names(query: str) -> list[str]:
        return [each["name"] for each in world.get(f"/shares?{query}", by=MEMBER)["shares"]]

    assert names("sort_key=name&sort_dir=asc") == [f"share-{number}" for number in range(4)]
    assert names("sort_key=name&sort_dir=asc&limit=2&offset=1") == ["share-1", "share-2"]
    assert names("status=available") == ["share-2"]
    assert names("name=share-3") == ["share-3"]
    assert sorted(names("name~=are-")) == [f"share-{number}" for number in range(4)]
    assert names("metadata={'n': '1'}") == ["share-1"]
    assert names("availability_zone=mars") == []
    assert len(names("availability_zone=nova")) == 4
    assert names("limit=0") == []
    page = world.get("/shares/detail?limit=3&with_count=true", by=MEMBER)
    assert page["count"] == 4
    assert len(page["shares"]) == 3
    assert page["shares_links"][0]["rel"] == "next"


@pytest.mark.parametrize("order", ["", "sort_key=name&sort_dir=asc", "sort_key=status", "limit=2&offset=1"])
@pytest.mark.parametrize("whose", ["", "is_public=true", "all_tenants=1", "all_tenants=1&project_id=p2"])
def test_a_list_without_filters_is_what_a_filter_that_lets_all_through_gives(
    world: Shares, order: str, whose: str
) -> None:
    """The statements of lists without filters are made once and kept; all others are made for each call."""
    for number in range(3):
        made = make(world, name=f"share-{number}")
        if number == 1:
            world.put(f"/shares/{made['id']}", {"share": {"is_public": True}}, by=ADMIN)
    for who in (MEMBER, STRANGER, ADMIN):
        for path in ("/shares", "/shares/detail"):
            kept = world.get(f"{path}?{order}&{whose}", by=who)["shares"]
            assert kept == world.get(f"{path}?{order}&{whose}&name~=share-", by=who)["shares"]
    assert len(world.get(f"/shares?{whose}", by=MEMBER)["shares"]) == 3
    assert len(world.get("/shares?is_soft_deleted=true", by=MEMBER)["shares"]) == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("sort_key=colour", 400),
        ("sort_dir=sideways", 400),
        ("limit=-1", 400),
        ("offset=x", 400),
        ("metadata=5", 400),
        ("is_public=maybe", 400),
        ("with_count=maybe", 400),
        ("host=node", 403),
        ("share_server_id=x", 403),
        ("extra_specs={'a': 'b'}", 403),
        ("status=deferred_deleting", 403),
    ],
)
def test_a_list_that_is_refused(world: Shares, query: str, status: int) -> None:
    refused(world.call("GET", f"/shares?{query}", by=MEMBER), status)


def test_a_filter_that_the_version_does_not_know_is_unheeded(world: Shares) -> None:
    make(world, name="one")
    assert world.get("/shares?name~=other", version="2.35", by=MEMBER)["shares"] != []
    assert world.get("/shares?name~=other", version="2.36", by=MEMBER)["shares"] == []


def test_a_deletion_moves_the_share_and_tells_the_back_end(world: Shares) -> None:
    made = make(world)
    refused(world.call("DELETE", f"/shares/{made['id']}", by=MEMBER), 403, "Share status must be one of ('available'")
    settle(world, made["id"])
    world.delete(f"/shares/{made['id']}", by=MEMBER)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "deleting"
    assert [job.kind for job in world.jobs()] == ["create_share", "delete_share"]


def test_a_lock_forbids_deletion(world: Shares) -> None:
    made = make(world)
    settle(world, made["id"])
    lock = {"resource_lock": {"resource_id": made["id"], "resource_type": "share", "resource_action": "delete"}}
    lock_id = world.post("/resource-locks", lock, by=MEMBER)["resource_lock"]["id"]
    for method, path, body in (
        ("DELETE", f"/shares/{made['id']}", None),
        ("POST", f"/shares/{made['id']}/action", {"soft_delete": None}),
        ("POST", f"/shares/{made['id']}/action", {"unmanage": None}),
        ("POST", f"/shares/{made['id']}/action", {"force_delete": None}),
    ):
        refused(world.call(method, path, body), 403, lock_id)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "available"


def test_a_forced_deletion_asks_no_status(world: Shares) -> None:
    made = make(world)
    refused(world.call("POST", f"/shares/{made['id']}/action", {"force_delete": None}, by=MEMBER), 403)
    world.post(f"/shares/{made['id']}/action", {"force_delete": None}, 202)
    assert world.jobs()[-1].argument["force"] is True


def test_the_recycle_bin(world: Shares) -> None:
    made = make(world)
    settle(world, made["id"])
    action = f"/shares/{made['id']}/action"
    world.post(action, {"restore": None}, 200, by=MEMBER)
    world.post(action, {"soft_delete": None}, 202, by=MEMBER)
    refused(world.call("POST", action, {"soft_delete": None}, by=MEMBER), 403, "soft deleted already")
    assert world.get("/shares", by=MEMBER)["shares"] == []
    assert len(world.get("/shares?is_soft_deleted=true", by=MEMBER)["shares"]) == 1
    for body, status in (
        ({"extend": {"new_size": 2}}, 403),
        ({"shrink": {"new_size": 1}}, 403),
        ({"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}, 403),
        ({"reset_status": {"status": "error"}}, 403),
        ({"unmanage": None}, 403),
    ):
        refused(world.call("POST", action, body), status, "soft deleted")
    refused(world.call("PUT", f"/shares/{made['id']}", {"share": {"display_name": "x"}}), 403, "soft deleted")
    world.post(action, {"restore": None}, 202, by=MEMBER)
    assert len(world.get("/shares", by=MEMBER)["shares"]) == 1


def test_extending_takes_quota_and_room(world: Shares) -> None:
    made = make(world)
    settle(world, made["id"])
    action = f"/shares/{made['id']}/action"
    for size, words in ((1, "must be greater"), (0, "must be greater"), ("x", "integer"), (-1, "integer")):
        refused(world.call("POST", action, {"extend": {"new_size": size}}, by=MEMBER), 400, words)
    world.post(action, {"extend": {"new_size": "3"}}, 202, by=MEMBER)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "extending"
    assert world.jobs()[-1].argument["size"] == 3
    assert in_use(world) == (1, 3)
    assert pool_of(world).promised_gib == 3
    refused(world.call("POST", action, {"extend": {"new_size": 4}}, by=MEMBER), 400, "must be 'available' to extend")
    settle(world, made["id"])
    refused(world.call("POST", action, {"extend": {"new_size": 5, "force": True}}, by=MEMBER), 403)
    world.conf.set_override("gigabytes", 10, "shares_quota")
    refused(world.call("POST", action, {"extend": {"new_size": 50}}, by=MEMBER), 403, "gigabytes quota")


def test_a_full_pool_leaves_the_share_as_it_was_unless_forced(world: Shares) -> None:
    made = make(world)
    settle(world, made["id"])
    action = f"/shares/{made['id']}/action"
    world.post(action, {"extend": {"new_size": 500}}, 202, by=MEMBER)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "available"
    assert in_use(world) == (1, 1)
    with world.database.transaction() as session:
        assert session.scalars(select(MessageRow)).one().action_id == Action.EXTEND
    world.post(action, {"extend": {"new_size": 500, "force": True}}, 202)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "extending"


def test_shrinking(world: Shares) -> None:
    made = make(world, size=5)
    settle(world, made["id"])
    action = f"/shares/{made['id']}/action"
    for size in (5, 6, 0):
        refused(world.call("POST", action, {"shrink": {"new_size": size}}, by=MEMBER), 400, "less than current size")
    world.post(action, {"shrink": {"new_size": 2}}, 202, by=MEMBER)
    assert world.jobs()[-1].argument["size"] == 2
    assert in_use(world) == (1, 5)


def test_the_status_is_an_administrators_to_set(world: Shares) -> None:
    made = make(world)
    action = f"/shares/{made['id']}/action"
    refused(world.call("POST", action, {"reset_status": {"status": "error"}}, by=MEMBER), 403)
    refused(world.call("POST", action, {"reset_status": {"status": "odd"}}), 400)
    world.post(action, {"reset_status": {"status": "error"}}, 202)
    world.post(action, {"os-reset_status": {"status": "available"}}, 202, version="2.6")
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "available"
    world.post(action, {"reset_task_state": {"task_state": "migration_success"}}, 202)
    refused(world.call("POST", action, {"reset_task_state": {"task_state": "odd"}}), 400)
    progress = world.post(action, {"migration_get_progress": None}, version="2.97")
    assert progress == {"total_progress": 100, "task_state": "migration_success", "details": {}}
    assert world.get(f"/shares/{made['id']}/migration-progress") == progress


def test_an_export_stays_preferred_as_an_administrator_said(world: Shares) -> None:
    share = make(world)["id"]
    told = [ExportLocation("one:/", preferred=True), ExportLocation("two:/"), ExportLocation("three:/")]
    path = f"/shares/{share}/export_locations"

    def tell(*exports: ExportLocation) -> dict[str, bool]:
        with world.database.transaction() as session:
            instance = session.scalars(select(InstanceRow.id).where(InstanceRow.share_id == share)).one()
            results.keep_exports(session, instance, exports, utc_now())
        return {each["path"]: each["preferred"] for each in world.get(path)["export_locations"]}

    assert tell(*told) == {"one:/": True, "two:/": False, "three:/": False}
    ids = {each["path"]: each["id"] for each in world.get(path)["export_locations"]}
    for name, preferred in (("one:/", "false"), ("two:/", "true")):
        world.put(f"{path}/{ids[name]}/metadata", {"metadata": {"preferred": preferred}})
    told[2] = ExportLocation("three:/", preferred=True)
    assert tell(*told) == {"one:/": False, "two:/": True, "three:/": True}


def test_a_migration_that_no_back_end_can_do_ends_in_error(world: Shares) -> None:
    made = make(world)
    settle(world, made["id"])
    flags = dict.fromkeys(("preserve_metadata", "writable", "nondisruptive", "preserve_snapshots"), False)
    world.back_end("node@beta")
    action = f"/shares/{made['id']}/action"
    world.post(action, {"migration_start": {"host": POOL, **flags}}, 200)
    world.post(action, {"migration_start": {"host": "node@beta#pool", **flags}}, 202)
    assert world.get(f"/shares/{made['id']}")["share"]["task_state"] == "migration_error"
    refused(world.call("POST", action, {"migration_start": {"host": "nobody@x#y", **flags}}), 404)
    refused(world.call("POST", action, {"migration_cancel": None}), 400, "no migration being performed")
    refused(world.call("POST", action, {"migration_complete": None}), 400, "no migration being performed")
    refused(world.call("POST", action, {"migration_cancel": None}, version="2.95"), 404)
    refused(world.call("POST", action, {"dance": None}), 400, "no such action")


def test_a_share_is_taken_under_management_and_given_up(world: Shares) -> None:
    body = {"export_path": "node:/old", "service_host": POOL, "protocol": "nfs", "driver_options": {"a": "b"}}
    refused(world.call("POST", "/shares/manage", {"share": body}, by=MEMBER), 403)
    made = world.post("/shares/manage", {"share": body})["share"]
    assert (made["status"], made["size"], made["share_proto"]) == ("manage_starting", 0, "NFS")
    assert world.jobs()[-1].argument["driver_options"] == {"a": "b"}
    refused(world.call("POST", "/shares/manage", {"share": body}), 409, "already exists")
    exports = world.get(f"/shares/{made['id']}/export_locations")["export_locations"]
    assert [each["path"] for each in exports] == ["node:/old"]
    action = f"/shares/{made['id']}/action"
    refused(world.call("POST", action, {"unmanage": None}), 403, "transitional state")
    settle(world, made["id"])
    world.post(action, {"unmanage": None}, 202)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "unmanage_starting"
    assert world.jobs()[-1].kind == "unmanage_share"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"export_path": None}, 422),
        ({"protocol": ""}, 422),
        ({"export_path": {"no": "path"}}, 422),
        ({"service_host": "node@alpha"}, 400),
        ({"service_host": "node@nobody#pool"}, 404),
        ({"share_type": "no-such"}, 404),
        ({"share_server_id": "x"}, 400),
    ],
)
def test_what_cannot_be_managed(world: Shares, change: dict[str, Any], status: int) -> None:
    body = {"export_path": "node:/old", "service_host": POOL, "protocol": "NFS", **change}
    refused(world.call("POST", "/shares/manage", {"share": body}), status)


def test_a_type_that_the_pool_does_not_fit_is_a_manage_error(world: Shares) -> None:
    world.share_type("odd", colour="red")
    body = {"export_path": "node:/old", "service_host": POOL, "protocol": "NFS", "share_type": "odd"}
    made = world.post("/shares/manage", {"share": body})["share"]
    assert made["status"] == "manage_error"
    world.post(f"/shares/{made['id']}/action", {"unmanage": None}, 202)
    assert world.get(f"/shares/{made['id']}")["share"]["status"] == "manage_error_unmanage_starting"


def test_metadata_of_administrators_is_theirs(world: Shares) -> None:
    made = make(world, metadata={"a": "b"})
    path = f"/shares/{made['id']}/metadata"
    assert world.post(path, {"metadata": {"c": "d"}}, by=MEMBER)["metadata"] == {"a": "b", "c": "d"}
    refused(world.call("POST", path, {"metadata": {"__affinity_same_host": "x"}}, by=MEMBER), 403)
    refused(world.call("POST", path, {"metadata": {"x": "y"}}, by=READER), 403)
    refused(world.call("GET", path, by=STRANGER), 404)
    assert json.loads(world.call("PUT", path, {"metadata": {"e": "f"}}, by=MEMBER).text) == {"metadata": {"e": "f"}}


def test_instances_are_for_administrators(world: Shares) -> None:
    made = make(world)
    refused(world.call("GET", "/share_instances", by=MEMBER), 403)
    (instance,) = world.get("/share_instances")["share_instances"]
    assert instance == world.get(f"/shares/{made['id']}/instances")["share_instances"][0]
    assert world.get(f"/share_instances/{instance['id']}")["share_instance"]["host"] == POOL
    assert "export_locations" in world.get(f"/share_instances/{instance['id']}", version="2.8")["share_instance"]
    refused(world.call("GET", "/share_instances/no-such"), 404)
    world.post(f"/share_instances/{instance['id']}/action", {"reset_status": {"status": "error"}}, 202)
    assert world.get("/share_instances?status=error")["share_instances"] != []
    world.post(f"/share_instances/{instance['id']}/action", {"force_delete": None}, 202)
    assert world.jobs()[-1].kind == "delete_share"


def test_replicas_and_backups_are_not_made(world: Shares) -> None:
    made = make(world)
    settle(world, made["id"])
    assert world.get("/share-replicas")["share_replicas"] == []
    refused(world.call("POST", "/share-replicas", {"share_replica": {"share_id": made["id"]}}), 400, "not supported")
    refused(world.call("POST", "/share-replicas", {"share_replica": {"share_id": "x"}}), 404)
    refused(world.call("GET", "/share-replicas", version="2.55"), 404)
    assert world.get("/share-backups", experimental=True)["share_backups"] == []
    backup = {"share_backup": {"share_id": made["id"]}}
    refused(world.call("POST", "/share-backups", backup, experimental=True), 400, "makes no backups")
    refused(world.call("GET", "/share-backups"), 404)


def test_a_key_counts_once_however_many_shares_it_encrypts(shares: Shares) -> None:
    shares.back_end()
    shares.share_type("sealed", driver_handles_share_servers="True", encryption_support="share")
    with shares.database.transaction() as session:
        session.add(NetworkRow(id="net", project_id="p1", user_id="ann", status="active", created_at=utc_now()))
    key = "6f1c7e0c-0d0e-4c07-8c1d-2ed19b0c1f0e"
    asked: dict[str, Any] = {"share_type": "sealed", "share_network_id": "net"}
    refused(attempt(shares, **asked, encryption_key_ref="odd"), 400, "not valid UUID")
    made = [make(shares, **asked, encryption_key_ref=key) for _ in range(2)]

    def keys() -> int:
        with shares.database.transaction() as session:
            return session.scalars(select(UsageRow).where(UsageRow.user_id == "ann")).one().encryption_keys

    assert keys() == 1
    shares.delete(f"/shares/{made[0]['id']}", by=MEMBER)
    assert keys() == 1
    shares.delete(f"/shares/{made[1]['id']}", by=MEMBER)
    assert keys() == 0
