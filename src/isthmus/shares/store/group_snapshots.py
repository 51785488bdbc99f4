"""Snapshots of share groups. Their members are snapshot instances, one for each share of the group."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from isthmus.shares.model import Status
from isthmus.shares.store import snapshots, usage
from isthmus.shares.tables import GroupSnapshotRow, InstanceRow, ShareRow, SnapshotInstanceRow


@dataclass(frozen=True)
class GroupShare:
    """A share of a group and the instance that it is served from. `size` is in GiB."""

    share_id: str
    instance_id: str
    size: int
    protocol: str


@dataclass(frozen=True)
class Member:
    """What one share of a group was at the moment of the group's snapshot. `size` is in GiB."""

    id: str
    share_id: str
    size: int
    protocol: str
    share_type_id: str | None


@dataclass(frozen=True)
class NewGroupSnapshot:
    """A snapshot of a group that may be taken."""

    group_id: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    shares: Sequence[GroupShare]


def shares_of(session: Session, group_id: str) -> list[GroupShare]:
    """Return the shares of a group, oldest first."""
    found = session.execute(
        select(ShareRow.id, InstanceRow.id, ShareRow.size, ShareRow.protocol)
        .join(InstanceRow, InstanceRow.share_id == ShareRow.id)
        .where(ShareRow.share_group_id == group_id)
        .order_by(ShareRow.created_at, ShareRow.id)
    )
    return [GroupShare(*row) for row in found]


def members_of(session: Session, group_snapshot_id: str) -> list[Member]:
    """Return the members of a group's snapshot, oldest first."""
    found = session.execute(
        select(
            SnapshotInstanceRow.id,
            SnapshotInstanceRow.share_id,
            SnapshotInstanceRow.size,
            SnapshotInstanceRow.share_protocol,
        )
        .add_columns(InstanceRow.share_type_id)
        .join(InstanceRow, InstanceRow.id == SnapshotInstanceRow.instance_id)
        .where(SnapshotInstanceRow.group_snapshot_id == group_snapshot_id)
        .order_by(SnapshotInstanceRow.created_at, SnapshotInstanceRow.id)
    )
    return [Member(*row) for row in found]


def make(session: Session, new: NewGroupSnapshot, now: datetime) -> str:
    """Write a group's snapshot with its members, all being made; return its id."""
    identity = str(uuid.uuid4())
    owner = {"project_id": new.project_id, "user_id": new.user_id, "status": Status.CREATING, "created_at": now}
    session.execute(
        insert(GroupSnapshotRow).values(
            id=identity, share_group_id=new.group_id, name=new.name, description=new.description, **owner
        )
    )
    members = [
        {
            "id": str(uuid.uuid4()),
            "group_snapshot_id": identity,
            "instance_id": share.instance_id,
            "share_id": share.share_id,
            "size": share.size,
            "share_protocol": share.protocol,
            "progress": "0%",
            **owner,
        }
        for share in new.shares
    ]
    if members:
        session.execute(insert(SnapshotInstanceRow), members)
    return identity


def set_members(session: Session, group_snapshot_id: str, status: Status, now: datetime) -> None:
    """Set the status of all members of a group's snapshot, which have no moves of their own."""
    session.execute(
        update(SnapshotInstanceRow)
        .where(SnapshotInstanceRow.group_snapshot_id == group_snapshot_id)
        .values(status=status, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def share_in_the_making(session: Session, group_snapshot_id: str) -> str | None:
    """Return a share that is just being made from a member of the group's snapshot, if there is one."""
    members = select(SnapshotInstanceRow.id).where(SnapshotInstanceRow.group_snapshot_id == group_snapshot_id)
    return session.scalar(
        select(ShareRow.id)
        .join(InstanceRow, InstanceRow.share_id == ShareRow.id)
        .where(ShareRow.source_share_group_snapshot_member_id.in_(members))
        .where(InstanceRow.status.in_([Status.CREATING, Status.CREATING_FROM_SNAPSHOT]))
        .limit(1)
    )


def forget(session: Session, group_snapshot_id: str) -> None:
    """Remove a group's snapshot with its members; give back what it counted for."""
    row = session.execute(
        select(GroupSnapshotRow.project_id, GroupSnapshotRow.user_id).where(GroupSnapshotRow.id == group_snapshot_id)
    ).first()
    if row is None:
        return
    for member in members_of(session, group_snapshot_id):
        snapshots.forget_instance(session, member.id)
    session.execute(delete(GroupSnapshotRow).where(GroupSnapshotRow.id == group_snapshot_id))
    usage.give_back(session, usage.Owner(row.project_id, row.user_id), {"share_group_snapshots": 1})
