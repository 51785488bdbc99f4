"""Schedules on the real database, with a conductor of their own or several, one of which is killed."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from lab.engine_room import PROJECT, EngineRoom, Move
from sqlalchemy import select

from isthmus.control.database import utc_now
from isthmus.migration.services.timekeeper import Timekeeper
from isthmus.migration.tables import ExecutionRow, ScheduleFiringRow, ScheduleRow


def _schedule(room: EngineRoom, move: Move, due: datetime) -> str:
    schedule_id = str(uuid.uuid4())
    with room.database.transaction() as session:
        session.add(
            ScheduleRow(
                id=schedule_id,
                project_id=PROJECT,
                user_id="u",
                transfer_id=move.id,
                schedule={"minute": due.minute, "hour": due.hour},
                enabled=True,
                shutdown_instance=False,
                auto_deploy=False,
                next_due_at=due,
                created_at=utc_now(),
            )
        )
    return schedule_id


def _fired(room: EngineRoom, schedule_id: str) -> list[ScheduleFiringRow]:
    with room.database.transaction() as session:
        return list(session.scalars(select(ScheduleFiringRow).where(ScheduleFiringRow.schedule_id == schedule_id)))


def _executions(room: EngineRoom, move: Move) -> list[str]:
    with room.database.transaction() as session:
        return list(session.scalars(select(ExecutionRow.id).where(ExecutionRow.action_id == move.id)))


def test_a_schedule_has_its_transfer_executed(room: EngineRoom) -> None:
    move = room.move()
    schedule_id = _schedule(room, move, utc_now())
    room.wait(lambda: _fired(room, schedule_id), "firing")
    (run_id,) = _executions(room, move)
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()


def test_of_many_conductors_on_the_real_database_one_fires(room: EngineRoom) -> None:
    moves = [room.move() for _ in range(4)]
    due = utc_now() + timedelta(days=1)
    schedules = [_schedule(room, move, due) for move in moves]
    keepers = [Timekeeper(room.database, lambda: due) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda keeper: keeper.fire_schedules(), keepers))
    for move, schedule_id in zip(moves, schedules, strict=True):
        assert [firing.outcome for firing in _fired(room, schedule_id)] == ["STARTED"]
        (run_id,) = _executions(room, move)
        assert move.ended(run_id).status == "COMPLETED"


def test_a_killed_conductor_neither_loses_nor_doubles_a_due_time(room: EngineRoom) -> None:
    move = room.move()
    due = utc_now() + timedelta(seconds=1)
    schedule_id = _schedule(room, move, due)
    for _ in range(2):
        room.wait(lambda: utc_now() > due, "due time")
        room.kill("conductor")
        room.start("conductor")
    room.wait(lambda: _fired(room, schedule_id), "firing")
    (run_id,) = _executions(room, move)
    assert move.ended(run_id, limit=90).status == "COMPLETED"
    assert [firing.outcome for firing in _fired(room, schedule_id)] == ["STARTED"]
