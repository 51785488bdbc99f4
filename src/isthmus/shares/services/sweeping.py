"""What time brings about: soft-deleted shares are deleted, old messages and unaccepted transfers go."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from isthmus.shares.model import Kind, Status
from isthmus.shares.services.work import Work
from isthmus.shares.store import jobs, results
from isthmus.shares.store.moving import move
from isthmus.shares.tables import InstanceRow, MessageRow, ShareRow, TransferRow

log = logging.getLogger(__name__)

INTERVAL = timedelta(seconds=60)
MOST = 100
"""Shares or transfers seen to in one look; the next look goes on."""


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
    """Delete the shares whose time in the recycle bin is over."""
    now = work.now()
    due = session.execute(
        select(InstanceRow.id, InstanceRow.share_id, InstanceRow.host, ShareRow.project_id)
        .join(ShareRow, ShareRow.id == InstanceRow.share_id)
        .where(ShareRow.scheduled_to_be_deleted_at <= now, ShareRow.is_soft_deleted)
        .limit(MOST)
    ).all()
    for row in due:
        if not row.host:
            # It never got a pool, so no back end has anything of it.
            results.forget_share(session, row.id)
            continue
        of = [Status.AVAILABLE, Status.ERROR, Status.ERROR_DELETING]
        if move(session, InstanceRow, row.id, of=of, to=Status.DELETING, now=now):
            jobs.enqueue(
                session,
                host=row.host,
                kind=Kind.DELETE_SHARE,
                subject=row.share_id,
                argument={"instance_id": row.id},
                project_id=row.project_id,
                now=now,
            )


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


SWEEPS: tuple[Callable[[Session, Work], None], ...] = (delete_retired_shares, forget_old_messages, end_old_transfers)
