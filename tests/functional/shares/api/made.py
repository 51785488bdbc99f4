"""Shares, snapshots and groups that their back ends have made: jobs' results, written without a manager."""

from typing import Any

from sqlalchemy import update
from tests.functional.shares.api.parts import MEMBER, Person, Shares

from isthmus.shares.model import Status
from isthmus.shares.tables import GroupRow, GroupSnapshotRow, InstanceRow, ShareRow, SnapshotInstanceRow

Statused = type[InstanceRow | SnapshotInstanceRow | GroupRow | GroupSnapshotRow]


def set_status(shares: Shares, table: Statused, identity: str, status: Status) -> None:
    """Set a row's status, as a manager does."""
    with shares.database.transaction() as session:
        session.execute(update(table).where(table.id == identity).values(status=status))


def share(shares: Shares, *, by: Person = MEMBER, status: Status = Status.AVAILABLE, **body: Any) -> str:
    """Return the id of a share of 1 GiB in this status. A share type and a back end must be there."""
    made = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS", **body}}, by=by)["share"]["id"]
    share_status(shares, made, status)
    return str(made)


def share_status(shares: Shares, share_id: str, status: Status) -> None:
    """Set the status of a share's instance."""
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).where(InstanceRow.share_id == share_id).values(status=status))


def share_feature(shares: Shares, share_id: str, **features: bool) -> None:
    """Set what a share can do."""
    with shares.database.transaction() as session:
        session.execute(update(ShareRow).where(ShareRow.id == share_id).values(**features))


def snapshot(
    shares: Shares, share_id: str, *, by: Person = MEMBER, status: Status = Status.AVAILABLE, **body: Any
) -> str:
    """Return the id of a snapshot in this status."""
    made = shares.post("/snapshots", {"snapshot": {"share_id": share_id, **body}}, 202, by=by)["snapshot"]["id"]
    snapshot_status(shares, made, status)
    return str(made)


def snapshot_status(shares: Shares, snapshot_id: str, status: Status) -> None:
    """Set the status of a snapshot's instance."""
    with shares.database.transaction() as session:
        session.execute(
            update(SnapshotInstanceRow).where(SnapshotInstanceRow.snapshot_id == snapshot_id).values(status=status)
        )
