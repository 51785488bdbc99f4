"""Where disk steps run, with real conductors and workers, of which some die."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import MIB, EngineRoom, Move
from sqlalchemy import select, update

from isthmus.control.database import utc_now
from isthmus.migration.placement_tables import PlacementRow, WorkerRow
from isthmus.migration.store import workers
from isthmus.migration.tables import ExecutionRow

COPY = "REPLICATE_DISKS"
SLOW = 4 * MIB
NAMES = ("worker@east", "worker@west")


def _up(room: EngineRoom) -> dict[int, WorkerRow]:
    """Return the workers that are up by process."""
    with room.database.transaction() as session:
        return {row.process_id: row for row in workers.known(session) if workers.is_up(row, utc_now())}


def _holder(room: EngineRoom, execution_id: str) -> str | None:
    with room.database.transaction() as session:
        return session.scalar(select(PlacementRow.worker_id).where(PlacementRow.execution_id == execution_id))


def _events(move: Move, run_id: str) -> list[str]:
    tasks = [task for task in move.execution(run_id).tasks if task.task_type == COPY]
    return [event.message for task in tasks for event in task.events]


@pytest.fixture(scope="module")
def _instead(room: EngineRoom) -> Iterator[None]:
    """Two workers instead of the room's own, while this module's tests run."""
    room.stop("worker")
    yield
    for name in filter(room.runs, NAMES):
        room.stop(name)
    room.start("worker")


@pytest.fixture
def others(room: EngineRoom, _instead: None) -> dict[int, str]:
    """Two slow workers beside each other; by process their names."""
    for name in NAMES:
        if not room.runs(name):
            room.start(name, settings(room, name))
    running = {room.pid(name): name for name in NAMES}
    room.wait(lambda: set(_up(room)) == set(running), "leases of both workers")
    return running


def settings(room: EngineRoom, name: str) -> str:
    staging = staging_of(room, name)
    return f"[worker]\nactivities = 1\nbandwidth_limit = {SLOW}\nstaging_dir = {staging}\n"


def staging_of(room: EngineRoom, name: str) -> Path:
    return room.root / "staged" / name


def test_a_workers_facts_are_heard_of_and_end_with_it(room: EngineRoom, others: dict[int, str]) -> None:
    row = _up(room)[room.pid("worker@east")]
    assert (row.regions, row.platforms, row.slots, row.copy_limit) == (["default"], ["files"], 1, SLOW)
    assert 0 < row.staging_free <= row.staging_total
    begun = row.seen_at
    room.wait(lambda: _up(room)[row.process_id].seen_at > begun, "second heartbeat")
    assert room.stop("worker@east") == 0
    room.wait(lambda: row.process_id not in _up(room), "end of the lease")
    room.start("worker@east", settings(room, "worker@east"))
    again = room.wait(lambda: _up(room).get(room.pid("worker@east")), "lease of the next process")
    assert again.id == row.id


def test_copies_are_spread_and_wait_in_line_for_a_slot(room: EngineRoom, others: dict[int, str]) -> None:
    move = room.move(machines=3)
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    room.wait(lambda: calls(move.source).count("open_reading") == 2, "two copies")

    def line() -> list[str]:
        tasks = [task for task in move.execution(run_id).tasks if task.task_type == COPY]
        return [event.message for task in tasks if task.status == "SCHEDULED" for event in task.events]

    (message,) = room.wait(line, "a step in line")
    assert "slots are taken" in message
    with room.database.transaction() as session:
        held = session.scalars(select(PlacementRow.worker_id).where(PlacementRow.worker_id.is_not(None))).all()
    assert set(held) == {row.id for row in _up(room).values()}
    set_up(move.source, hold=[])
    run = move.ended(run_id, limit=120)
    assert run.status == "COMPLETED"
    assert {task.process_id for task in run.tasks if task.task_type == COPY} == set(others)
    assert move.same_disks()
    assert _holder(room, run_id) is None


def test_a_cancel_ends_the_waiting_too(room: EngineRoom, others: dict[int, str]) -> None:
    first, second = room.move(machines=2), room.move()
    set_up(first.source, hold=["open_reading"])
    run_id = first.begin()
    room.wait(lambda: calls(first.source).count("open_reading") == 2, "two copies")
    waiting = second.begin()
    room.wait(lambda: any("waits in line" in each for each in _events(second, waiting)), "a step in line")
    second.cancel(waiting)
    assert second.ended(waiting).status == "CANCELED"
    assert _holder(room, waiting) is None
    set_up(first.source, hold=[])
    assert first.ended(run_id).status == "COMPLETED"
    assert leftovers(second.source) == leftovers(second.destination) == []


def test_a_copy_goes_on_at_another_worker_when_its_own_is_killed(room: EngineRoom, others: dict[int, str]) -> None:
    move = room.move(size=80 * MIB)
    run_id = move.begin()

    def copied() -> bool:
        tasks = [task for task in move.execution(run_id).tasks if task.task_type == COPY]
        return any(row.current_step > SLOW for task in tasks for row in task.progress_updates)

    room.wait(copied, "some bytes")
    dead = str(_holder(room, run_id))
    process = next(number for number, row in _up(room).items() if row.id == dead)
    before = calls(move.source).count("open_reading")
    room.kill(others[process])
    killed_at = time.monotonic()
    room.wait(lambda: calls(move.source).count("open_reading") > before, "the copy elsewhere", 120)
    print(f"RECOVERY {time.monotonic() - killed_at:.1f} s from kill -9 to the step running on another worker")
    assert _holder(room, run_id) not in {None, dead}
    assert process not in _up(room)
    run = move.ended(run_id, limit=120)
    assert run.status == "COMPLETED"
    assert move.same_disks()
    assert move.task(run_id, COPY).process_id in set(others) - {process}
    assert any(f"worker {dead[:8]} stopped answering" in each for each in _events(move, run_id))
    assert move.info()["copied_by"] not in {None, dead}
    assert _holder(room, run_id) is None
    assert list(move.source.glob("exports/*.pid")) == []
    # What the dead one kept is of no use; it forgets it when it comes again.
    kept = staging_of(room, others[process]) / move.id
    assert kept.exists()
    room.start(others[process], settings(room, others[process]))
    room.wait(lambda: not kept.exists(), "the old journal forgotten")


def test_a_place_whose_execution_was_lost_is_taken_back(room: EngineRoom, others: dict[int, str]) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    assert _holder(room, run_id) is not None
    room.kill("conductor")
    # As if its end had been recorded by hand while nobody could give the place back.
    with room.database.transaction() as session:
        session.execute(update(ExecutionRow).where(ExecutionRow.id == run_id).values(status="ERROR"))
    room.start("conductor")
    room.wait(lambda: _holder(room, run_id) is None, "the place taken back")
    set_up(move.source, hold=[])
