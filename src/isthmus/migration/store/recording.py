"""What the engine records of its work: guarded moves of statuses, steps' events and progress, what was learned.

All functions take the session of one transaction, may be called again with the same arguments, and then change
nothing. Shapes that readers may rely on (all times ISO 8601 UTC, all sizes bytes):

`transfer.info[instance]`, and after a pass `info[instance]["last_pass"]` = the result of a REPLICATE_DISKS task:

    {"execution_id", "point", "bytes_read", "bytes_sent", "seconds", "bytes_per_second", "source_stopped_at",
     "disks": [{"disk_id", "reads": "allocation"|"dirty"|"compare", "bytes_read", "bytes_sent", "bytes_zeroed",
                "bytes_skipped", "bytes_resumed", "bytes_verified", "seconds"}]}

Where the disks were stored in between, these `disks` are of the first leg, and `seconds` of both; there is also

    "second_leg": {"worker", "bytes_sent", "seconds", "disks": [as above, without "reads"]}

After a verification `info[instance]["last_verification"]` = the result of its COMPARE_DESTINATION_DISKS task, ranges as
[offset, length]; `wrong` are the disks that differ for certain:

    {"execution_id", "point", "verified_at", "equal", "wrong": [disk_id],
     "disks": [{"disk_id", "size_bytes", "stretch_bytes", "equal_bytes", "changed", "different", "tracked"}]}

`deployment.transfer_result[instance]`, growing while the deployment goes on:

    {"machine": {"id", "name", "details"}, "disks": [{"disk_id", "volume_id", "size_bytes", "format", "storage"}],
     "morphing": {"os": {"family", "distribution", "version", "product_name", "architecture"}, "changes": [str],
                  "seconds"} | None,
     "probe": {"passed", "saw", "seconds", "console_tail": [str]} | None,
     "source_stopped_at": str | None, "boot_passed_at": str | None, "downtime_seconds": float | None,
     "replica": last_pass | None, "test": {"network", "minutes"} | None}
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from isthmus.control.errors import NotFound
from isthmus.migration.model import (
    EXECUTION_MOVES,
    ExecutionStatus,
    TaskStatus,
    sources_of,
    task_sources_of,
)
from isthmus.migration.reporting import Level, Progress
from isthmus.migration.tables import (
    DeploymentRow,
    ExecutionRow,
    TaskEventRow,
    TaskProgressRow,
    TaskRow,
    TransferRow,
)

Action = TypeVar("Action", TransferRow, DeploymentRow)

_ROW_IDS = uuid.UUID("5f0b1b52-1f5a-4a7e-8a43-7cf9d2a5b0e1")
_JSON: TypeAdapter[Any] = TypeAdapter(Any)

CONDUCTOR_EVENTS = 1_000_000_000
"""Events that the conductor itself adds to a task are numbered from here, after all that attempts can tell."""


def json_of(facts: Any) -> Any:
    """Return facts as plain JSON values, as a JSON column takes them."""
    return _JSON.dump_python(facts, mode="json")


def move_execution(session: Session, execution_id: str, target: ExecutionStatus, now: datetime) -> bool:
    """Move an execution and its action's `last_execution_status`, if the move is allowed now. Return whether it was."""
    sources = sources_of(EXECUTION_MOVES, target)
    moved = session.execute(
        update(ExecutionRow)
        .where(ExecutionRow.id == execution_id, ExecutionRow.status.in_(sources))
        .values(status=target, updated_at=now)
        .execution_options(synchronize_session="evaluate")
    )
    won = _rows(moved) == 1
    if won:
        action_id = session.scalar(select(ExecutionRow.action_id).where(ExecutionRow.id == execution_id))
        for table in (TransferRow, DeploymentRow):
            session.execute(
                update(table)
                .where(table.id == action_id)
                .values(last_execution_status=target, updated_at=now)
                .execution_options(synchronize_session="evaluate")
            )
    return won


def move_task(session: Session, task_id: str, target: TaskStatus, now: datetime, *, error: str | None = None) -> bool:
    """Move a task if the move is allowed now. Return whether it was."""
    moved = session.execute(
        update(TaskRow)
        .where(TaskRow.id == task_id, TaskRow.status.in_(task_sources_of(target)))
        .values(status=target, updated_at=now, **({"exception_details": error} if error else {}))
        .execution_options(synchronize_session="evaluate")
    )
    return _rows(moved) == 1


def _rows(result: Any) -> int:
    return int(result.rowcount)


def execution(session: Session, execution_id: str) -> ExecutionRow:
    """Return an execution's row; `NotFound` if there is none."""
    row = session.get(ExecutionRow, execution_id)
    if row is None:
        raise NotFound(f"there is no execution {execution_id}: nothing can be done for it")
    return row


def locked_transfer(session: Session, transfer_id: str) -> TransferRow:
    """Return a transfer's row, locked until the transaction ends: instances write their parts of `info` at once."""
    return _locked(session, TransferRow, transfer_id, "transfer")


def _locked(session: Session, table: type[Action], row_id: str, what: str) -> Action:
    # An update takes the lock on every database; SQLite has no SELECT … FOR UPDATE.
    session.execute(
        update(table).where(table.id == row_id).values(id=row_id).execution_options(synchronize_session=False)
    )
    row = session.get(table, row_id, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no {what} {row_id}: nothing can be recorded for it")
    return row


def save_info(session: Session, transfer_id: str, instance: str, info: dict[str, Any], now: datetime) -> None:
    """Replace what a transfer knows of one instance."""
    row = locked_transfer(session, transfer_id)
    row.info = {**(row.info or {}), instance: json_of(info)}
    row.version = (row.version or 0) + 1
    row.updated_at = now


def save_result(session: Session, deployment_id: str, instance: str, result: dict[str, Any], now: datetime) -> None:
    """Replace one instance's part of a deployment's `transfer_result`."""
    row = _locked(session, DeploymentRow, deployment_id, "deployment")
    row.transfer_result = {**(row.transfer_result or {}), instance: json_of(result)}
    row.updated_at = now


def add_tasks(session: Session, tasks: Sequence[TaskRow]) -> None:
    """Add the tasks that are not there yet."""
    known = set(session.scalars(select(TaskRow.id).where(TaskRow.id.in_([task.id for task in tasks]))))
    session.add_all(task for task in tasks if task.id not in known)


def add_events(session: Session, task_id: str, events: Iterable[tuple[int, Level, str]], now: datetime) -> None:
    """Add the numbered events that are not there yet: a heartbeat and the result may both bring one."""
    wanted = {index: (level, message) for index, level, message in events}
    if not wanted:
        return
    known = set(
        session.scalars(
            select(TaskEventRow.index).where(TaskEventRow.task_id == task_id, TaskEventRow.index.in_(list(wanted)))
        )
    )
    for index, (level, message) in wanted.items():
        if index not in known:
            session.add(
                TaskEventRow(
                    id=str(uuid.uuid5(_ROW_IDS, f"{task_id}/event/{index}")),
                    task_id=task_id,
                    level=level,
                    message=message,
                    index=index,
                    created_at=now,
                )
            )


def add_conductor_event(session: Session, task_id: str, level: Level, message: str, now: datetime) -> None:
    """Add an event of the conductor's own, once for each message."""
    messages = session.scalars(
        select(TaskEventRow.message).where(TaskEventRow.task_id == task_id, TaskEventRow.index >= CONDUCTOR_EVENTS)
    ).all()
    if message not in messages:
        add_events(session, task_id, [(CONDUCTOR_EVENTS + len(messages), level, message)], now)


def save_progress(session: Session, task_id: str, progress: Iterable[Progress], now: datetime) -> None:
    """Replace what is known of each subject. A subject keeps the place that it got first."""
    rows = {row.message.partition(":")[0]: row for row in _progress_rows(session, task_id)}
    for each in progress:
        row = rows.get(each.subject)
        if row is None:
            row = TaskProgressRow(
                id=str(uuid.uuid5(_ROW_IDS, f"{task_id}/progress/{each.subject}")),
                task_id=task_id,
                index=len(rows),
                created_at=now,
            )
            rows[each.subject] = row
            session.add(row)
        row.current_step, row.total_steps, row.message = each.done, each.total, progress_line(each)


def _progress_rows(session: Session, task_id: str) -> Sequence[TaskProgressRow]:
    return session.scalars(
        select(TaskProgressRow).where(TaskProgressRow.task_id == task_id).order_by(TaskProgressRow.index)
    ).all()


def progress_line(progress: Progress) -> str:
    """Return the progress as people read it: "disk vda: 120.3 MiB/s, 12 s left". The subject ends at the colon."""
    parts = []
    if progress.rate:
        rate = f"{progress.rate / 2**20:.1f} MiB/s" if progress.unit == "bytes" else f"{progress.rate:.1f} a second"
        parts.append(rate)
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{progress.seconds_left:.0f} s left")
    if not parts:
        parts.append("done" if progress.done >= progress.total else "under way")
    return f"{progress.subject}: {', '.join(parts)}"


def end_open_tasks(session: Session, execution_id: str, now: datetime) -> None:
    """Close the tasks that an ended execution did not need, and those that never learned how they ended."""
    closing = {
        TaskStatus.SCHEDULED: TaskStatus.UNSCHEDULED,
        TaskStatus.EXECUTE_ON_ERROR_ONLY: TaskStatus.UNSCHEDULED,
        TaskStatus.RUNNING: TaskStatus.ERROR,
    }
    for status, target in closing.items():
        session.execute(
            update(TaskRow)
            .where(TaskRow.execution_id == execution_id, TaskRow.status == status)
            .values(status=target, updated_at=now)
            .execution_options(synchronize_session="evaluate")
        )


def tell(session: Session, execution_row: ExecutionRow, level: Level, message: str, now: datetime) -> None:
    """Add an event about a whole execution to the last of its tasks; without tasks nobody could see it."""
    last = session.scalar(
        select(TaskRow.id).where(TaskRow.execution_id == execution_row.id).order_by(TaskRow.index.desc()).limit(1)
    )
    if last is not None:
        add_conductor_event(session, last, level, message, now)


def explain(session: Session, execution_row: ExecutionRow, message: str, now: datetime) -> None:
    """Tell why an execution failed outside of any of its steps: with its last touched task, or one made for it."""
    task = session.scalar(
        select(TaskRow)
        .where(TaskRow.execution_id == execution_row.id, TaskRow.status == TaskStatus.RUNNING)
        .order_by(TaskRow.index.desc())
    ) or session.scalar(select(TaskRow).where(TaskRow.execution_id == execution_row.id).order_by(TaskRow.index))
    if task is None:
        task = TaskRow(
            id=str(uuid.uuid5(_ROW_IDS, f"{execution_row.id}/explanation")),
            execution_id=execution_row.id,
            instance="",
            status=TaskStatus.ERROR,
            task_type=FIRST_TASKS[execution_row.type],
            index=0,
            depends_on=[],
            on_error=False,
            created_at=now,
        )
        session.add(task)
        session.flush()
    task.exception_details = message
    add_conductor_event(session, task.id, Level.ERROR, message, now)


FIRST_TASKS = {
    "transfer_execution": "VALIDATE_TRANSFER_SOURCE_INPUTS",
    "deployment": "VALIDATE_DEPLOYMENT_INPUTS",
    "transfer_disks_delete": "DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS",
    "transfer_update": "GET_INSTANCE_INFO",
    "transfer_verification": "GET_INSTANCE_INFO",
}
