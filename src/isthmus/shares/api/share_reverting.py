"""Reverting a share to its newest snapshot."""

from collections.abc import Mapping
from typing import Any

from oslo_utils.uuidutils import is_uuid_like
from sqlalchemy import and_, select

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.quota_faults import take_growth
from isthmus.shares.api.share_lookup import BUSY, held_share, refuse_soft_deleted, visible_share
from isthmus.shares.model import Kind, RulesStatus, Status
from isthmus.shares.store import jobs, placing, replicas
from isthmus.shares.store.moving import move
from isthmus.shares.store.shares import Row
from isthmus.shares.store.usage import Owner
from isthmus.shares.tables import InstanceRow, SnapshotInstanceRow, SnapshotRow


def revert(call: Call, share_id: str, argument: Any) -> Answer:
    """Put a share's bytes and size back to its newest snapshot."""
    call.allow("share:revert_to_snapshot")
    snapshot_id = argument.get("snapshot_id") if isinstance(argument, dict) else None
    if not isinstance(snapshot_id, str) or not is_uuid_like(snapshot_id):
        raise InvalidInput("Invalid input for field/attribute snapshot_id: it must be a snapshot's UUID.")
    share = visible_share(call, share_id)
    snapshot = _snapshot(call, snapshot_id)
    refuse_soft_deleted(share, "Cannot revert share")
    if not share["revert_to_snapshot_support"]:
        raise InvalidInput(
            f"Share {share_id} may not be reverted to snapshot {snapshot_id}, because the share does not have that "
            "capability."
        )
    if snapshot["share_id"] != share_id:
        raise InvalidInput(f"Snapshot {snapshot_id} is not associated with share {share_id}.")
    _move(call, share, snapshot)
    share = held_share(call, share, "Cannot revert share")
    if share["task_state"] in BUSY:
        raise Conflict(f"Share {share_id} may not be reverted while it has an active task.")
    _refuse_older(call, share_id, snapshot_id)
    if share["access_rules_status"] != RulesStatus.ACTIVE:
        raise Conflict(
            f"Snapshot {snapshot_id} belongs to a share {share_id} which has access rules that are not active."
        )
    grown = max(0, snapshot["size"] - share["size"])
    _count_growth(call, share, grown)
    jobs.enqueue(
        call.session,
        host=share["host"],
        kind=Kind.REVERT_SHARE,
        subject=share_id,
        argument={
            "instance_id": share["instance_id"],
            "snapshot_instance_id": snapshot["instance_id"],
            "grown": grown,
        },
        project_id=share["project_id"],
        request_id=call.request_id,
        now=call.now,
    )
    return Answer(202)


def _snapshot(call: Call, snapshot_id: str) -> Mapping[str, Any]:
    row = (
        call.session.execute(
            select(
                SnapshotRow.share_id,
                SnapshotRow.project_id,
                SnapshotRow.size,
                SnapshotInstanceRow.id.label("instance_id"),
                SnapshotInstanceRow.status,
            )
            .join(SnapshotInstanceRow, SnapshotInstanceRow.snapshot_id == SnapshotRow.id)
            .join(InstanceRow, and_(InstanceRow.id == SnapshotInstanceRow.instance_id, InstanceRow.is_primary))
            .where(SnapshotRow.id == snapshot_id)
        )
        .mappings()
        .first()
    )
    if row is None or not call.may("share_snapshot:get_snapshot", {"project_id": row["project_id"]}):
        # Manila answers 400 here: the path's object is the share.
        raise InvalidInput(f"Snapshot {snapshot_id} could not be found.")
    return dict(row)


def _move(call: Call, share: Row, snapshot: Mapping[str, Any]) -> None:
    if not move(
        call.session,
        InstanceRow,
        share["instance_id"],
        of=[Status.AVAILABLE],
        to=Status.REVERTING,
        now=call.now,
    ):
        raise Conflict(
            f"Share {share['id']} is in '{share['status']}' state, but it must be in 'available' state to be reverted "
            "to a snapshot."
        )
    if not move(
        call.session,
        SnapshotInstanceRow,
        snapshot["instance_id"],
        of=[Status.AVAILABLE],
        to=Status.RESTORING,
        now=call.now,
    ):
        raise Conflict(
            f"Snapshot of share {share['id']} is in '{snapshot['status']}' state, but it must be in 'available' state "
            "to be restored."
        )


def _refuse_older(call: Call, share_id: str, snapshot_id: str) -> None:
    latest = call.session.scalar(
        select(SnapshotRow.id)
        .where(SnapshotRow.share_id == share_id)
        .order_by(SnapshotRow.created_at.desc(), SnapshotRow.id.desc())
        .limit(1)
    )
    if latest != snapshot_id:
        raise Conflict(
            f"Snapshot {snapshot_id} may not be restored because it is not the most recent snapshot of share "
            f"{share_id}. Currently the latest snapshot is {latest}."
        )


def _count_growth(call: Call, share: Row, grown: int) -> None:
    if grown > 0:
        every = replicas.instances_of(call.session, share["id"]) if share["replication_type"] else []
        owner = Owner(share["project_id"], share["user_id"], share["share_type_id"])
        take_growth(call, owner, grown, len(every))
        for host in [each["host"] for each in every if each["host"]] or [share["host"]]:
            placing.take_room(call.session, host, grown)
