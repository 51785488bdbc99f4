"""What time brings about: soft-deleted shares are deleted, old messages and transfers go, replicas are looked at."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, case, delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from isthmus.shares.model import TRANSITIONAL, Kind, ReplicaState, Status
from isthmus.shares.services.work import Work
from isthmus.shares.store import jobs, results
from isthmus.shares.store.moving import hold, move
from isthmus.shares.tables import InstanceRow, MessageRow, ShareRow, SnapshotInstanceRow, TransferRow

log = logging.getLogger(__name__)

INTERVAL = timedelta(seconds=60)
MOST = 100
"""Shares or transfers seen to in one look; the next look goes on."""
_PURGED = (Status.AVAILABLE, Status.ERROR, Status.INACTIVE, Status.ERROR_DELETING)
"""Statuses in which a share of the recycle bin is deleted: those it may be put there in, or that a try left."""


def run(work: Work, stopping: threading.Event) -> None:
    """Sweep each minute until told to stop. Several managers may: every change is guarded."""
    while not stopping.wait(INTERVAL.total_seconds()):
        for sweep in SWEEPS:
            try:
                with work.database.transaction() as session:
                    sweep(session, work)
            except SQLAlchemyError as error:
                log.warning("%s failed: %s", sweep.__name__, type(error).__name__)


def delete_retired_shares(session: Session, work: Work) -> None:
    """Delete the shares whose time in the recycle bin is over.

    Who waits longest is first, since its time was over or its last deletion failed: those of a back end that fails
    do not keep the others from their turn.
    """
    now = work.now()
    failed = InstanceRow.status == Status.ERROR_DELETING
    waits_since = case((failed, InstanceRow.updated_at), else_=ShareRow.scheduled_to_be_deleted_at)
    due = session.execute(
        select(InstanceRow.id, InstanceRow.share_id, InstanceRow.host, ShareRow.project_id)
        .join(ShareRow, ShareRow.id == InstanceRow.share_id)
        .where(*_is_retired(now), InstanceRow.status.in_(_PURGED))
        .order_by(waits_since, InstanceRow.id)
        .limit(MOST)
    ).all()
    for row in due:
        # A restored share is held by its restoring call, so it is looked at again once it is held here.
        if not hold(session, InstanceRow, row.id, of=_PURGED) or not _still_retired(session, row.share_id, now):
            continue
        if not row.host:
            # It never got a pool, so no back end has anything of it.
            results.forget_share(session, row.id)
            continue
        move(session, InstanceRow, row.id, of=_PURGED, to=Status.DELETING, now=now)
        jobs.enqueue(
            session,
            host=row.host,
            kind=Kind.DELETE_SHARE,
            subject=row.share_id,
            argument={"instance_id": row.id},
            project_id=row.project_id,
            now=now,
        )


def _is_retired(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return ShareRow.scheduled_to_be_deleted_at <= now, ShareRow.is_soft_deleted.is_(True)


def _still_retired(session: Session, share_id: str, now: datetime) -> bool:
    found = session.scalar(select(ShareRow.id).where(ShareRow.id == share_id, *_is_retired(now)))
    return found is not None


def forget_old_messages(session: Session, work: Work) -> None:
    """Remove messages that have expired."""
    session.execute(delete(MessageRow).where(MessageRow.expires_at <= work.now()))


def end_old_transfers(session: Session, work: Work) -> None:
    """Remove transfers that nobody accepted in time; their shares are free again."""
    now = work.now()
    due = session.execute(
        select(TransferRow.id, TransferRow.resource_id)
        .where(TransferRow.expires_at <= now, TransferRow.accepted.is_(False))
        .limit(MOST)
    ).all()
    for row in due:
        gone = session.execute(delete(TransferRow).where(TransferRow.id == row.id, TransferRow.accepted.is_(False)))
        if not gone.rowcount:  # type: ignore[attr-defined] # a delete's result is a CursorResult
            continue
        for instance in session.scalars(select(InstanceRow.id).where(InstanceRow.share_id == row.resource_id)).all():
            move(session, InstanceRow, instance, of=[Status.AWAITING_TRANSFER], to=Status.AVAILABLE, now=now)


def look_at_replicas(session: Session, work: Work) -> None:
    """Have replicas that are not active looked at, by whoever sees first that their time has come."""
    now = work.now()
    due = now - timedelta(seconds=work.conf.shares.replica_state_update_interval)
    asked_before = or_(InstanceRow.replica_asked_at.is_(None), InstanceRow.replica_asked_at <= due)
    follows = [
        InstanceRow.replica_state.is_not(None),
        InstanceRow.replica_state != ReplicaState.ACTIVE,
        InstanceRow.status.not_in([*TRANSITIONAL, Status.ERROR_DELETING]),
        InstanceRow.host != "",
    ]
    found = session.execute(
        select(InstanceRow.id, InstanceRow.share_id, InstanceRow.host).where(asked_before, *follows).limit(MOST)
    ).all()
    for row in found:
        taken = session.execute(
            update(InstanceRow)
            .where(InstanceRow.id == row.id, asked_before)
            .values(replica_asked_at=now)
            .execution_options(synchronize_session=False)
        )
        if not taken.rowcount:  # type: ignore[attr-defined] # an update's result is a CursorResult
            continue
        _look(session, work, (row.host or "", row.share_id), Kind.UPDATE_REPLICA, instance_id=row.id)
        under_way = select(SnapshotInstanceRow.id).where(
            SnapshotInstanceRow.instance_id == row.id,
            SnapshotInstanceRow.status.in_([Status.CREATING, Status.DELETING]),
        )
        for snapshot in session.scalars(under_way).all():
            at = (row.host or "", row.share_id)
            _look(session, work, at, Kind.UPDATE_REPLICATED_SNAPSHOT, snapshot_instance_id=snapshot)


def _look(session: Session, work: Work, at: tuple[str, str], kind: Kind, **argument: str) -> None:
    host, share_id = at
    jobs.enqueue(session, host=host, kind=kind, subject=share_id, argument=argument, now=work.now())


SWEEPS: tuple[Callable[[Session, Work], None], ...] = (
    delete_retired_shares,
    forget_old_messages,
    end_old_transfers,
    look_at_replicas,
)
