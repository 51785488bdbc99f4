"""Assessments through the engine: real workflow, worker and database, simulated clouds."""

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab.cloud_files import calls, make_machine, set_up
from lab.engine_room import MIB, PROJECT, EngineRoom, Move
from sqlalchemy import select
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from isthmus.control.database import utc_now
from isthmus.control.engine import EngineAddress, connect
from isthmus.migration.services.assessment_keeper import AssessmentKeeper
from isthmus.migration.store import assessments
from isthmus.migration.tables import AssessedMachineRow, AssessmentRow

CANCEL_REQUESTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED


def begin(move: Move, *, destination: bool = True, told: bool = True, **wanted: Any) -> str:
    """Accept an assessment as the API does and return its id; the engine hears of it only if `told`."""
    made = str(uuid.uuid4())
    facts = {"instances": None, "wishes": {"network_map": {"lan": "lan"}, "skip_os_morphing": True}}
    with move.room.database.transaction() as session:
        row = AssessmentRow(
            id=made,
            project_id=PROJECT,
            user_id="u",
            endpoint_id=move.endpoints["source"],
            destination_endpoint_id=move.endpoints["destination"] if destination else None,
            status="RUNNING",
            done=0,
            created_at=utc_now(),
            **{**facts, **wanted},
        )
        if told:
            assessments.start(session, row)
        else:
            session.add(row)
    return made


def row_of(move: Move, assessment_id: str) -> AssessmentRow:
    with move.room.database.transaction() as session:
        return session.get_one(AssessmentRow, assessment_id)


def ended(move: Move, assessment_id: str, limit: float = 90) -> AssessmentRow:
    move.room.wait(lambda: row_of(move, assessment_id).status != "RUNNING", f"end of {assessment_id}", limit)
    return row_of(move, assessment_id)


def codes(move: Move, assessment_id: str) -> dict[str, set[str]]:
    with move.room.database.transaction() as session:
        wanted = select(AssessedMachineRow).where(AssessedMachineRow.assessment_id == assessment_id)
        return {row.instance: {each["code"] for each in row.concerns or ()} for row in session.scalars(wanted)}


def add_machines(cloud: Path, names: list[str]) -> None:
    for name in names:
        (cloud / "disks" / f"{name}.raw").touch()
        make_machine(cloud, name, [("disk0", f"{name}.raw", 4 * MIB)])


def test_one_machine_is_assessed_at_both_ends(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.destination, capacity={"memory_mb": 64}, free_bytes=3 * MIB)
    made = begin(move, instances=["machine0"])
    row = ended(move, made)
    assert (row.status, row.error, row.done, row.total) == ("COMPLETED", None, 1, 1)
    assert codes(move, made) == {"machine0": {"NO_BITMAP", "TOO_LITTLE_SPACE", "INSTANCE_TOO_LARGE"}}
    assert row.result is not None
    assert row.result["machines"]["critical"] == 1


def test_a_whole_cloud_is_assessed_and_one_bad_machine_hides_no_other(room: EngineRoom) -> None:
    move = room.move(machines=2)
    add_machines(move.source, ["refused1", "surprising1", *(f"more{number}" for number in range(56))])
    made = begin(move, destination=False)
    row = ended(move, made)
    assert (row.status, row.done, row.total) == ("COMPLETED", 60, 60)
    found = codes(move, made)
    assert found.pop("refused1") == {"SOURCE_REFUSES", "NO_BITMAP"}
    assert found.pop("surprising1") == {"SOURCE_REFUSES", "NO_BITMAP"}
    assert set(map(frozenset, found.values())) == {frozenset({"NO_BITMAP"})}


@pytest.mark.nightly
def test_more_than_a_thousand_machines_take_more_than_one_run(room: EngineRoom) -> None:
    move = room.move()
    add_machines(move.source, [f"more{number:04}" for number in range(1009)])
    made = begin(move)
    row = ended(move, made, limit=300)
    assert (row.status, row.done, row.total) == ("COMPLETED", 1010, 1010)
    assert row.result is not None
    assert row.result["machines"]["assessed"] == 1010
    history = asyncio.run(_events_of(room, assessments.workflow_id(made)))
    # The last run's alone: the thousand of the first began it anew.
    assert history < 60


async def _events_of(room: EngineRoom, workflow_id: str) -> int:
    client = await connect(EngineAddress.of(room.conf))
    return (await client.get_workflow_handle(workflow_id).describe()).history_length


def test_a_machine_that_is_not_there_is_a_concern(room: EngineRoom) -> None:
    move = room.move()
    made = begin(move, instances=["machine0", "nowhere"])
    assert ended(move, made).status == "COMPLETED"
    assert codes(move, made)["nowhere"] == {"MACHINE_UNREADABLE"}


@pytest.mark.nightly  # four waits of the retries; the system tests have a silent cloud, too
def test_a_silent_cloud_ends_it_with_the_reason(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, fail={"validate_source": "unavailable"})
    row = ended(move, begin(move, instances=["machine0"]))
    assert row.status == "ERROR"
    assert "validate_source" in (row.error or "")


def test_killed_processes_cost_nothing_that_was_assessed(room: EngineRoom) -> None:
    move = room.move()
    add_machines(move.source, [f"more{number:02}" for number in range(40)])
    set_up(move.destination, hold=["list_networks"])
    made = begin(move)
    move.called(move.destination, "list_networks")
    for name in ("worker", "conductor"):
        room.kill(name)
    room.plane.kill("temporal")
    set_up(move.destination, hold=[])
    for name in ("conductor", "worker"):
        room.start(name)
    row = ended(move, made)
    assert (row.status, row.done, row.total) == ("COMPLETED", 41, 41)
    # Changing nothing is the promise: only questions were asked.
    assert set(calls(move.destination)) <= {"list_networks", "validate_destination"}


def test_a_deleted_one_stops_asking(room: EngineRoom) -> None:
    move = room.move()
    add_machines(move.source, [f"more{number:02}" for number in range(40)])
    set_up(move.source, hold=["validate_source"])
    made = begin(move)
    move.called(move.source, "validate_source")
    with room.database.transaction() as session:
        row = assessments.running(session, made)
        assert row is not None
        assessments.remove(session, row, utc_now())
    asyncio.run(_until_ended(room, assessments.workflow_id(made), partial(set_up, move.source, hold=[])))
    assert codes(move, made) == {}
    assert calls(move.source).count("validate_source") < 40


async def _until_ended(room: EngineRoom, workflow_id: str, release: Callable[[], None]) -> None:
    """Release what is held once the cancel has arrived: on a fast machine all would be looked at before it does."""
    client = await connect(EngineAddress.of(room.conf))
    handle = client.get_workflow_handle(workflow_id)
    for _ in range(600):
        if CANCEL_REQUESTED in [each.event_type async for each in handle.fetch_history_events()]:
            break
        await asyncio.sleep(0.1)
    release()
    try:
        await asyncio.wait_for(handle.result(), 60)
    except WorkflowFailureError as error:
        # Without one the cancel met a look that was just done; then there was no next batch.
        if not isinstance(error.cause, CancelledError):
            raise


def test_what_the_engine_does_not_know_is_begun_again(room: EngineRoom) -> None:
    move = room.move()
    made = begin(move, instances=["machine0"], told=False)  # as if the engine's database had been lost since
    assert row_of(move, made).status == "RUNNING"
    asyncio.run(_look_twice(room))
    assert ended(move, made).status == "COMPLETED"


def test_one_that_was_ended_in_the_engine_itself_says_so(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["validate_source"])
    made = begin(move, instances=["machine0"])
    move.called(move.source, "validate_source")

    async def terminate() -> None:
        client = await connect(EngineAddress.of(room.conf))
        await client.get_workflow_handle(assessments.workflow_id(made)).terminate()

    asyncio.run(terminate())
    asyncio.run(_look_twice(room))
    set_up(move.source, hold=[])
    row = row_of(move, made)
    assert row.status == "ERROR"
    assert "assess again" in (row.error or "")


async def _look_twice(room: EngineRoom) -> None:
    client = await connect(EngineAddress.of(room.conf))
    keeper = AssessmentKeeper(room.database, utc_now, grace=0)
    await keeper.look(client)
    await keeper.look(client)
