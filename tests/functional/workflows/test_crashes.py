"""What happens when a service, the engine or its memory goes away in the midst of work."""

import asyncio
import time
import uuid

import psutil
import pytest
from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import MIB, EngineRoom, Move
from sqlalchemy import func, select

from isthmus.control import outbox
from isthmus.control.database import utc_now
from isthmus.control.engine import Engine, EngineAddress, connect
from isthmus.control.errors import InvalidInput, NotFound, Unavailable
from isthmus.migration.services.recorder import Recorder
from isthmus.migration.tables import ExecutionRow


def test_killed_worker_is_replaced_in_the_midst_of_a_step(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    room.kill("worker")
    set_up(move.source, hold=[])
    room.start("worker")
    run = move.ended(run_id)
    assert run.status == "COMPLETED"
    assert move.same_disks()
    events = [event.message for event in move.task(run_id, "REPLICATE_DISKS").events]
    assert any(event.startswith("attempt 2") for event in events)


def test_worker_told_to_stop_hands_its_step_back_at_once(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    assert room.stop("worker") == 0
    set_up(move.source, hold=[])
    room.start("worker")
    assert move.ended(run_id, limit=60).status == "COMPLETED"


def test_killed_conductor_and_engine_go_on_where_they_were(room: EngineRoom) -> None:
    move = room.move(size=16 * MIB)
    set_up(move.destination, hold=["open_writing"])
    run_id = move.begin()
    move.called(move.destination, "open_writing")
    room.kill("conductor")
    room.plane.kill("temporal")
    set_up(move.destination, hold=[])
    room.start("conductor")
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()


def test_cancel_with_no_worker_is_undone_when_one_comes(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    room.kill("worker")
    move.cancel(run_id)
    room.start("worker")
    assert move.ended(run_id).status == "CANCELED"
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_entry_that_cannot_be_told_does_not_hold_up_others(room: EngineRoom) -> None:
    with room.database.transaction() as session:
        # The engine refuses a workflow without an id.
        outbox.start(session, workflow="x" * 90, workflow_id="", argument={}, now=utc_now())
    move = room.move()
    assert move.ended(move.begin()).status == "COMPLETED"
    with room.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(outbox.OutboxRow)) == 1
        session.query(outbox.OutboxRow).delete()


def test_execution_lost_to_the_engine_ends_with_an_explanation(room: EngineRoom) -> None:
    move = room.move()
    run_id = str(uuid.uuid4())
    with room.database.transaction() as session:
        session.add(
            ExecutionRow(
                id=run_id,
                action_id=move.id,
                project_id="p",
                type="transfer_execution",
                status="RUNNING",
                number=1,
                created_at=utc_now(),
            )
        )

    async def look_twice() -> None:
        client = await connect(EngineAddress.of(room.conf))
        recorder = Recorder(room.database, 1, utc_now, grace=0)
        await recorder.look(client)
        await recorder.look(client)

    asyncio.run(look_twice())
    run = move.execution(run_id)
    assert run.status == "ERROR"
    assert "no longer knows this execution" in run.tasks[0].events[0].message


def test_questions_are_answered_and_errors_keep_their_kind(room: EngineRoom) -> None:
    move = room.move()
    engine = Engine(room.conf)
    endpoint = {
        "id": move.endpoints["source"],
        "type": "files",
        "connection_info": {"secret_ref": str(move.source / "secret.json")},
        "mapped_regions": [],
    }

    def ask(question: str, **parameters: str) -> dict[str, object]:
        asked = {"question": question, "endpoint": endpoint, "trust_id": None, "parameters": parameters}
        return engine.ask("AskProvider", asked, timeout_seconds=20)

    try:
        assert ask("validate_connection") == {}
        machines = ask("list_machines")["machines"]
        assert isinstance(machines, list)
        assert machines[0]["name"] == "machine0"
        with pytest.raises(NotFound, match="nowhere"):
            ask("get_machine", instance="nowhere")
        endpoint["type"] = "marbles"
        with pytest.raises(InvalidInput, match="marbles"):
            ask("list_networks")
    finally:
        engine.close()


def test_question_nobody_can_answer_says_what_to_check(room: EngineRoom) -> None:
    engine = Engine(room.conf)
    endpoint = {"id": "1", "type": "files", "connection_info": {}, "mapped_regions": ["the-moon"]}
    try:
        with pytest.raises(Unavailable, match="worker serves"):
            engine.ask("AskProvider", {"question": "list_networks", "endpoint": endpoint}, timeout_seconds=2)
    finally:
        engine.close()


@pytest.mark.nightly
def test_worker_that_stood_still_does_not_disturb_its_successor(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    frozen = room.freeze("worker")
    room.start("worker")
    room.wait(lambda: calls(move.source).count("open_reading") >= 2, "second attempt", 120)
    set_up(move.source, hold=[])
    assert move.ended(run_id).status == "COMPLETED"
    room.thaw(frozen)
    assert move.same_disks()


def test_engine_that_was_away_for_long_does_not_make_two_attempts_at_once(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    engine = psutil.Process(room.plane.pid("temporal"))
    engine.suspend()
    time.sleep(12)
    engine.resume()
    # Either the heartbeats that waited are heard in time and the attempt goes on, or a second one takes its place.
    time.sleep(3)
    set_up(move.source, hold=[])
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()


@pytest.mark.parametrize("killed", [False, True], ids=["stands still", "is killed"])
def test_a_database_that_does_not_answer_delays_an_execution_and_no_more(room: EngineRoom, killed: bool) -> None:
    move, run_id = _held(room)
    database = psutil.Process(room.plane.pid("mariadb"))
    database.suspend()
    try:
        set_up(move.source, hold=[])
        # Longer than a workflow tries it within its own task: then the call waits in the queue.
        time.sleep(8)
    finally:
        if killed:
            # Waits until it is up again: the test reads it, too.
            room.plane.kill("mariadb")
            room.plane.wait_ready()
        else:
            database.resume()
    assert move.ended(run_id, limit=120).status == "COMPLETED"
    assert move.same_disks()
    assert "end_step" in asyncio.run(_queued(room, run_id))


def test_an_execution_that_waited_for_the_database_goes_on_in_another_conductor(room: EngineRoom) -> None:
    move, run_id = _held(room)
    database = psutil.Process(room.plane.pid("mariadb"))
    database.suspend()
    try:
        set_up(move.source, hold=[])
        room.wait(lambda: "end_step" in asyncio.run(_queued(room, run_id)), "call that waits in the queue")
        room.kill("conductor")
    finally:
        database.resume()
    room.start("conductor")
    assert move.ended(run_id, limit=120).status == "COMPLETED"
    assert move.same_disks()


def test_what_a_control_activity_refuses_ends_the_execution_with_its_reason(room: EngineRoom) -> None:
    move = room.move()
    room.kill("conductor")
    run_id = move.begin()
    with room.database.transaction() as session:
        # Gone, as if somebody had taken it from the database: nothing can be planned.
        session.get_one(ExecutionRow, run_id).action_id = str(uuid.uuid4())
    room.start("conductor")
    run = move.ended(run_id, limit=120)
    assert run.status == "ERROR"
    assert "is gone from the database" in str(run.tasks[0].exception_details)


def _held(room: EngineRoom) -> tuple[Move, str]:
    """Return a transfer whose execution, begun, is held as it opens its source."""
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    return move, run_id


async def _queued(room: EngineRoom, run_id: str) -> set[str]:
    """Return the activities that an execution's workflow gave to a queue."""
    client = await connect(EngineAddress.of(room.conf))
    events = client.get_workflow_handle(f"execution-{run_id}").fetch_history_events()
    return {event.activity_task_scheduled_event_attributes.activity_type.name async for event in events}
