"""Minion pools and services with a real conductor and worker."""

import time
import uuid
from typing import Any

import pytest
from lab.cloud_files import set_up
from lab.engine_room import PROJECT, EngineRoom, Move
from sqlalchemy import select

from isthmus.control import outbox
from isthmus.control.database import utc_now
from isthmus.control.diagnostics import host_name
from isthmus.control.engine import Engine
from isthmus.control.errors import Unavailable
from isthmus.control.queues import CONDUCTOR_QUEUE, host_queue
from isthmus.migration.model import ExecutionType, PoolStatus
from isthmus.migration.store import requests
from isthmus.migration.tables import ExecutionRow, MinionMachineRow, MinionPoolRow, ServiceRow, TransferRow


def _pool(room: EngineRoom, move: Move, *, size: int = 1, status: PoolStatus = PoolStatus.ALLOCATED) -> str:
    pool_id = str(uuid.uuid4())
    with room.database.transaction() as session:
        session.add(
            MinionPoolRow(
                id=pool_id,
                project_id=PROJECT,
                user_id="u",
                name="pool",
                endpoint_id=move.endpoints["source"],
                os_type="linux",
                platform="source",
                environment_options={},
                minimum_minions=1,
                maximum_minions=size,
                minion_max_idle_time=3600,
                minion_retention_strategy="delete",
                status=status,
                created_at=utc_now(),
            )
        )
        if status is PoolStatus.VALIDATING_INPUTS:
            argument = {"pool_id": pool_id, "action": "allocate", "trust_id": None}
            outbox.start(
                session, workflow="MinionPoolAction", workflow_id=f"pool-{pool_id}", argument=argument, now=utc_now()
            )
    return pool_id


def _status(room: EngineRoom, pool_id: str) -> str:
    with room.database.transaction() as session:
        return str(session.get_one(MinionPoolRow, pool_id).status)


def _in_use(room: EngineRoom, pool_id: str) -> list[str | None]:
    with room.database.transaction() as session:
        rows = session.scalars(select(MinionMachineRow).where(MinionMachineRow.pool_id == pool_id))
        return [row.allocated_instance for row in rows if row.allocation_status == "IN_USE"]


def _use(room: EngineRoom, move: Move, pool_id: str) -> None:
    with room.database.transaction() as session:
        session.get_one(TransferRow, move.id).origin_minion_pool_id = pool_id


def _begin(room: EngineRoom, move: Move) -> str:
    run = ExecutionRow(
        id=str(uuid.uuid4()),
        action_id=move.id,
        project_id=PROJECT,
        type=ExecutionType.TRANSFER_EXECUTION,
        tasks=[],
        created_at=utc_now(),
    )
    with room.database.transaction() as session:
        transfer = requests.claim_transfer(session, PROJECT, move.id)
        requests.start_execution(session, transfer, run)
    return run.id


def test_a_pool_of_a_cloud_that_answers_is_allocated(room: EngineRoom) -> None:
    pool_id = _pool(room, room.move(), status=PoolStatus.VALIDATING_INPUTS)
    room.wait(lambda: _status(room, pool_id) == "ALLOCATED", "allocation")
    with room.database.transaction() as session:
        row = session.get_one(MinionPoolRow, pool_id)
        assert len(row.machines) == 1
        assert [event.index for event in row.events] == list(range(len(row.events)))


def test_a_pool_of_a_cloud_that_refuses_ends_as_an_error_with_the_reason(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, fail={"validate_connection": "not-authenticated"})
    pool_id = _pool(room, move, status=PoolStatus.VALIDATING_INPUTS)
    room.wait(lambda: _status(room, pool_id) == "ERROR", "error")
    with room.database.transaction() as session:
        assert session.get_one(MinionPoolRow, pool_id).events[-1].level == "ERROR"


def test_a_full_pool_lets_one_machine_after_the_other_work(room: EngineRoom) -> None:
    move = room.move(machines=3)
    pool_id = _pool(room, move)
    _use(room, move, pool_id)
    set_up(move.source, hold=["open_reading"])
    run_id = _begin(room, move)
    move.called(move.source, "open_reading")
    assert move.execution(run_id).status == "RUNNING"
    assert _in_use(room, pool_id) == ["machine0"]
    statuses = {task.instance: set() for task in move.execution(run_id).tasks}  # type: dict[str, set[str]]
    for task in move.execution(run_id).tasks:
        statuses[task.instance].add(task.status)
    assert "RUNNING" not in statuses["machine1"] | statuses["machine2"]
    set_up(move.source, hold=[])
    assert move.ended(run_id, limit=120).status == "COMPLETED"
    assert _in_use(room, pool_id) == []
    assert move.same_disks()


def test_one_that_waits_for_a_pool_is_cancelled_at_once(room: EngineRoom) -> None:
    move, other = room.move(), room.move()
    pool_id = _pool(room, move)
    for each in (move, other):
        _use(room, each, pool_id)
    set_up(move.source, hold=["open_reading"])
    first = _begin(room, move)
    move.called(move.source, "open_reading")
    second = _begin(room, other)
    room.wait(lambda: other.execution(second).tasks, "plan")
    time.sleep(1)
    assert other.execution(second).status == "AWAITING_MINION_ALLOCATIONS"
    other.cancel(second)
    assert other.ended(second, limit=30).status == "CANCELED"
    assert _in_use(room, pool_id) == ["machine0"]
    set_up(move.source, hold=[])
    assert move.ended(first).status == "COMPLETED"
    assert _in_use(room, pool_id) == []


def test_a_pool_that_is_taken_away_ends_those_that_wait(room: EngineRoom) -> None:
    move = room.move()
    pool_id = _pool(room, move)
    _use(room, move, pool_id)
    room.kill("conductor")
    run_id = _begin(room, move)
    with room.database.transaction() as session:
        session.get_one(MinionPoolRow, pool_id).status = PoolStatus.DEALLOCATED
    room.start("conductor")
    run = move.ended(run_id)
    assert run.status == "ERROR_ALLOCATING_MINIONS"
    assert "allocate it first" in str(run.tasks[0].exception_details)


def test_a_worker_makes_itself_known_and_answers_by_its_host(room: EngineRoom) -> None:
    def known() -> ServiceRow | None:
        with room.database.transaction() as session:
            return session.scalar(select(ServiceRow).where(ServiceRow.host == host_name()))

    row: ServiceRow = room.wait(known, "service")
    assert (row.binary, row.mapped_regions) == ("isthmus-worker", ["default"])
    engine = Engine(room.conf)

    def ask(queue: str) -> dict[str, Any]:
        return engine.ask("AskService", {"queue": queue}, timeout_seconds=20)

    try:
        assert ask(host_queue(host_name()))["diagnostics"]["application"] == "isthmus-worker"
        assert ask(CONDUCTOR_QUEUE)["diagnostics"]["application"] == "isthmus-conductor"
        began = time.monotonic()
        with pytest.raises(Unavailable):
            ask(host_queue("the-moon"))
        assert time.monotonic() - began < 20
    finally:
        engine.close()
