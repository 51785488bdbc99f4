"""Snapshots: create, show, change, delete, and what administrators may do with them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.shares.api import snapshot_access, snapshot_lists, snapshot_managing
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.metadata import Carrier, Touch, checked, metadata_routes
from isthmus.shares.api.quota_faults import take_quota
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, Route, choose_action, renamed
from isthmus.shares.api.share_lookup import held_share, refuse_busy, refuse_soft_deleted, visible_share
from isthmus.shares.api.snapshot_reading import METADATA_SINCE, find, shown
from isthmus.shares.api.texts import changed_texts, text_of
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import jobs, metadata, replicas, snapshots, usage
from isthmus.shares.store.moving import force, hold, move
from isthmus.shares.store.snapshots import NewSnapshot
from isthmus.shares.tables import InstanceRow, SnapshotInstanceRow, SnapshotRow

S = Status
RESETTABLE = (
    *(S.AVAILABLE, S.ERROR, S.ERROR_DELETING, S.DELETING, S.CREATING, S.MANAGE_STARTING, S.UNMANAGE_STARTING),
    *(S.UNMANAGE_ERROR, S.MANAGE_ERROR, S.MIGRATING, S.MIGRATING_TO, S.RESTORING),
)
"""Statuses that an administrator may set. Source: Manila's API reference, "Reset share snapshot status"."""


def show(call: Call, snapshot_id: str) -> dict[str, Any]:
    """Show one snapshot."""
    return shown(call, snapshot_id)


def create(call: Call) -> Answer:
    """Take a snapshot of a share."""
    data = call.body().get("snapshot")
    if not isinstance(data, dict):
        raise Unprocessable("The body must have the object 'snapshot'.")
    share = visible_share(call, _share_id(data))
    if not share["snapshot_support"]:
        raise Unprocessable(
            f"Snapshots cannot be created for share '{share['id']}' since it does not have that capability."
        )
    refuse_soft_deleted(share, "Snapshots cannot be created for share")
    name = text_of(data, "name", "display_name")
    description = text_of(data, "description", "display_description")
    items = checked(data.get("metadata")) if call.version >= METADATA_SINCE else {}
    call.allow("share:create_snapshot", {"project_id": share["project_id"]})
    identity = _take(call, share, name, description)
    metadata.write(call.session, identity, items)
    return Answer(202, shown(call, identity))


def _share_id(data: Mapping[str, Any]) -> str:
    share_id = data.get("share_id")
    if not isinstance(share_id, str) or not share_id:
        raise InvalidInput("Must supply 'share_id' attribute.")
    return share_id


def _take(call: Call, share: Row, name: str | None, description: str | None) -> str:
    if share["host"] is None or not hold(call.session, InstanceRow, share["instance_id"], of=[Status.AVAILABLE]):
        raise InvalidInput("Invalid share: Source share status must be available.")
    share = held_share(call, share, "Snapshots cannot be created for share")
    refuse_busy(share)
    _count(call, share)
    new = NewSnapshot(call.caller.user_id, call.project_id, name, description, share["size"], Status.CREATING)
    identity, instance_id = snapshots.make(call.session, share, new, call.now)
    others = replicas.instances_of(call.session, share["id"]) if share["replication_type"] else []
    if len(others) > 1:
        beside = [each["id"] for each in others if each["id"] != share["instance_id"]]
        replicas.give_snapshot(call.session, identity, beside, call.now)
        _enqueue(call, Kind.CREATE_REPLICATED_SNAPSHOT, share["host"], share["id"], {"snapshot_id": identity})
    else:
        _enqueue(call, Kind.CREATE_SNAPSHOT, share["host"], share["id"], {"snapshot_instance_id": instance_id})
    return identity


def _count(call: Call, share: Row) -> None:
    owner = usage.Owner(call.project_id, call.caller.user_id, share["share_type_id"])
    take_quota(call, owner, {"snapshots": 1, "snapshot_gigabytes": share["size"]})


def change(call: Call, snapshot_id: str) -> dict[str, Any]:
    """Change a snapshot's name and description."""
    call.allow("share:snapshot_update")
    data = call.body().get("snapshot")
    if not isinstance(data, dict):
        raise Unprocessable("The body must have the object 'snapshot'.")
    values = changed_texts(data, {"display_name": "name", "display_description": "description"})
    find(call, snapshot_id)
    call.session.execute(update(SnapshotRow).where(SnapshotRow.id == snapshot_id).values(updated_at=call.now, **values))
    return shown(call, snapshot_id)


def remove(call: Call, snapshot_id: str) -> Answer:
    """Delete a snapshot."""
    call.allow("share:delete_snapshot")
    row = find(call, snapshot_id)
    deletable = (Status.AVAILABLE, Status.ERROR)
    identity = row["snapshot_instance_id"]
    if not move(call.session, SnapshotInstanceRow, identity, of=deletable, to=Status.DELETING, now=call.now):
        raise InvalidInput(
            "Invalid share snapshot: Share Snapshot status must be one of "
            f"{tuple(str(status) for status in deletable)}."
        )
    made_from_it = snapshots.share_in_the_making(call.session, snapshot_id)
    if made_from_it is not None:
        raise Conflict(f"Share {made_from_it} is just being made from snapshot {snapshot_id}; wait until it is.")
    _enqueue_deletion(call, row, {})
    return Answer(202)


def force_delete(call: Call, snapshot_id: str, argument: Any) -> Answer:
    """Delete a snapshot whatever its status, and whatever its back end says."""
    del argument
    call.allow("share_snapshot:force_delete")
    row = find(call, snapshot_id)
    identity = row["snapshot_instance_id"]
    force(call.session, SnapshotInstanceRow, identity, to=Status.DELETING, now=call.now)
    _enqueue_deletion(call, row, {"force": True})
    return Answer(202)


def _enqueue_deletion(call: Call, row: Row, argument: Mapping[str, Any]) -> None:
    """Have a snapshot deleted that has just been moved, with all its instances."""
    share = visible_share(call, row["share_id"])
    if row["replica_state"] is None or not replicas.is_replicated(call.session, share["id"]):
        own = {"snapshot_instance_id": row["snapshot_instance_id"]}
        _enqueue(call, Kind.DELETE_SNAPSHOT, share["host"] or "", share["id"], {**own, **argument})
        return
    for instance_id, _ in snapshots.places_of(call.session, row["id"]):
        force(call.session, SnapshotInstanceRow, instance_id, to=Status.DELETING, now=call.now)
    _enqueue(
        call, Kind.DELETE_REPLICATED_SNAPSHOT, share["host"] or "", share["id"], {"snapshot_id": row["id"], **argument}
    )


def _enqueue(call: Call, kind: Kind, host: str, share_id: str, argument: Mapping[str, Any]) -> None:
    jobs.enqueue(
        call.session,
        host=host,
        kind=kind,
        subject=share_id,
        argument=argument,
        now=call.now,
        project_id=call.project_id,
        request_id=call.request_id,
    )


def reset_status(call: Call, snapshot_id: str, argument: Any) -> Answer:
    """Set a snapshot's status as an administrator says."""
    call.allow("share_snapshot:reset_status")
    status = asked_status(argument, RESETTABLE)
    row = find(call, snapshot_id)
    force(call.session, SnapshotInstanceRow, row["snapshot_instance_id"], to=status, now=call.now)
    return Answer(202)


_METADATA_RULES = {
    Touch.READ: "share_snapshot:get_metadata",
    Touch.CHANGE: "share_snapshot:update_metadata",
    Touch.REMOVE: "share_snapshot:delete_metadata",
}


def _carrier(call: Call, variables: Mapping[str, str], touch: Touch) -> str:
    call.allow(_METADATA_RULES[touch])
    return str(find(call, variables["snapshot_id"])["id"])


_ACTIONS = (
    *renamed("reset_status", reset_status),
    *renamed("force_delete", force_delete),
    Action("unmanage", snapshot_managing.unmanage, since=since(12)),
    Action("allow_access", snapshot_access.allow, since=since(32)),
    Action("deny_access", snapshot_access.deny, since=since(32)),
)

ROUTES = (
    Route("GET", "/snapshots", snapshot_lists.index),
    Route("GET", "/snapshots/detail", snapshot_lists.detail),
    Route("POST", "/snapshots", create),
    Route("POST", "/snapshots/manage", snapshot_managing.manage, since=since(12)),
    Route("GET", "/snapshots/{snapshot_id}", show),
    Route("PUT", "/snapshots/{snapshot_id}", change),
    Route("DELETE", "/snapshots/{snapshot_id}", remove),
    Route("POST", "/snapshots/{snapshot_id}/action", choose_action(_ACTIONS)),
    Route("GET", "/snapshots/{snapshot_id}/access-list", snapshot_access.access_list, since=since(32)),
    *metadata_routes("/snapshots/{snapshot_id}/metadata", Carrier(find=_carrier), since=METADATA_SINCE),
)
