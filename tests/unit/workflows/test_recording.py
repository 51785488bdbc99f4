"""Guarded moves and once-only records, on SQLite."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.control.database import Base, Database
from isthmus.migration.model import EXECUTION_MOVES, TASK_MOVES, ExecutionStatus, TaskStatus
from isthmus.migration.reporting import Level, Progress
from isthmus.migration.store import recording
from isthmus.migration.tables import ExecutionRow, TaskEventRow, TaskProgressRow, TaskRow

NOW = datetime(2030, 1, 1)  # noqa: DTZ001 - rows keep UTC without a zone


@pytest.fixture
def session() -> Iterator[Session]:
    database = Database("sqlite://")
    Base.metadata.create_all(database.engine)
    with database.transaction() as made:
        yield made
    database.close()


def execution(session: Session, status: str) -> ExecutionRow:
    row = ExecutionRow(
        id="e",
        action_id="a",
        project_id="p",
        type="transfer_execution",
        status=status,
        number=1,
        created_at=NOW,
        shutdown_instances=False,
        auto_deploy=False,
    )
    session.add(row)
    session.flush()
    return row


def task(session: Session, status: str) -> TaskRow:
    execution(session, "RUNNING")
    row = TaskRow(
        id="t", execution_id="e", instance="i", status=status, task_type="REPLICATE_DISKS", index=0, created_at=NOW
    )
    session.add(row)
    session.flush()
    return row


@pytest.mark.parametrize("source", list(EXECUTION_MOVES))
@pytest.mark.parametrize(
    "target", [ExecutionStatus.RUNNING, ExecutionStatus.COMPLETED, ExecutionStatus.ERROR, ExecutionStatus.CANCELED]
)
def test_executions_move_along_the_table_only(
    session: Session, source: ExecutionStatus, target: ExecutionStatus
) -> None:
    row = execution(session, source)
    allowed = target in EXECUTION_MOVES[source]
    assert recording.move_execution(session, "e", target, NOW) is allowed
    assert row.status == (target if allowed else source)


@pytest.mark.parametrize("source", list(TASK_MOVES))
@pytest.mark.parametrize("target", [TaskStatus.RUNNING, TaskStatus.COMPLETED, TaskStatus.ERROR, TaskStatus.CANCELED])
def test_tasks_move_along_the_table_only(session: Session, source: TaskStatus, target: TaskStatus) -> None:
    row = task(session, source)
    allowed = target in TASK_MOVES[source]
    assert recording.move_task(session, "t", target, NOW) is allowed
    assert row.status == (target if allowed else source)


def test_an_event_is_recorded_once(session: Session) -> None:
    task(session, "RUNNING")
    recording.add_events(session, "t", [(0, Level.INFO, "a"), (1, Level.INFO, "b")], NOW)
    session.flush()
    recording.add_events(session, "t", [(1, Level.INFO, "b"), (2, Level.INFO, "c")], NOW)
    session.flush()
    rows = session.scalars(select(TaskEventRow).order_by(TaskEventRow.index)).all()
    assert [row.message for row in rows] == ["a", "b", "c"]


def test_progress_of_a_subject_is_replaced_in_its_place(session: Session) -> None:
    task(session, "RUNNING")
    recording.save_progress(session, "t", [Progress("disk vda", 1, 4), Progress("disk vdb", 0, 4)], NOW)
    session.flush()
    recording.save_progress(session, "t", [Progress("disk vda", 3, 4, rate=2.0 * 2**20, seconds_left=7)], NOW)
    session.flush()
    rows = session.scalars(select(TaskProgressRow).order_by(TaskProgressRow.index)).all()
    assert [(row.current_step, row.message) for row in rows] == [
        (3, "disk vda: 2.0 MiB/s, 7 s left"),
        (0, "disk vdb: under way"),
    ]


def test_a_conductors_event_is_said_once_and_after_all_others(session: Session) -> None:
    task(session, "RUNNING")
    recording.add_events(session, "t", [(5, Level.INFO, "a")], NOW)
    for _ in range(2):
        recording.add_conductor_event(session, "t", Level.ERROR, "lost", NOW)
        session.flush()
    rows = session.scalars(select(TaskEventRow).order_by(TaskEventRow.index)).all()
    assert [row.message for row in rows] == ["a", "lost"]


def test_a_failure_outside_of_steps_is_explained_in_a_task(session: Session) -> None:
    row = execution(session, "RUNNING")
    recording.explain(session, row, "the endpoint is gone", NOW)
    session.flush()
    made = session.scalars(select(TaskRow)).one()
    assert made.status == "ERROR"
    assert made.exception_details == "the endpoint is gone"
