from typing import Any

import pytest
from sqlalchemy import update
from tests.functional.shares.api.parts import MEMBER, POOL, STRANGER, Shares, refused

from isthmus.shares.model import RulesStatus, Status
from isthmus.shares.tables import InstanceRow, ShareRow, SnapshotInstanceRow

FEATURES: dict[str, Any] = {"create_share_from_snapshot_support": True, "revert_to_snapshot_support": True}
SPECS: dict[str, Any] = dict.fromkeys(FEATURES, "True")


@pytest.fixture
def world(shares: Shares) -> Shares:
    """Return the API with a pool whose shares can be made from snapshots and put back to them."""
    shares.share_type(**SPECS)
    shares.back_end(**FEATURES)
    return shares


def settle(shares: Shares) -> None:
    """Do as a share manager does when it is done with everything."""
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).values(status=Status.AVAILABLE, access_rules_status=RulesStatus.ACTIVE))
        session.execute(update(SnapshotInstanceRow).values(status=Status.AVAILABLE))


def share(shares: Shares, **body: Any) -> dict[str, Any]:
    made: dict[str, Any] = shares.post("/shares", {"share": {"size": 2, "share_proto": "NFS", **body}}, by=MEMBER)[
        "share"
    ]
    return made


def snapshot(shares: Shares, share_id: str) -> str:
    made: str = shares.post("/snapshots", {"snapshot": {"share_id": share_id}}, 202, by=MEMBER)["snapshot"]["id"]
    return made


@pytest.fixture
def source(world: Shares) -> tuple[str, str]:
    """Return the ids of an available share of 2 GiB and an available snapshot of it."""
    share_id = share(world)["id"]
    settle(world)
    snapshot_id = snapshot(world, share_id)
    settle(world)
    return share_id, snapshot_id


def test_a_share_from_a_snapshot_lies_with_it(world: Shares, source: tuple[str, str]) -> None:
    made = share(world, snapshot_id=source[1], size=3)
    assert (made["snapshot_id"], made["size"], made["status"]) == (source[1], 3, "creating")
    assert world.get(f"/shares/{made['id']}")["share"]["host"] == POOL
    job = world.jobs()[-1]
    assert (job.kind, job.argument["bound"]) == ("create_share", True)


def test_its_size_is_the_snapshots_if_none_is_asked_for(world: Shares, source: tuple[str, str]) -> None:
    assert share(world, snapshot_id=source[1], size=None)["size"] == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"size": 1}, "equal or greater than snapshot size"),
        ({"share_type": "other"}, "must match the type of the source share"),
        ({"availability_zone": "west"}, "must be the same as the parent share"),
        ({"share_network_id": "x"}, "should be the same as snapshot's parent share's or empty"),
    ],
)
def test_what_cannot_be_made_from_a_snapshot(
    world: Shares, source: tuple[str, str], body: dict[str, Any], words: str
) -> None:
    world.share_type("other", **SPECS)
    world.back_end("node@west", zone="west", **FEATURES)
    asked = {"size": 2, "share_proto": "NFS", "snapshot_id": source[1], **body}
    refused(world.call("POST", "/shares", {"share": asked}, by=MEMBER), 400, words)


def test_a_snapshot_that_is_not_available_or_anothers_gives_no_share(world: Shares, source: tuple[str, str]) -> None:
    asked = {"share": {"size": 2, "share_proto": "NFS", "snapshot_id": source[1]}}
    refused(world.call("POST", "/shares", asked, by=STRANGER), 404, "could not be found")
    with world.database.transaction() as session:
        session.execute(update(SnapshotInstanceRow).values(status=Status.ERROR))
    refused(world.call("POST", "/shares", asked, by=MEMBER), 400, "status must be 'available'")


def test_a_share_without_the_feature_gives_none_from_2_24_on(world: Shares, source: tuple[str, str]) -> None:
    with world.database.transaction() as session:
        session.execute(update(ShareRow).values(create_share_from_snapshot_support=False))
    asked = {"share": {"size": 2, "share_proto": "NFS", "snapshot_id": source[1]}}
    refused(world.call("POST", "/shares", asked, by=MEMBER), 400, "does not have that capability")
    assert world.call("POST", "/shares", asked, by=MEMBER, version="2.23").status_code == 200


def test_a_snapshot_forbids_its_shares_deletion(world: Shares, source: tuple[str, str]) -> None:
    refused(world.call("DELETE", f"/shares/{source[0]}", by=MEMBER), 403, "still has 1 dependent snapshots")
    for action in ("soft_delete", "force_delete", "unmanage"):
        refused(world.call("POST", f"/shares/{source[0]}/action", {action: None}), 403, "dependent snapshot")
    assert world.get(f"/shares/{source[0]}")["share"]["status"] == "available"


def test_a_share_is_put_back_to_its_newest_snapshot(world: Shares, source: tuple[str, str]) -> None:
    share_id, snapshot_id = source
    world.post(f"/shares/{share_id}/action", {"revert": {"snapshot_id": snapshot_id}}, 202, by=MEMBER)
    assert world.get(f"/shares/{share_id}")["share"]["status"] == "reverting"
    assert world.get(f"/snapshots/{snapshot_id}")["snapshot"]["status"] == "restoring"
    job = world.jobs()[-1]
    assert job.kind == "revert_share"
    assert job.argument.keys() == {"instance_id", "snapshot_instance_id", "grown"}
    assert job.argument["grown"] == 0


def test_what_forbids_a_revert(world: Shares, source: tuple[str, str]) -> None:
    share_id, snapshot_id = source

    def attempt(snapshot: str = snapshot_id, **options: Any) -> Any:
        body = {"revert": {"snapshot_id": snapshot}}
        return world.call("POST", f"/shares/{share_id}/action", body, **{"by": MEMBER, **options})

    refused(attempt("nonsense"), 400, "snapshot_id")
    refused(attempt("6f1c7e0c-0d0e-4c07-8c1d-2ed19b0c1f0e"), 400, "could not be found")
    refused(attempt(by=STRANGER), 404)
    refused(attempt(version="2.26"), 404)
    world.post(f"/shares/{share_id}/action", {"reset_status": {"status": "error"}}, 202)
    refused(attempt(), 409, "must be in 'available' state to be reverted")
    settle(world)
    world.post(f"/snapshots/{snapshot_id}/action", {"reset_status": {"status": "error"}}, 202)
    refused(attempt(), 409, "must be in 'available' state to be restored")
    settle(world)
    with world.database.transaction() as session:
        session.execute(update(InstanceRow).values(access_rules_status=RulesStatus.SYNCING))
    refused(attempt(), 409, "access rules that are not active")
    settle(world)
    newer = snapshot(world, share_id)
    settle(world)
    refused(attempt(), 409, f"the latest snapshot is {newer}")
    assert attempt(newer).status_code == 202


def test_a_snapshot_of_another_share_and_a_share_without_the_feature(world: Shares, source: tuple[str, str]) -> None:
    other = share(world)["id"]
    settle(world)
    body = {"revert": {"snapshot_id": source[1]}}
    refused(world.call("POST", f"/shares/{other}/action", body, by=MEMBER), 400, "is not associated with share")
    with world.database.transaction() as session:
        session.execute(update(ShareRow).values(revert_to_snapshot_support=False))
    refused(world.call("POST", f"/shares/{source[0]}/action", body, by=MEMBER), 400, "does not have that capability")
