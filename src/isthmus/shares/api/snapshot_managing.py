"""Taking a snapshot that exists at its back end under management, and giving one up (2.12)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.metadata import checked
from isthmus.shares.api.share_lookup import held_share, refuse_replicated, refuse_soft_deleted, visible_share
from isthmus.shares.api.snapshot_reading import METADATA_SINCE, find, shown
from isthmus.shares.api.texts import text_of
from isthmus.shares.api.views import Row
from isthmus.shares.model import TRANSITIONAL, Kind, Status
from isthmus.shares.store import jobs, locks, metadata, snapshots
from isthmus.shares.store.moving import move
from isthmus.shares.store.snapshots import NewSnapshot
from isthmus.shares.tables import SnapshotInstanceRow

UNMANAGEABLE = (Status.AVAILABLE, Status.ERROR, Status.ERROR_DELETING, Status.MANAGE_ERROR, Status.UNMANAGE_ERROR)
_REFUSED = "Can not manage snapshot for share"


def manage(call: Call) -> Answer:
    """Take a snapshot under management; whether it is there is seen by the back end."""
    call.allow("share_snapshot:manage_snapshot")
    data = call.body().get("snapshot")
    if not isinstance(data, dict):
        raise Unprocessable("Snapshot entity not found in request body.")
    share_id, location = _needed(data, "share_id"), _needed(data, "provider_location")
    options = data.get("driver_options") or {}
    if not isinstance(options, dict):
        raise InvalidInput("Parameter driver_options must be an object.")
    items = checked(data.get("metadata") or None) if call.version >= METADATA_SINCE else {}
    share = visible_share(call, share_id)
    refuse_soft_deleted(share, _REFUSED)
    identity = _adopt(call, share, data, location, options)
    metadata.write(call.session, identity, items)
    return Answer(202, shown(call, identity))


def _needed(data: Mapping[str, Any], name: str) -> str:
    if name not in data:
        raise Unprocessable(f"Required parameter {name} not found.")
    value = data[name]
    if not value:
        raise Unprocessable(f"Required parameter {name} is empty.")
    if not isinstance(value, str):
        raise Unprocessable(f"Parameter {name} must be a string.")
    return value


def _adopt(call: Call, share: Row, data: Mapping[str, Any], location: str, options: Mapping[str, Any]) -> str:
    if share["host"] is None or not locks.hold_share(call.session, share["id"], but=locks.GOING_SHARES):
        raise Conflict(f"Invalid share: share {share['id']} is {share['status']}; it can get no snapshot.")
    share = held_share(call, share, _REFUSED)
    refuse_replicated(
        call,
        share,
        f"Invalid share: Share {share['id']} has replicas. Snapshots of this share cannot currently be managed until "
        "all replicas are removed..",
    )
    managed = call.session.scalar(
        select(SnapshotInstanceRow.snapshot_id)
        .where(SnapshotInstanceRow.share_id == share["id"])
        .where(SnapshotInstanceRow.provider_location == location)
        .limit(1)
    )
    if managed is not None:
        raise Conflict(
            "Manage existing share snapshot failed due to invalid share snapshot: A share snapshot "
            f"{managed} is already managed for provider location {location}."
        )
    new = NewSnapshot(
        user_id=call.caller.user_id,
        project_id=call.project_id,
        name=text_of(data, "display_name", "name"),
        description=text_of(data, "display_description", "description"),
        size=0,
        status=Status.MANAGE_STARTING,
        provider_location=location,
    )
    identity, instance_id = snapshots.make(call.session, share, new, call.now)
    argument = {"snapshot_instance_id": instance_id, "driver_options": options}
    _enqueue(call, Kind.MANAGE_SNAPSHOT, share, argument)
    return identity


def unmanage(call: Call, snapshot_id: str, argument: Any) -> Answer:
    """Forget a snapshot and leave it at its back end."""
    del argument
    call.allow("share_snapshot:unmanage_snapshot")
    row = find(call, snapshot_id)
    identity, status = row["snapshot_instance_id"], row["status"]
    share = visible_share(call, row["share_id"])
    refuse_replicated(
        call,
        share,
        f"Share {share['id']} has replicas. Snapshots of this share cannot currently be unmanaged until all replicas "
        "are removed.",
    )
    if status in TRANSITIONAL or not move(
        call.session, SnapshotInstanceRow, identity, of=UNMANAGEABLE, to=Status.UNMANAGE_STARTING, now=call.now
    ):
        raise NotAllowed(
            f"Snapshot with transitional state cannot be unmanaged. Snapshot '{snapshot_id}' is in '{status}' state."
        )
    _enqueue(call, Kind.UNMANAGE_SNAPSHOT, share, {"snapshot_instance_id": identity})
    return Answer(202)


def _enqueue(call: Call, kind: Kind, share: Row, argument: Mapping[str, Any]) -> None:
    jobs.enqueue(
        call.session,
        host=share["host"] or "",
        kind=kind,
        subject=share["id"],
        argument=argument,
        now=call.now,
        project_id=call.project_id,
        request_id=call.request_id,
    )
