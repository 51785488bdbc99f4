"""The line of disk steps and their places, on real databases; what each gets is decided as in a conductor."""

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import delete, select

from isthmus.control.database import Database, utc_now
from isthmus.control.outbox import OutboxRow
from isthmus.control.queues import own_queue
from isthmus.migration.model import ExecutionStatus, TaskStatus, TaskType
from isthmus.migration.placement_tables import PlacementRow, PlacementTurnRow, WorkerRow
from isthmus.migration.planning.placement import Limits, Use, UseKind, Wish
from isthmus.migration.store import recording, workers
from isthmus.migration.tables import EndpointRow, ExecutionRow, TaskEventRow, TaskProgressRow, TaskRow, TransferRow
from isthmus.migration.workflows.calls import PLACED, StepBegun, StepStart, WorkerFacts
from isthmus.migration.workflows.placing import Placing

LINK = Use(UseKind.LINK, "north -> south")
WISH = Wish(("north",), "a", staging_bytes=10, uses=(LINK,))
THREADS = 20
TABLES = (
    *(PlacementRow, WorkerRow, TaskEventRow, TaskProgressRow, TaskRow, ExecutionRow, OutboxRow),
    *(TransferRow, EndpointRow),
)


class Line:
    """One execution with as many steps as are wanted, and workers."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.execution = str(uuid.uuid4())
        with database.transaction() as session:
            session.add(
                ExecutionRow(
                    id=self.execution,
                    action_id=str(uuid.uuid4()),
                    project_id="p",
                    type="transfer_execution",
                    status=ExecutionStatus.RUNNING,
                    number=1,
                    created_at=utc_now(),
                )
            )

    def worker(self, *, slots: int = 2, staging: int = 1000) -> str:
        worker_id = str(uuid.uuid4())
        facts = WorkerFacts(worker_id, "h", 1, ("north",), ("a",), slots, 0, staging, staging)
        with self.database.transaction() as session:
            workers.record(session, recording.json_of(facts), utc_now())
        return worker_id

    def start(self, wish: Wish = WISH) -> StepStart:
        step_id = str(uuid.uuid4())
        with self.database.transaction() as session:
            session.add(
                TaskRow(
                    id=step_id,
                    execution_id=self.execution,
                    instance="x",
                    status=TaskStatus.SCHEDULED,
                    task_type=TaskType.REPLICATE_DISKS,
                    depends_on=[],
                    index=0,
                    on_error=False,
                    created_at=utc_now(),
                )
            )
        return StepStart(self.execution, step_id, wish=wish)

    def placing(self, now: datetime | None = None, **limits: int) -> Placing:
        return Placing(self.database, Limits(**limits), utc_now if now is None else lambda: now)

    def events(self, step: StepStart) -> list[str]:
        with self.database.transaction() as session:
            wanted = select(TaskEventRow.message).where(TaskEventRow.task_id == step.step_id)
            return list(session.scalars(wanted.order_by(TaskEventRow.index)))

    def in_line(self, step: StepStart) -> tuple[int, int | None]:
        with self.database.transaction() as session:
            wanted = select(TaskProgressRow).where(TaskProgressRow.task_id == step.step_id)
            row = session.scalars(wanted).one()
            return row.current_step, row.total_steps

    def told(self) -> list[tuple[str, str]]:
        with self.database.transaction() as session:
            rows = session.scalars(select(OutboxRow).where(OutboxRow.workflow == PLACED).order_by(OutboxRow.id))
            return [(row.workflow_id, str((row.input or {})["argument"])) for row in rows]

    def rows(self) -> list[PlacementRow]:
        with self.database.transaction() as session:
            return list(session.scalars(select(PlacementRow)))


@pytest.fixture
def line(database: Database) -> Iterator[Line]:
    yield Line(database)
    with database.transaction() as session:
        for table in TABLES:
            session.execute(delete(table))


def begin_at_once(line: Line, placings: list[Placing], wish: Wish = WISH) -> list[StepBegun]:
    starts = [line.start(wish) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        calls = [threads.submit(placings[n % len(placings)].begin, each) for n, each in enumerate(starts)]
        return [each.result() for each in calls]


def test_of_twenty_at_once_as_many_are_placed_as_there_are_slots(line: Line) -> None:
    for slots in (1, 2):
        line.worker(slots=slots)
    begun = begin_at_once(line, [line.placing(), line.placing()])
    assert sum(each.worker is not None for each in begun) == 3
    assert sum(each.waits for each in begun) == THREADS - 3
    assert sum(row.worker_id is not None for row in line.rows()) == 3


def test_of_twenty_at_once_no_more_are_placed_than_there_is_room_for(line: Line) -> None:
    line.worker(slots=64, staging=45)
    begun = begin_at_once(line, [line.placing()])
    assert sum(each.worker is not None for each in begun) == 4


def test_of_twenty_at_once_no_more_are_placed_than_a_limit_allows(line: Line) -> None:
    line.worker(slots=64)
    begun = begin_at_once(line, [line.placing(link=5)])
    assert sum(each.worker is not None for each in begun) == 5


def test_a_place_that_is_given_back_goes_to_who_came_first_and_is_told(line: Line) -> None:
    worker_id = line.worker(slots=1)
    placing = line.placing()
    first, second, third = (line.start() for _ in range(3))
    assert placing.begin(first) == StepBegun(queue=own_queue(worker_id), worker=worker_id)
    assert placing.begin(first).worker == worker_id
    assert [placing.begin(each).waits for each in (second, third)] == [True, True]
    assert "slots are taken" in line.events(third)[0]
    assert [line.in_line(each) for each in (second, third)] == [(0, 1), (0, 2)]
    placing.end(first.step_id)
    placing.end(first.step_id)
    assert line.told() == [(f"execution-{line.execution}", second.step_id)]
    assert placing.begin(third).waits
    assert placing.begin(second).worker == worker_id
    assert line.in_line(second) == (1, 1)


def test_who_gives_up_waiting_leaves_the_line(line: Line) -> None:
    line.worker(slots=1)
    placing = line.placing()
    first, second, third = (line.start() for _ in range(3))
    for each in (first, second, third):
        placing.begin(each)
    placing.end(second.step_id)
    placing.end(first.step_id)
    assert line.told() == [(f"execution-{line.execution}", third.step_id)]


def test_a_step_moves_on_from_a_worker_that_is_silent(line: Line) -> None:
    one, two = line.worker(), line.worker()
    placing = line.placing()
    start = line.start()
    dead = str(placing.begin(start).worker)
    with line.database.transaction() as session:
        assert workers.lapse(session, dead)
        assert not workers.lapse(session, dead)
    moved = replace(start, lost=dead)
    begun = [placing.begin(moved), placing.begin(moved), placing.begin(start)]
    assert {each.worker for each in begun} == {one, two} - {dead}
    assert "reads the destination" in line.events(start)[0]
    assert len(line.rows()) == 1


def test_a_worker_that_nobody_has_heard_of_for_long_gets_nothing(line: Line) -> None:
    line.worker()
    later = line.placing(utc_now() + timedelta(minutes=1))
    start = line.start()
    assert later.begin(start).waits
    assert "silent" in line.events(start)[0]


def test_a_step_that_no_worker_could_hold_is_refused_and_holds_nothing(line: Line) -> None:
    line.worker(staging=5)
    begun = line.placing().begin(line.start())
    assert begun.refused is not None
    assert "5: give a worker a larger one" in begun.refused
    assert line.rows() == []


def test_places_of_ended_executions_are_taken_back(line: Line) -> None:
    line.worker(slots=1)
    placing = line.placing()
    held, other = line.start(), Line(line.database)
    placing.begin(held)
    waiting = other.start()
    assert placing.begin(waiting).waits
    assert placing.look() == 0
    with line.database.transaction() as session:
        session.get_one(ExecutionRow, line.execution).status = ExecutionStatus.ERROR
    assert placing.look() == 1
    assert line.told() == [(f"execution-{other.execution}", waiting.step_id)]
    assert [row.step_id for row in line.rows() if row.worker_id] == [waiting.step_id]


def test_old_workers_are_forgotten_unless_a_step_has_a_place_there(line: Line) -> None:
    for _ in range(2):
        line.worker()
    kept = line.placing().begin(line.start()).worker
    with line.database.transaction() as session:
        workers.forget_old(session, utc_now() + timedelta(days=2))
        assert [row.id for row in workers.known(session)] == [kept]


def test_the_line_is_there_again_where_its_turn_was_lost(line: Line) -> None:
    line.worker(slots=1)
    with line.database.transaction() as session:
        session.execute(delete(PlacementTurnRow))
    begins = [partial(line.placing().begin, line.start()) for _ in range(2)]
    assert [begin().waits for begin in begins] == [False, True]


def test_journals_are_of_no_use_where_another_copied_since(line: Line) -> None:
    here, there = line.worker(), line.worker()
    rows = {
        "moved": ({"x": {"copied_by": there}}, None),
        "own": ({"x": {"copied_by": here}}, None),
        "first": ({}, None),
        "gone": ({}, utc_now()),
        "going": ({"x": {"copied_by": here}}, utc_now()),
    }
    with line.database.transaction() as session:
        for name, (info, deleted_at) in rows.items():
            for row in _transfer(name, info, deleted_at):
                session.add(row)
                session.flush()
    with line.database.transaction() as session:
        found = workers.strays(session, here, [*rows, "unknown"])
        assert sorted(found) == [("gone", "x"), ("moved", "x")]
        session.get_one(ExecutionRow, line.execution).action_id = "moved"
    placed = line.placing()
    start = line.start(replace(WISH, home=here))
    assert placed.begin(start).worker == here
    with line.database.transaction() as session:
        assert workers.strays(session, here, list(rows)) == [("gone", "x")]


def _transfer(name: str, info: Mapping[str, object], deleted_at: datetime | None) -> list[object]:
    endpoint = EndpointRow(
        id=f"of {name}",
        project_id="p",
        user_id="u",
        name=name,
        type="a",
        connection_info={},
        mapped_regions=[],
        created_at=utc_now(),
    )
    transfer = TransferRow(
        id=name,
        project_id="p",
        user_id="u",
        scenario="replica",
        origin_endpoint_id=endpoint.id,
        destination_endpoint_id=endpoint.id,
        instances=["x"],
        source_environment={},
        destination_environment={},
        network_map={},
        storage_mappings={},
        info=dict(info),
        created_at=utc_now(),
        deleted_at=deleted_at,
    )
    return [endpoint, transfer]
