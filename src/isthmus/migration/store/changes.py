"""What has changed lately in a project: executions, their steps, what these tell, assessments, waves, minion pools.

Nothing is written for it. Rows carry the time of their last change, so "since" is a question to the tables; states that
lasted less than a look are not seen, the last one always is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, or_, select
from sqlalchemy.orm import Session

from isthmus.migration.model import ACTIVE, WAVE_ACTIVE, AssessmentStatus, PoolStatus, TaskStatus
from isthmus.migration.tables import (
    AssessmentRow,
    ExecutionRow,
    MinionPoolRow,
    TaskEventRow,
    TaskProgressRow,
    TaskRow,
    WaveGroupRow,
    WaveMemberRow,
    WaveRow,
)

_POOL_RESTS = (PoolStatus.UNKNOWN, PoolStatus.ERROR, PoolStatus.DEALLOCATED, PoolStatus.ALLOCATED)


@dataclass(frozen=True)
class Scope:
    """Whose changes: a project's, or those of one of its executions."""

    project_id: str
    execution_id: str | None = None


@dataclass(frozen=True)
class Change:
    """One object as it is now. `kind` is the event's name; kind and `key` together name the object."""

    kind: str
    key: str
    data: dict[str, Any]


def changes(session: Session, scope: Scope, since: datetime | None) -> list[Change]:
    """Return what is under way, and what has changed since; without `since` what is under way alone.

    Objects come before what belongs to them, and each in the order in which it came about.
    """
    chosen = _chosen(session, scope, since)
    found = [
        *_executions(session, chosen),
        *_tasks(session, chosen, since),
        *_messages(session, chosen, since),
        *_progress(session, chosen),
    ]
    if scope.execution_id is None:
        found += [
            *_assessments(session, scope, since),
            *_waves(session, scope, since),
            *_pools(session, scope, since),
        ]
    return found


def _lately(row: Any, since: datetime) -> ColumnElement[bool]:
    return or_(row.updated_at >= since, row.created_at >= since)


def _told(
    row: Any, under_way: ColumnElement[bool], scope: Scope, since: datetime | None
) -> tuple[ColumnElement[bool], ...]:
    """Which of a project's objects to tell of: those under way, and since then those that have changed."""
    told = under_way if since is None else or_(under_way, _lately(row, since))
    return row.project_id == scope.project_id, row.deleted_at.is_(None), told


def _chosen(session: Session, scope: Scope, since: datetime | None) -> list[str]:
    """Return the ids of the executions to tell of: two questions, each with an index, where one with OR has none."""
    row = ExecutionRow
    mine = select(row.id).where(row.project_id == scope.project_id, row.deleted_at.is_(None))
    if scope.execution_id is not None:
        return list(session.scalars(mine.where(row.id == scope.execution_id)))
    found = dict.fromkeys(session.scalars(mine.where(row.status.in_(ACTIVE))))
    if since is not None:
        # One that is not under way has been moved at least once, so its last change has a time.
        found |= dict.fromkeys(session.scalars(mine.where(row.updated_at >= since)))
    return list(found)


def _executions(session: Session, chosen: Sequence[str]) -> Iterator[Change]:
    row = ExecutionRow
    columns = (row.id, row.action_id, row.type, row.status, row.number, row.created_at, row.updated_at)
    for each in session.execute(select(*columns).where(row.id.in_(chosen)).order_by(row.created_at, row.id)):
        yield Change("execution", each.id, _shown(each._mapping))


def _tasks(session: Session, chosen: Sequence[str], since: datetime | None) -> Iterator[Change]:
    row = TaskRow
    columns = (row.id, row.execution_id, row.instance, row.task_type, row.index, row.status, row.host, row.updated_at)
    shown = row.status != TaskStatus.EXECUTE_ON_ERROR_ONLY
    wanted = select(*columns).where(row.execution_id.in_(chosen), shown)
    if since is not None:
        wanted = wanted.where(_lately(row, since))
    for each in session.execute(wanted.order_by(row.execution_id, row.index)):
        yield Change("task", each.id, _shown(each._mapping))


def _messages(session: Session, chosen: Sequence[str], since: datetime | None) -> Iterator[Change]:
    row = TaskEventRow
    columns = (row.id, row.task_id, TaskRow.execution_id, row.level, row.message, row.created_at)
    wanted = select(*columns).join(TaskRow, TaskRow.id == row.task_id).where(TaskRow.execution_id.in_(chosen))
    if since is not None:
        wanted = wanted.where(row.created_at >= since)
    for each in session.execute(wanted.order_by(row.created_at, row.task_id, row.index)):
        yield Change("message", each.id, _shown(each._mapping))


def _progress(session: Session, chosen: Sequence[str]) -> Iterator[Change]:
    """Progress has no time of its last change: what running steps measure now is told, and compared by the reader."""
    row = TaskProgressRow
    columns = (row.id, row.task_id, TaskRow.execution_id, row.current_step, row.total_steps, row.message)
    wanted = (
        select(*columns)
        .join(TaskRow, TaskRow.id == row.task_id)
        .where(TaskRow.execution_id.in_(chosen), TaskRow.status == TaskStatus.RUNNING)
    )
    for each in session.execute(wanted.order_by(row.task_id, row.index)):
        yield Change("progress", each.id, _shown(each._mapping))


def _assessments(session: Session, scope: Scope, since: datetime | None) -> Iterator[Change]:
    row = AssessmentRow
    columns = (row.id, row.endpoint_id, row.status, row.done, row.total, row.updated_at)
    wanted = select(*columns).where(*_told(row, row.status == AssessmentStatus.RUNNING, scope, since))
    for each in session.execute(wanted.order_by(row.created_at, row.id)):
        yield Change("assessment", each.id, _shown(each._mapping))


def _waves(session: Session, scope: Scope, since: datetime | None) -> Iterator[Change]:
    """Members have no time of their last change: those of a wave under way are counted at each look."""
    row = WaveRow
    columns = (row.id, row.name, row.status, row.message, row.created_at, row.updated_at)
    wanted = select(*columns).where(*_told(row, row.status.in_(WAVE_ACTIVE), scope, since))
    found = session.execute(wanted.order_by(row.created_at, row.id)).all()
    counted = (
        select(WaveGroupRow.wave_id, WaveMemberRow.status, func.count())
        .join(WaveGroupRow, WaveGroupRow.id == WaveMemberRow.group_id)
        .where(WaveGroupRow.wave_id.in_([each.id for each in found]))
        .group_by(WaveGroupRow.wave_id, WaveMemberRow.status)
    )
    members: dict[str, dict[str, int]] = {each.id: {} for each in found}
    for wave_id, status, count in session.execute(counted):
        members[wave_id][status] = count
    for each in found:
        yield Change("wave", each.id, {**_shown(each._mapping), "members": members[each.id]})


def _pools(session: Session, scope: Scope, since: datetime | None) -> Iterator[Change]:
    row = MinionPoolRow
    columns = (row.id, row.name, row.status, row.created_at, row.updated_at)
    wanted = select(*columns).where(*_told(row, row.status.not_in(_POOL_RESTS), scope, since))
    for each in session.execute(wanted.order_by(row.created_at, row.id)):
        yield Change("minion_pool", each.id, _shown(each._mapping))


def _shown(found: RowMapping) -> dict[str, Any]:
    """Return columns as the API shows them: times with microseconds and without a zone, UTC."""
    return {
        str(name): value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
        for name, value in found.items()
    }
