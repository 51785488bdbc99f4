"""Schedules, and the one transaction that fires a due time: once, whichever conductor comes first.

Coriolis starts what is due in the very minute in which it looks; a minute without it is lost without a trace. Here each
due time leaves a row saying what became of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.migration.model import ExecutionType, FiringOutcome
from isthmus.migration.recurrence import Recurrence
from isthmus.migration.store import requests
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import ExecutionRow, ScheduleFiringRow, ScheduleRow

LATEST = timedelta(hours=1)
"""A due time that is longer ago is missed, not fired: nobody expects last night's shutdown at noon."""

KEPT = timedelta(days=90)
"""How long it is remembered what became of a due time."""

MOST_MISSED = 100
"""How many due times missed in a row are written down."""


@dataclass(frozen=True)
class DueSchedule:
    """A schedule that may have something to fire, and what must be locked for it."""

    id: str
    project_id: str
    transfer_id: str


def get(session: Session, project_id: str, transfer_id: str, schedule_id: str) -> ScheduleRow:
    """Return a live schedule of a transfer; `NotFound` if there is none."""
    row = session.scalar(
        select(ScheduleRow).where(
            ScheduleRow.id == schedule_id,
            ScheduleRow.transfer_id == transfer_id,
            ScheduleRow.project_id == project_id,
            ScheduleRow.deleted_at.is_(None),
        )
    )
    if row is None:
        raise NotFound(f"there is no schedule {schedule_id} of transfer {transfer_id}; list its schedules")
    return row


def fetch(
    session: Session, project_id: str, transfer_id: str, page: Page, *, now: datetime, expired: bool
) -> Sequence[ScheduleRow]:
    """Return a page of a transfer's schedules, those that have expired only if wanted."""
    wanted = select(ScheduleRow).where(ScheduleRow.project_id == project_id, ScheduleRow.transfer_id == transfer_id)
    if not expired:
        wanted = wanted.where((ScheduleRow.expiration_date.is_(None)) | (ScheduleRow.expiration_date > now))
    return fetch_page(session, ScheduleRow, wanted, page)


def firings(session: Session, schedule_id: str, limit: int) -> Sequence[ScheduleFiringRow]:
    """Return what became of a schedule's last due times, the latest first."""
    wanted = select(ScheduleFiringRow).where(ScheduleFiringRow.schedule_id == schedule_id)
    return session.scalars(wanted.order_by(ScheduleFiringRow.due_at.desc()).limit(limit)).all()


def set_next(row: ScheduleRow, now: datetime) -> None:
    """Have a schedule wait for its next due time after `now`; `InvalidInput` if there never is one."""
    due = Recurrence.of(row.schedule).next_after(now)
    if due is None:
        raise InvalidInput("the schedule never fires: no day matches its month, dom and dow; correct it")
    if row.expiration_date is not None and due > row.expiration_date:
        raise InvalidInput(
            f"the schedule never fires: it expires at {row.expiration_date.isoformat()}, before it is due at "
            f"{due.isoformat()} (both UTC); set a later expiration_date"
        )
    row.next_due_at = due if row.enabled else None


def due(session: Session, now: datetime) -> list[DueSchedule]:
    """Return the schedules that may have something to fire."""
    wanted = select(ScheduleRow).where(
        ScheduleRow.next_due_at <= now, ScheduleRow.enabled.is_(True), ScheduleRow.deleted_at.is_(None)
    )
    rows = session.scalars(wanted.order_by(ScheduleRow.next_due_at)).all()
    return [DueSchedule(row.id, row.project_id, row.transfer_id) for row in rows]


def fire(session: Session, wanted: DueSchedule, now: datetime, new_id: Callable[[], str]) -> FiringOutcome | None:
    """Carry out what is due of one schedule: its last due time is fired, what came before is written down as missed.

    Must be the first thing a transaction does. None: there is nothing to do any more. Conductors take turns by the
    lock on the transfer's row, and the unique pair of schedule and due time would stop a second one in any case.
    """
    transfer = requests.claim_transfer(session, wanted.project_id, wanted.transfer_id)
    row = session.get(ScheduleRow, wanted.id, populate_existing=True)
    if row is None or row.deleted_at is not None or row.next_due_at is None or row.next_due_at > now:
        return None
    recurrence = Recurrence.of(row.schedule)
    expires = row.expiration_date
    times = _times(recurrence, row.next_due_at, now if expires is None else min(now, expires))
    for each in times[:-1]:
        session.add(_firing(new_id(), row, each, now, "the conductor was not running, and a later due time took over"))
    last = _firing(new_id(), row, times[-1], now, f"the conductor was not running until {now.isoformat()}")
    session.add(last)
    following = recurrence.next_after(max(now, times[-1]))
    row.next_due_at = None if following is None or (expires is not None and following > expires) else following
    session.execute(
        delete(ScheduleFiringRow).where(ScheduleFiringRow.schedule_id == row.id, ScheduleFiringRow.due_at < now - KEPT)
    )
    # Before the execution is begun: a second conductor that got here in spite of the lock must fail first.
    session.flush()
    if now - last.due_at > LATEST:
        return FiringOutcome.MISSED
    run = ExecutionRow(
        id=new_id(),
        action_id=transfer.id,
        project_id=transfer.project_id,
        type=ExecutionType.TRANSFER_EXECUTION,
        shutdown_instances=row.shutdown_instance,
        auto_deploy=row.auto_deploy,
        tasks=[],
        created_at=now,
    )
    try:
        requests.start_execution(session, transfer, run, trust_id=row.trust_id)
    except (Conflict, InvalidInput) as refused:
        last.outcome, last.message = FiringOutcome.SKIPPED, refused.message
        return FiringOutcome.SKIPPED
    last.outcome, last.message, last.execution_id = FiringOutcome.STARTED, None, run.id
    requests.record_begun(session, run, row.user_id, f"/transfers/{transfer.id}/schedules/{row.id}", now)
    return FiringOutcome.STARTED


def _times(recurrence: Recurrence, first: datetime, until: datetime) -> list[datetime]:
    """Return the due times from `first` to `until`, which is now, or when the schedule has expired."""
    times = [first]
    while len(times) <= MOST_MISSED:
        following = recurrence.next_after(times[-1])
        if following is None or following > until:
            return times
        times.append(following)
    # Too many to name them all: the last one that still may be fired is found from the other end.
    recent = recurrence.next_after(until - LATEST)
    while recent is not None and recent <= until:
        times[-1] = recent
        recent = recurrence.next_after(recent)
    return times


def _firing(row_id: str, row: ScheduleRow, due_at: datetime, now: datetime, message: str) -> ScheduleFiringRow:
    return ScheduleFiringRow(
        id=row_id, schedule_id=row.id, due_at=due_at, outcome=FiringOutcome.MISSED, message=message, created_at=now
    )


def forget_all(session: Session, transfer_id: str, now: datetime) -> None:
    """Hide all schedules of a claimed transfer, which is being deleted."""
    wanted = select(ScheduleRow).where(ScheduleRow.transfer_id == transfer_id, ScheduleRow.deleted_at.is_(None))
    for row in session.scalars(wanted):
        row.deleted_at, row.next_due_at = now, None
