"""Waves on a real engine and database, between simulated clouds."""

import asyncio
import uuid
from datetime import datetime, timedelta
from typing import Any

from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import PROJECT, EngineRoom, Move
from sqlalchemy import select

from isthmus.control.database import utc_now
from isthmus.control.engine import EngineAddress, connect
from isthmus.migration.model import ExecutionStatus, Gate, MemberStatus, WaveStatus
from isthmus.migration.services.wave_watch import WaveWatch
from isthmus.migration.store import requests, waves
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TransferRow, WaveGroupRow, WaveMemberRow, WaveRow

ENDED = frozenset({"COMPLETED", "ERROR", "CANCELED"})


class _Wave:
    """One wave, driven as the API does."""

    def __init__(self, room: EngineRoom, *groups: list[Move], manual: bool = False, **wishes: Any) -> None:
        self.room = room
        self.id = str(uuid.uuid4())
        facts = {"max_in_flight": 2, "auto_deploy": False, "shutdown_instances": False, "after": [], **wishes}
        made = [
            WaveGroupRow(
                id=str(uuid.uuid4()),
                index=index,
                name=f"group{index}",
                gate=Gate.MANUAL if manual and index else Gate.AUTO,
                status=WaveStatus.PENDING,
                members=[
                    WaveMemberRow(id=str(uuid.uuid4()), index=place, transfer_id=move.id, status=MemberStatus.PENDING)
                    for place, move in enumerate(moves)
                ],
            )
            for index, moves in enumerate(groups)
        ]
        with room.database.transaction() as session:
            session.add(
                WaveRow(
                    id=self.id,
                    project_id=PROJECT,
                    user_id="u",
                    name="night",
                    status=WaveStatus.PENDING,
                    run=0,
                    groups=made,
                    created_at=utc_now(),
                    **facts,
                )
            )

    def act(self, function: Any, *arguments: Any) -> None:
        with self.room.database.transaction() as session:
            function(session, waves.claim(session, PROJECT, self.id), *arguments, utc_now())

    def start(self) -> None:
        self.act(waves.start)

    def row(self) -> WaveRow:
        with self.room.database.transaction() as session:
            row = session.get_one(WaveRow, self.id)
            assert waves.members(row)
            return row

    def statuses(self) -> list[str]:
        return [member.status for member in waves.members(self.row())]

    def reached(self, *wanted: str, limit: float = 90) -> WaveRow:
        self.room.wait(lambda: self.row().status in wanted, f"wave {' or '.join(wanted)}", limit)
        return self.row()

    def ended(self, limit: float = 90) -> WaveRow:
        return self.reached(*ENDED, limit=limit)


def _executions(room: EngineRoom, move: Move) -> list[ExecutionRow]:
    with room.database.transaction() as session:
        rows = session.scalars(select(ExecutionRow).where(ExecutionRow.action_id == move.id))
        return list(rows.all())


def test_one_failure_stops_no_other_and_its_retry_completes(room: EngineRoom) -> None:
    moves = [room.move() for _ in range(5)]
    set_up(moves[2].source, fail={"open_reading": "step-failed"})
    wave = _Wave(room, moves)
    wave.start()
    row = wave.ended()
    assert row.status == "ERROR"
    assert wave.statuses() == ["COMPLETED", "COMPLETED", "ERROR", "COMPLETED", "COMPLETED"]
    assert "told to fail" in str(waves.members(row)[2].message)
    assert leftovers(moves[2].source) == leftovers(moves[2].destination) == []
    set_up(moves[2].source, fail={})
    wave.act(waves.retry)
    wave.room.wait(lambda: wave.row().run == 2 and wave.row().status == "COMPLETED", "retried wave", 60)
    assert wave.statuses() == ["COMPLETED"] * 5
    assert [len(_executions(room, move)) for move in moves] == [1, 1, 2, 1, 1]
    assert all(move.same_disks() for move in moves)


def test_no_more_are_in_flight_than_the_limit_says(room: EngineRoom) -> None:
    moves = [room.move() for _ in range(4)]
    for move in moves:
        set_up(move.source, hold=["open_reading"])
    wave = _Wave(room, moves)
    wave.start()
    for move in moves[:2]:
        move.called(move.source, "open_reading")
    wave.act(waves.look)
    assert wave.statuses() == ["EXECUTING", "EXECUTING", "PENDING", "PENDING"]
    for move in moves:
        set_up(move.source, hold=[])
    assert wave.ended().status == "COMPLETED"


def test_groups_follow_one_another_and_a_gate_waits_for_its_approval(room: EngineRoom) -> None:
    first, second = room.move(), room.move()
    wave = _Wave(room, [first], [second], manual=True)
    wave.start()
    row = wave.reached("AWAITING_APPROVAL")
    assert [group.status for group in row.groups] == ["COMPLETED", "AWAITING_APPROVAL"]
    assert calls(second.source) == []
    wave.act(waves.approve, None)
    assert wave.ended().status == "COMPLETED"
    assert second.same_disks()


def test_an_automatic_gate_stays_shut_behind_a_failure_and_opens_after_its_retry(room: EngineRoom) -> None:
    first, second = room.move(), room.move()
    set_up(first.source, fail={"open_reading": "step-failed"})
    wave = _Wave(room, [first], [second])
    wave.start()
    assert wave.ended().status == "ERROR"
    assert wave.statuses() == ["ERROR", "PENDING"]
    set_up(first.source, fail={})
    wave.act(waves.retry)
    wave.room.wait(lambda: wave.row().run == 2 and wave.row().status == "COMPLETED", "retried wave", 60)
    assert wave.statuses() == ["COMPLETED", "COMPLETED"]


def test_machines_are_deployed_and_a_failed_deployment_is_retried(room: EngineRoom) -> None:
    moves = [room.move(), room.move()]
    set_up(moves[0].destination, fail={"create_machine": "step-failed"})
    wave = _Wave(room, moves, auto_deploy=True)
    wave.start()
    assert wave.ended().status == "ERROR"
    assert wave.statuses() == ["ERROR", "COMPLETED"]
    set_up(moves[0].destination, fail={})
    wave.act(waves.retry)
    wave.room.wait(lambda: wave.row().run == 2 and wave.row().status == "COMPLETED", "retried wave", 60)
    with room.database.transaction() as session:
        made = {
            move.id: len(session.scalars(select(DeploymentRow).where(DeploymentRow.transfer_id == move.id)).all())
            for move in moves
        }
    assert list(made.values()) == [2, 1]


def test_a_cancelled_wave_undoes_what_is_in_flight_and_begins_nothing(room: EngineRoom) -> None:
    moves = [room.move() for _ in range(3)]
    for move in moves:
        set_up(move.source, hold=["open_reading"])
    wave = _Wave(room, moves)
    wave.start()
    for move in moves[:2]:
        move.called(move.source, "open_reading")
    wave.act(waves.cancel)
    assert wave.ended(limit=30).status == "CANCELED"
    assert wave.statuses() == ["CANCELED"] * 3
    assert calls(moves[2].source) == []
    for move in moves:
        assert leftovers(move.source) == leftovers(move.destination) == []


def test_a_wave_waits_for_its_time_and_for_other_waves(room: EngineRoom) -> None:
    first = _Wave(room, [room.move()])
    second = _Wave(room, [room.move()], after=[first.id])
    second.start()
    room.wait(lambda: second.row().message, "reason to wait")
    assert first.id in str(second.row().message)
    due = utc_now() + timedelta(seconds=2)
    with room.database.transaction() as session:
        row = waves.claim(session, PROJECT, first.id)
        row.starts_at = due
        waves.schedule(session, row, utc_now())
    assert first.ended().status == "COMPLETED"
    assert _began(first) >= due
    assert second.ended().status == "COMPLETED"


def _began(wave: _Wave) -> datetime:
    moments = [member.started_at for member in waves.members(wave.row())]
    assert all(moments)
    return min(moment for moment in moments if moment)


def test_a_busy_transfer_is_waited_for(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    with room.database.transaction() as session:
        transfer = requests.claim_transfer(session, PROJECT, move.id)
        mine = ExecutionRow(
            id=str(uuid.uuid4()),
            action_id=move.id,
            project_id=PROJECT,
            type="transfer_execution",
            tasks=[],
            created_at=utc_now(),
        )
        requests.start_execution(session, transfer, mine)
    wave = _Wave(room, [move])
    wave.start()
    room.wait(lambda: waves.members(wave.row())[0].message, "reason to wait")
    assert mine.id in str(waves.members(wave.row())[0].message)
    set_up(move.source, hold=[])
    assert wave.ended().status == "COMPLETED"
    assert len(_executions(room, move)) == 2


def test_a_member_whose_transfer_is_gone_fails_alone(room: EngineRoom) -> None:
    moves = [room.move(), room.move()]
    with room.database.transaction() as session:
        session.get_one(TransferRow, moves[0].id).deleted_at = utc_now()
    wave = _Wave(room, moves)
    wave.start()
    assert wave.ended().status == "ERROR"
    assert wave.statuses() == ["ERROR", "COMPLETED"]


def test_killed_services_and_engine_go_on_with_a_wave_and_do_nothing_twice(room: EngineRoom) -> None:
    moves = [room.move() for _ in range(4)]
    for move in moves[:2]:
        set_up(move.source, hold=["open_reading"])
    wave = _Wave(room, moves)
    wave.start()
    moves[0].called(moves[0].source, "open_reading")
    room.kill("conductor")
    room.kill("worker")
    room.plane.kill("temporal")
    for move in moves:
        set_up(move.source, hold=[])
    room.plane.wait_ready()
    room.start("conductor")
    room.start("worker")
    assert wave.ended(limit=120).status == "COMPLETED"
    assert [len(_executions(room, move)) for move in moves] == [1, 1, 1, 1]
    assert all(move.same_disks() for move in moves)


def test_a_wave_whose_workflow_the_engine_lost_is_taken_up_by_another(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    wave = _Wave(room, [move])
    wave.start()
    move.called(move.source, "open_reading")

    async def lose() -> None:
        client = await connect(EngineAddress.of(room.conf))
        await client.get_workflow_handle(f"wave-{wave.id}-1").terminate()
        watch = WaveWatch(room.database, utc_now, grace=0)
        while wave.row().run == 1:
            await watch.look(client)
            await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(lose(), 20))
    assert wave.row().run == 2
    set_up(move.source, hold=[])
    assert wave.ended().status == "COMPLETED"
    assert [run.status for run in _executions(room, move)] == [ExecutionStatus.COMPLETED]
