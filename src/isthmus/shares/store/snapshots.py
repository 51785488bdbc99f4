"""Snapshots and their instances: how they are selected, made and forgotten.

A snapshot has one instance for each instance of its share; in the API, that of the share's primary instance stands for
it. A member of a group's snapshot is an instance without a snapshot of its own.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, delete, insert, select
from sqlalchemy.orm import Session

from isthmus.shares.model import ReplicaState, RuleState, Status
from isthmus.shares.store import metadata, usage
from isthmus.shares.store.shares import Row
from isthmus.shares.tables import (
    InstanceRow,
    ShareRow,
    SnapshotExportRow,
    SnapshotInstanceRow,
    SnapshotRow,
    SnapshotRuleRow,
    SnapshotRuleStateRow,
)

SELECTED: Mapping[str, Any] = {
    "id": SnapshotRow.id,
    "share_id": SnapshotRow.share_id,
    "share_size": SnapshotRow.share_size,
    "created_at": SnapshotRow.created_at,
    "updated_at": SnapshotRow.updated_at,
    "name": SnapshotRow.name,
    "description": SnapshotRow.description,
    "size": SnapshotRow.size,
    "share_proto": SnapshotRow.share_protocol,
    "user_id": SnapshotRow.user_id,
    "project_id": SnapshotRow.project_id,
    "status": SnapshotInstanceRow.status,
    "progress": SnapshotInstanceRow.progress,
    "provider_location": SnapshotInstanceRow.provider_location,
    "snapshot_instance_id": SnapshotInstanceRow.id,
    "instance_id": SnapshotInstanceRow.instance_id,
    "replica_state": InstanceRow.replica_state,
}
"""Columns of a snapshot with its instance, by the API's names."""
_WORST_FIRST = (Status.DELETING, Status.CREATING, Status.ERROR)


def selected() -> Select[Any]:
    """Return the selection of snapshots; each must have an instance to be seen."""
    columns = (column.label(name) for name, column in SELECTED.items())
    return (
        select(*columns)
        .join(SnapshotInstanceRow, SnapshotInstanceRow.snapshot_id == SnapshotRow.id)
        .join(InstanceRow, and_(InstanceRow.id == SnapshotInstanceRow.instance_id, InstanceRow.is_primary))
    )


def with_status(session: Session, rows: Sequence[Row]) -> list[Row]:
    """Return snapshots with the `status` of all their instances: of replicated shares, those with replicas in sync."""
    replicated = [row["id"] for row in rows if row["replica_state"] is not None]
    if not replicated:
        return list(rows)
    counted = [ReplicaState.ACTIVE, ReplicaState.IN_SYNC]
    asked = (
        select(SnapshotInstanceRow.snapshot_id, SnapshotInstanceRow.status)
        .join(InstanceRow, InstanceRow.id == SnapshotInstanceRow.instance_id)
        .where(SnapshotInstanceRow.snapshot_id.in_(replicated), InstanceRow.replica_state.in_(counted))
    )
    found: dict[str, set[str]] = {}
    for snapshot_id, status in session.execute(asked):
        found.setdefault(str(snapshot_id), set()).add(status)
    return [{**row, "status": _worst(found.get(row["id"], set()), row["status"])} for row in rows]


def _worst(statuses: set[str], own: str) -> str:
    return next((str(each) for each in _WORST_FIRST if each in statuses), own)


@dataclass(frozen=True)
class NewSnapshot:
    """What a new snapshot has beside what its share gives it.

    `size` is in GiB; 0 is not known yet: of a snapshot that is to be taken under management.
    """

    user_id: str
    project_id: str
    name: str | None
    description: str | None
    size: int
    status: Status
    provider_location: str | None = None


def make(session: Session, of: Row, new: NewSnapshot, now: datetime) -> tuple[str, str]:
    """Write a snapshot of a share, with its instance; return the ids of both."""
    identity, instance_id = str(uuid.uuid4()), str(uuid.uuid4())
    session.execute(
        insert(SnapshotRow).values(
            id=identity,
            share_id=of["id"],
            project_id=new.project_id,
            user_id=new.user_id,
            name=new.name,
            description=new.description,
            size=new.size,
            share_size=of["size"],
            share_protocol=of["protocol"],
            created_at=now,
        )
    )
    session.execute(
        insert(SnapshotInstanceRow).values(
            id=instance_id,
            snapshot_id=identity,
            instance_id=of["instance_id"],
            status=new.status,
            progress="0%",
            provider_location=new.provider_location,
            share_id=of["id"],
            size=new.size,
            share_protocol=of["protocol"],
            project_id=new.project_id,
            user_id=new.user_id,
            created_at=now,
        )
    )
    return identity, instance_id


def places_of(session: Session, snapshot_id: str) -> list[tuple[str, str]]:
    """Return a snapshot's instances, each with the host it lies at; those that lie nowhere are left out."""
    found = session.execute(
        select(SnapshotInstanceRow.id, InstanceRow.host)
        .join(InstanceRow, InstanceRow.id == SnapshotInstanceRow.instance_id)
        .where(SnapshotInstanceRow.snapshot_id == snapshot_id)
        .order_by(InstanceRow.created_at, InstanceRow.id)
    )
    return [(instance_id, host) for instance_id, host in found if host]


def share_in_the_making(session: Session, snapshot_id: str) -> str | None:
    """Return a share that is just being made from the snapshot, if there is one."""
    return session.scalar(
        select(ShareRow.id)
        .join(InstanceRow, InstanceRow.share_id == ShareRow.id)
        .where(ShareRow.snapshot_id == snapshot_id)
        .where(InstanceRow.status.in_([Status.CREATING, Status.CREATING_FROM_SNAPSHOT]))
        .limit(1)
    )


def make_rule(session: Session, *, snapshot_id: str, access_type: str, access_to: str, now: datetime) -> str:
    """Write a rule that is still to be applied to all the snapshot's instances; return its id."""
    identity = str(uuid.uuid4())
    session.execute(
        insert(SnapshotRuleRow).values(
            id=identity, snapshot_id=snapshot_id, access_type=access_type, access_to=access_to, created_at=now
        )
    )
    instances = select(SnapshotInstanceRow.id).where(SnapshotInstanceRow.snapshot_id == snapshot_id)
    for instance_id in session.scalars(instances).all():
        session.execute(
            insert(SnapshotRuleStateRow).values(
                rule_id=identity, snapshot_instance_id=instance_id, state=RuleState.QUEUED_TO_APPLY
            )
        )
    return identity


def forget(session: Session, snapshot_instance_id: str) -> None:
    """Remove an instance and, with its last one, the snapshot; give back what it counted for."""
    row = session.execute(
        select(SnapshotInstanceRow.snapshot_id, InstanceRow.share_type_id)
        .join(InstanceRow, InstanceRow.id == SnapshotInstanceRow.instance_id)
        .where(SnapshotInstanceRow.id == snapshot_instance_id)
    ).first()
    if row is None:
        return
    forget_instance(session, snapshot_instance_id)
    if row.snapshot_id is None:
        return
    others = session.scalar(
        select(SnapshotInstanceRow.id).where(SnapshotInstanceRow.snapshot_id == row.snapshot_id).limit(1)
    )
    if others is None:
        _forget_whole(session, row.snapshot_id, row.share_type_id)


def forget_instance(session: Session, snapshot_instance_id: str) -> None:
    """Remove an instance with its exports and its rules' states."""
    session.execute(delete(SnapshotExportRow).where(SnapshotExportRow.snapshot_instance_id == snapshot_instance_id))
    session.execute(
        delete(SnapshotRuleStateRow).where(SnapshotRuleStateRow.snapshot_instance_id == snapshot_instance_id)
    )
    session.execute(delete(SnapshotInstanceRow).where(SnapshotInstanceRow.id == snapshot_instance_id))


def _forget_whole(session: Session, snapshot_id: str, share_type_id: str | None) -> None:
    row = session.execute(
        select(SnapshotRow.project_id, SnapshotRow.user_id, SnapshotRow.size).where(SnapshotRow.id == snapshot_id)
    ).one()
    metadata.drop(session, snapshot_id)
    session.execute(delete(SnapshotRuleRow).where(SnapshotRuleRow.snapshot_id == snapshot_id))
    session.execute(delete(SnapshotRow).where(SnapshotRow.id == snapshot_id))
    # A snapshot that could not be taken under management has no size, and was never counted.
    if row.size:
        owner = usage.Owner(row.project_id, row.user_id, share_type_id)
        usage.give_back(session, owner, {"snapshots": 1, "snapshot_gigabytes": row.size})
