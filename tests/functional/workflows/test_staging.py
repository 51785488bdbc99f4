"""A copy whose disks are stored on a worker of a third region, and go on from there."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from lab.cloud_files import leftovers
from lab.engine_room import MIB, PROJECT, EngineRoom, Move
from sqlalchemy import select
from tests.functional.workflows.test_two_sites import between, exports, said, start_site

from isthmus.control.database import utc_now
from isthmus.migration.model import ExecutionType
from isthmus.migration.placement_tables import PlacementRow, WorkerRow
from isthmus.migration.planning.placement import Wish
from isthmus.migration.tables import ExecutionRow

HUB, FAR = "worker@hub", "worker@beyond"
ON_LOOPBACK = "channel_listen = 127.0.0.1:0\n"
SLOW = f"bandwidth_limit = {12 * MIB}\n"
HERE = f"[worker]\n{SLOW}staged = beyond:hub, nowhere:default\n"


@pytest.fixture(scope="module", autouse=True)
def _sites(room: EngineRoom) -> Iterator[None]:
    """The source's worker and the destination's listen nowhere: only the hub can be connected to."""
    room.stop("worker")
    room.start("worker", HERE)
    start_hub(room)
    start_far(room)
    yield
    for name in ("worker", FAR, HUB):
        if room.runs(name):
            room.stop(name)
    room.start("worker")


def start_hub(room: EngineRoom) -> None:
    start_site(room, HUB, "hub", f"bandwidth_limit = {6 * MIB}\n{ON_LOOPBACK}")


def start_far(room: EngineRoom) -> None:
    start_site(room, FAR, "beyond", "")


def areas(room: EngineRoom) -> list[Path]:
    """Return all that the hub stores."""
    return sorted((room.root / "worker-hub" / "disks").glob("*"))


def rooms_held(room: EngineRoom) -> int:
    with room.database.transaction() as session:
        return len(session.scalars(select(PlacementRow.step_id)).all())


def progress(move: Move, run_id: str, leg: int) -> int:
    """Return how many bytes of a leg are settled."""
    updates = move.task(run_id, "REPLICATE_DISKS").progress_updates
    return max((int(each.current_step or 0) for each in updates if f"leg {leg} of 2" in each.message), default=0)


def in_leg(room: EngineRoom, move: Move, run_id: str, leg: int) -> int:
    move.running(run_id, "REPLICATE_DISKS")
    room.wait(lambda: progress(move, run_id, leg), f"a settled part of leg {leg}", 90)
    return progress(move, run_id, leg)


def waits(move: Move, run_id: str) -> str:
    return (
        said(move, run_id) if any(task.task_type == "REPLICATE_DISKS" for task in move.execution(run_id).tasks) else ""
    )


@contextmanager
def crowded(room: EngineRoom) -> Iterator[None]:
    """Have a step of an execution that runs hold all the room of the hub."""
    holder = room.move()
    run_id, now = str(uuid.uuid4()), utc_now()
    with room.database.transaction() as session:
        hub = next(row for row in session.scalars(select(WorkerRow)) if row.regions == ["hub"])
        wish = Wish(("hub",), "", staging_bytes=hub.staging_total, stores=True)
        facts = {"action_id": holder.id, "project_id": PROJECT, "number": 1, "created_at": now}
        session.add(ExecutionRow(id=run_id, type="transfer_execution", status="RUNNING", **facts))
        session.flush()
        session.add(
            PlacementRow(
                step_id=str(uuid.uuid4()),
                execution_id=run_id,
                number=0,
                wish=asdict(wish),
                worker_id=hub.id,
                bandwidth=0,
                created_at=now,
                held_at=now,
            )
        )
    yield
    with room.database.transaction() as session:
        session.get_one(ExecutionRow, run_id).status = "ERROR"


def test_a_machine_moves_by_way_of_a_store_and_its_increment_too(room: EngineRoom) -> None:
    move = between(room, room.move(disks=2), "beyond")
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED", said(move, run_id)
    told = said(move, run_id)
    assert "leg 1 of 2: the disks go to worker" in told
    assert "leg 2 of 2: worker" in told
    assert move.same_disks()
    with (move.source / "disks" / "machine0-disk1.raw").open("r+b") as disk:
        disk.seek(3 * MIB)
        disk.write(b"later" * 1000)
        disk.seek(0)
        disk.write(bytes(MIB))
    run_id = move.begin(shutdown_instances=True)
    assert move.ended(run_id).status == "COMPLETED", said(move, run_id)
    assert move.same_disks()
    last = move.info()["last_pass"]
    assert last["bytes_sent"] == last["second_leg"]["bytes_sent"] <= 2 * 65536
    assert move.ended(move.begin(ExecutionType.TRANSFER_VERIFICATION)).status == "COMPLETED"
    assert move.info()["last_verification"]["equal"] is True
    assert areas(room) == []
    assert exports(move) == []
    assert rooms_held(room) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("leg", [1, 2])
def test_the_hub_is_killed_and_goes_on_where_it_was(room: EngineRoom, leg: int) -> None:
    move = between(room, room.move(size=96 * MIB), "beyond")
    run_id = move.begin()
    done = in_leg(room, move, run_id, leg)
    room.kill(HUB)
    start_hub(room)
    assert move.ended(run_id, limit=180).status == "COMPLETED", said(move, run_id)
    assert move.same_disks()
    last = move.info()["last_pass"]
    resumed = last["disks"] if leg == 1 else last["second_leg"]["disks"]
    assert resumed[0]["bytes_resumed"] >= done > 0
    assert areas(room) == []
    assert exports(move) == []
    assert rooms_held(room) == 0


@pytest.mark.parametrize("leg", [1, 2])
def test_a_cancel_in_either_leg_leaves_nothing(room: EngineRoom, leg: int) -> None:
    move = between(room, room.move(size=96 * MIB), "beyond")
    run_id = move.begin()
    in_leg(room, move, run_id, leg)
    assert len(areas(room)) == 1
    assert areas(room)[0].stat().st_mode & 0o777 == 0o700
    move.cancel(run_id)
    assert move.ended(run_id).status == "CANCELED"
    assert areas(room) == []
    assert leftovers(move.source) == leftovers(move.destination) == []
    assert rooms_held(room) == 0


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_the_source_is_gone_while_the_second_leg_goes_on_and_the_destination_comes_late(room: EngineRoom) -> None:
    """The two sites are never there at the same time, once the destination's disks are open."""
    move = between(room, room.move(size=48 * MIB), "beyond")
    run_id = move.begin()
    in_leg(room, move, run_id, 1)
    room.stop(FAR)
    room.wait(lambda: "verified where it is staged" in said(move, run_id), "the end of the first leg", 90)
    room.kill("worker")
    start_far(room)
    room.wait(lambda: "every chunk is verified at the destination" in said(move, run_id), "the end of the second", 90)
    room.start("worker", HERE)
    assert move.ended(run_id).status == "COMPLETED", said(move, run_id)
    assert move.same_disks()
    assert areas(room) == []


@pytest.mark.nightly
def test_what_a_dead_worker_has_left_is_swept_when_it_is_back(room: EngineRoom) -> None:
    move = between(room, room.move(size=96 * MIB), "beyond")
    run_id = move.begin()
    in_leg(room, move, run_id, 1)
    room.kill(HUB)
    move.cancel(run_id)
    assert move.ended(run_id).status == "CANCELED"
    assert len(areas(room)) == 1
    start_hub(room)
    room.wait(lambda: areas(room) == [], "a swept staging directory", 60)


def test_a_hub_without_a_channel_is_named(room: EngineRoom) -> None:
    move = between(room, room.move(), "nowhere")
    start_site(room, "worker@nowhere", "nowhere", "")
    run_id = move.begin()
    assert move.ended(run_id).status == "ERROR"
    assert "cannot stage the disks for region nowhere: set [worker] channel_listen there" in said(move, run_id)
    assert leftovers(move.source) == leftovers(move.destination) == []
    room.stop("worker@nowhere")


def test_too_little_space_is_waited_for_by_name_and_bytes(room: EngineRoom) -> None:
    """The hub's worker is shown to have less room than the disks need, as its next heartbeat would show it."""
    move = between(room, room.move(size=8 * MIB), "beyond")
    with crowded(room):
        run_id = move.begin()
        room.wait(lambda: "bytes must be staged, and of what is not reserved" in waits(move, run_id), "a wait for room")
    assert move.ended(run_id, limit=90).status == "COMPLETED", said(move, run_id)
    assert "has room to stage" in said(move, run_id)
    assert move.same_disks()


def test_a_cancel_in_line_for_room_leaves_nothing(room: EngineRoom) -> None:
    move = between(room, room.move(), "beyond")
    with crowded(room):
        run_id = move.begin()
        room.wait(lambda: "bytes must be staged" in waits(move, run_id), "a wait for room")
        move.cancel(run_id)
        assert move.ended(run_id).status == "CANCELED"
        assert rooms_held(room) == 1
    assert areas(room) == []
    assert leftovers(move.source) == leftovers(move.destination) == []
