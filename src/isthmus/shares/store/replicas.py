"""Replicas: instances of a share of a replicated type. One is `active`; one, as a rule that one, stands for the share.

Every replica counts against the quotas `share_replicas` and `replica_gigabytes`, the first one too, as in Manila.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from isthmus.shares.model import ReplicaState, RulesStatus, RuleState, Status
from isthmus.shares.store import metadata
from isthmus.shares.store.shares import Row
from isthmus.shares.tables import InstanceRow, RuleRow, RuleStateRow, SnapshotInstanceRow, SnapshotRow

_WORST_FIRST = (RulesStatus.ERROR, RulesStatus.SYNCING, RulesStatus.ACTIVE)


@dataclass(frozen=True)
class NewReplica:
    """A replica that may be made. `host` None: no pool was found, it is in error."""

    instance_id: str
    host: str | None
    availability_zone: str | None
    share_network_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Together:
    """What a share's replicas are together: how many, and the worst `access_rules_status`."""

    count: int
    rules_status: str


def first_state(replication_type: str | None) -> ReplicaState | None:
    """Return the replica state of a share's first instance."""
    return ReplicaState.ACTIVE if replication_type else None


def deltas(replication_type: str | None, gib: int, replicas: int = 1) -> dict[str, int]:
    """Return what replicas of this size count for; of a share that is not replicated, nothing."""
    return {"share_replicas": replicas, "replica_gigabytes": replicas * gib} if replication_type else {}


def instances_of(session: Session, share_id: str) -> list[Row]:
    """Return a share's replicas: `id`, `host`, `status`, `replica_state`, `is_primary`; none if it is not replicated.

    Their rows are read as they are now: who moves one of them holds it first.
    """
    columns = (InstanceRow.id, InstanceRow.host, InstanceRow.status, InstanceRow.replica_state, InstanceRow.is_primary)
    found = select(*columns).where(InstanceRow.share_id == share_id, InstanceRow.replica_state.is_not(None))
    return [dict(row) for row in session.execute(found.order_by(InstanceRow.created_at, InstanceRow.id)).mappings()]


def count_of(session: Session, share_id: str) -> int:
    """Return how many replicas a share has, the active one among them."""
    return len(instances_of(session, share_id))


def together(session: Session, share_ids: Sequence[str]) -> dict[str, Together]:
    """Return what the replicas of each of these shares are together, in one query; left out is who has none."""
    found: dict[str, list[str]] = {}
    if share_ids:
        rows = select(InstanceRow.share_id, InstanceRow.access_rules_status).where(
            InstanceRow.share_id.in_(share_ids), InstanceRow.replica_state.is_not(None)
        )
        for share_id, status in session.execute(rows):
            found.setdefault(share_id, []).append(status)
    return {
        share_id: Together(len(statuses), min(statuses, key=lambda each: _WORST_FIRST.index(RulesStatus(each))))
        for share_id, statuses in found.items()
    }


def make(session: Session, share: Row, new: NewReplica, now: datetime) -> None:
    """Write a replica of a share, with instances of its snapshots and states of its rules, all still to be made."""
    made = new.host is not None
    session.execute(
        insert(InstanceRow).values(
            id=new.instance_id,
            share_id=share["id"],
            host=new.host or "",
            status=Status.CREATING if made else Status.ERROR,
            replica_state=ReplicaState.OUT_OF_SYNC if made else ReplicaState.ERROR,
            is_primary=False,
            access_rules_status=RulesStatus.ACTIVE,
            cast_rules_to_readonly=share["replication_type"] == "readable",
            availability_zone=new.availability_zone,
            share_type_id=share["share_type_id"],
            share_network_id=new.share_network_id,
            mount_point_name=share["mount_point_name"],
            replica_asked_at=now,
            scheduled_at=now,
            created_at=now,
        )
    )
    metadata.write(session, new.instance_id, new.metadata)
    _give_snapshots(session, share["id"], new.instance_id, now)
    _give_rules(session, share["id"], new.instance_id, now)


def _give_snapshots(session: Session, share_id: str, instance_id: str, now: datetime) -> None:
    for snapshot in session.scalars(select(SnapshotRow).where(SnapshotRow.share_id == share_id)).all():
        session.execute(insert(SnapshotInstanceRow).values(**_instance_of_snapshot(snapshot, instance_id, now)))


def give_snapshot(session: Session, snapshot_id: str, instance_ids: Sequence[str], now: datetime) -> None:
    """Write instances of a snapshot, still to be made, with these replicas."""
    snapshot = session.get_one(SnapshotRow, snapshot_id)
    for instance_id in instance_ids:
        session.execute(insert(SnapshotInstanceRow).values(**_instance_of_snapshot(snapshot, instance_id, now)))


def _instance_of_snapshot(snapshot: SnapshotRow, instance_id: str, now: datetime) -> dict[str, Any]:
    """Return the row of a snapshot's instance with a replica that it is still to be made for."""
    return {
        "id": str(uuid.uuid4()),
        "snapshot_id": snapshot.id,
        "instance_id": instance_id,
        "status": Status.CREATING,
        "progress": "0%",
        "share_id": snapshot.share_id,
        "size": snapshot.size,
        "share_protocol": snapshot.share_protocol,
        "project_id": snapshot.project_id,
        "user_id": snapshot.user_id,
        "created_at": now,
    }


def _give_rules(session: Session, share_id: str, instance_id: str, now: datetime) -> None:
    for rule_id in session.scalars(select(RuleRow.id).where(RuleRow.share_id == share_id)).all():
        session.execute(
            insert(RuleStateRow).values(
                rule_id=rule_id, instance_id=instance_id, state=RuleState.QUEUED_TO_APPLY, updated_at=now
            )
        )


def set_state(session: Session, instance_id: str, now: datetime, **values: Any) -> None:
    """Set `replica_state` and what goes with it; then choose anew who stands for the share."""
    session.execute(
        update(InstanceRow)
        .where(InstanceRow.id == instance_id)
        .values(updated_at=now, **values)
        .execution_options(synchronize_session=False)
    )
    share_id = session.scalar(select(InstanceRow.share_id).where(InstanceRow.id == instance_id))
    if share_id is not None:
        choose_primary(session, share_id)


def choose_primary(session: Session, share_id: str) -> None:
    """Let an active replica stand for the share, rather one that is available; without any, who did goes on."""
    found = instances_of(session, share_id)
    if not found:
        return

    def rank(row: Row) -> tuple[bool, bool, bool]:
        return row["replica_state"] == ReplicaState.ACTIVE, row["status"] == Status.AVAILABLE, row["is_primary"]

    chosen = max(found, key=rank)["id"]
    # One statement: at no moment does a share have two, or none, that stand for it.
    session.execute(
        update(InstanceRow)
        .where(InstanceRow.share_id == share_id)
        .values(is_primary=InstanceRow.id == chosen)
        .execution_options(synchronize_session=False)
    )


def active_of(found: Sequence[Row]) -> list[Row]:
    """Return the active ones of a share's replicas."""
    return [row for row in found if row["replica_state"] == ReplicaState.ACTIVE]


def is_replicated(session: Session, share_id: str) -> bool:
    """Say whether a share has replicas beside its active one."""
    counted = select(func.count()).where(InstanceRow.share_id == share_id, InstanceRow.replica_state.is_not(None))
    return (session.scalar(counted) or 0) > 1
