"""A copy between two regions that no worker has in common: one worker sends, another receives."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
from lab.cloud_files import leftovers, set_up
from lab.engine_room import MIB, EngineRoom, Move

from isthmus.migration.model import ExecutionType
from isthmus.migration.tables import EndpointRow

FAR = "worker@far"
SLOWLY = f"[worker]\nbandwidth_limit = {12 * MIB}\n"
ON_LOOPBACK = "channel_listen = 127.0.0.1:0\n"


@pytest.fixture(scope="module", autouse=True)
def _slow_sender(room: EngineRoom) -> Iterator[None]:
    """Have copies from the first region take seconds."""
    room.stop("worker")
    room.start("worker", SLOWLY)
    yield
    room.stop("worker")
    room.start("worker")


@contextmanager
def far_worker(room: EngineRoom, more: str = ON_LOOPBACK) -> Iterator[None]:
    start_far(room, more)
    try:
        yield
    finally:
        room.stop(FAR)


def start_far(room: EngineRoom, more: str = ON_LOOPBACK) -> None:
    room.start(FAR, f"[worker]\nqueues = far\nstaging_dir = {room.root}/far\n{more}")


def between(room: EngineRoom, move: Move, source: str = "default", destination: str = "far") -> Move:
    with room.database.transaction() as session:
        for end, region in (("source", source), ("destination", destination)):
            session.get_one(EndpointRow, move.endpoints[end]).mapped_regions = [region]
    return move


def said(move: Move, run_id: str) -> str:
    return "\n".join(event.message for event in move.task(run_id, "REPLICATE_DISKS").events)


def settled(move: Move, run_id: str) -> int:
    """Return how many bytes a copy under way has recorded as done."""
    updates = move.task(run_id, "REPLICATE_DISKS").progress_updates
    return max((int(each.current_step or 0) for each in updates), default=0)


def exports(move: Move) -> list[str]:
    """Return what either cloud still serves."""
    return [path.name for cloud in (move.source, move.destination) for path in (cloud / "exports").glob("*.pid")]


def listening(room: EngineRoom) -> int:
    """Return at how many TCP ports the far worker waits for others."""
    process = psutil.Process(room.pid(FAR))
    return sum(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))


def in_the_midst(room: EngineRoom, move: Move, run_id: str) -> int:
    move.running(run_id, "REPLICATE_DISKS")
    room.wait(lambda: settled(move, run_id), "a settled part of the copy", 60)
    return settled(move, run_id)


def test_a_machine_moves_between_sites_and_back_and_is_verified(room: EngineRoom) -> None:
    with far_worker(room):
        move = between(room, room.move(disks=2))
        run_id = move.begin()
        assert move.ended(run_id).status == "COMPLETED"
        assert "through the data channel to worker" in said(move, run_id)
        assert move.same_disks()
        with (move.source / "disks" / "machine0-disk1.raw").open("r+b") as disk:
            disk.seek(3 * MIB)
            disk.write(b"later" * 1000)
        run_id = move.begin(shutdown_instances=True)
        assert move.ended(run_id).status == "COMPLETED"
        assert move.same_disks()
        assert move.info()["last_pass"]["bytes_sent"] <= 2 * 65536
        assert move.ended(move.begin(ExecutionType.TRANSFER_VERIFICATION)).status == "COMPLETED"
        assert move.info()["last_verification"]["equal"] is True
        assert listening(room) == 0
        assert exports(move) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", ["worker", FAR])
def test_either_end_is_killed_and_the_copy_goes_on_where_it_was(room: EngineRoom, victim: str) -> None:
    with far_worker(room):
        move = between(room, room.move(size=96 * MIB))
        run_id = move.begin()
        done = in_the_midst(room, move, run_id)
        room.kill(victim)
        if victim == FAR:
            start_far(room)
        else:
            room.start(victim, SLOWLY)
        assert move.ended(run_id, limit=120).status == "COMPLETED"
        assert move.same_disks()
        assert move.info()["last_pass"]["disks"][0]["bytes_resumed"] >= done > 0
        assert listening(room) == 0
        assert exports(move) == []


def test_cancel_ends_both_ends_and_leaves_nothing(room: EngineRoom) -> None:
    with far_worker(room):
        move = between(room, room.move(size=96 * MIB))
        run_id = move.begin()
        in_the_midst(room, move, run_id)
        assert listening(room) == 1
        move.cancel(run_id)
        assert move.ended(run_id, limit=30).status == "CANCELED"
        assert listening(room) == 0
        assert leftovers(move.source) == leftovers(move.destination) == []


def test_what_fails_at_the_far_side_says_so(room: EngineRoom) -> None:
    with far_worker(room):
        move = between(room, room.move())
        set_up(move.source, hold=["shut_down"])
        run_id = move.begin(shutdown_instances=True)
        move.called(move.source, "shut_down")
        set_up(move.destination, fail={"open_writing": "step-failed"})
        set_up(move.source, hold=[])
        assert move.ended(run_id).status == "ERROR"
        assert "at the destination's side (region far): " in said(move, run_id)


def test_a_channel_behind_a_firewall_names_its_address_and_the_option(room: EngineRoom) -> None:
    with far_worker(room, f"{ON_LOOPBACK}channel_address = 127.0.0.1:9\n"):
        move = between(room, room.move())
        run_id = move.begin()
        move.running(run_id, "REPLICATE_DISKS")
        room.wait(lambda: "cannot be reached at 127.0.0.1:9" in said(move, run_id), "an event of the failure")
        assert "channel_listen" in said(move, run_id)
        move.cancel(run_id)
        assert move.ended(run_id, limit=60).status == "CANCELED"


def test_a_relay_passes_on_what_two_sites_cannot_tell_each_other(room: EngineRoom) -> None:
    room.stop("worker")
    room.start("worker", f"{SLOWLY}relays = far:hub\n")
    room.start("worker@hub", f"[worker]\nqueues = hub\nstaging_dir = {room.root}/hub\n{ON_LOOPBACK}")
    try:
        with far_worker(room, ""):
            move = between(room, room.move(disks=2))
            run_id = move.begin()
            assert move.ended(run_id).status == "COMPLETED"
            assert "which relays them to region far" in said(move, run_id)
            assert move.same_disks()
    finally:
        room.stop("worker@hub")
        room.stop("worker")
        room.start("worker", SLOWLY)


def test_a_relay_without_a_channel_is_named(room: EngineRoom) -> None:
    room.stop("worker")
    room.start("worker", f"{SLOWLY}relays = far:default\n")
    try:
        with far_worker(room):
            move = between(room, room.move())
            run_id = move.begin()
            assert move.ended(run_id).status == "ERROR"
            assert "of region default cannot relay: set [worker] channel_listen there" in said(move, run_id)
            assert leftovers(move.source) == leftovers(move.destination) == []
    finally:
        room.stop("worker")
        room.start("worker", SLOWLY)


def test_without_a_channel_the_sender_writes_to_the_destination_itself(room: EngineRoom) -> None:
    with far_worker(room, ""):
        move = between(room, room.move())
        run_id = move.begin()
        assert move.ended(run_id).status == "COMPLETED"
        assert "of region far has no data channel ([worker] channel_listen)" in said(move, run_id)
        assert move.same_disks()


def test_a_worker_of_both_regions_asks_nobody(room: EngineRoom) -> None:
    room.stop("worker")
    room.start("worker", "[worker]\nqueues = default, far\n")
    move = between(room, room.move())
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    assert "channel" not in said(move, run_id)
    assert move.same_disks()
    room.stop("worker")
    room.start("worker", SLOWLY)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_receiver_that_stands_still_is_replaced(room: EngineRoom) -> None:
    """A stopped process keeps its connections: nobody but the engine can tell."""
    with far_worker(room):
        move = between(room, room.move(size=96 * MIB))
        run_id = move.begin()
        in_the_midst(room, move, run_id)
        frozen = room.freeze(FAR)
        start_far(room)
        assert move.ended(run_id, limit=200).status == "COMPLETED"
        with suppress(ProcessLookupError):
            frozen.send_signal(signal.SIGCONT)
        assert move.same_disks()
