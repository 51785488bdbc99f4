"""A copy between two regions that no worker has in common: one worker sends, another receives."""

import asyncio
from collections.abc import Iterator

import psutil
import pytest
from lab.cloud_files import leftovers, set_up
from lab.engine_room import MIB, EngineRoom, Move

from isthmus.control.engine import EngineAddress, connect
from isthmus.migration.model import ExecutionType
from isthmus.migration.tables import EndpointRow

FAR, MUTE = "worker@far", "worker@mute"
ON_LOOPBACK = "channel_listen = 127.0.0.1:0\n"
HERE = f"[worker]\nbandwidth_limit = {12 * MIB}\nrelays = beyond:default, nowhere:mute\n{ON_LOOPBACK}"
"""The first worker copies so slowly that one can look on, relays to one region, and knows a wrong relay to another."""


@pytest.fixture(scope="module", autouse=True)
def _sites(room: EngineRoom) -> Iterator[None]:
    """Three sites: here, far with a data channel, and one that has none and serves several regions."""
    room.stop("worker")
    room.start("worker", HERE)
    start_far(room)
    start_site(room, MUTE, "mute, beyond, nowhere")
    yield
    for name in ("worker", FAR, MUTE):
        room.stop(name)
    room.start("worker")


def start_site(room: EngineRoom, name: str, regions: str, more: str = "") -> None:
    staging = room.root / name.replace("@", "-")
    room.start(name, f"[worker]\nqueues = {regions}\nstaging_dir = {staging}\n{more}")


def start_far(room: EngineRoom) -> None:
    start_site(room, FAR, "far", ON_LOOPBACK)


def between(room: EngineRoom, move: Move, destination: str = "far", *, source: str = "default") -> Move:
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


def history(room: EngineRoom, run_id: str) -> str:
    """Return all that the engine remembers of an execution, as text."""

    async def read() -> str:
        client = await connect(EngineAddress.of(room.conf))
        events = (await client.get_workflow_handle(f"execution-{run_id}").fetch_history()).events
        # Payloads are JSON bytes; the text form of a message shows them readable.
        return "\n".join(str(event) for event in events)

    return asyncio.run(read())


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


def test_a_machine_moves_between_sites_and_is_verified(room: EngineRoom) -> None:
    move = between(room, room.move(disks=2))
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    assert "through the data channel to worker" in said(move, run_id)
    assert move.same_disks()
    told = history(room, run_id)
    assert "BEGIN CERTIFICATE" in told
    assert "PRIVATE KEY" not in told
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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["worker", FAR])
def test_either_end_is_killed_and_the_copy_goes_on_where_it_was(room: EngineRoom, victim: str) -> None:
    move = between(room, room.move(size=96 * MIB))
    run_id = move.begin()
    done = in_the_midst(room, move, run_id)
    room.kill(victim)
    if victim == FAR:
        start_far(room)
    else:
        room.start(victim, HERE)
    assert move.ended(run_id, limit=180).status == "COMPLETED"
    assert move.same_disks()
    assert move.info()["last_pass"]["disks"][0]["bytes_resumed"] >= done > 0
    assert listening(room) == 0
    assert exports(move) == []


def test_cancel_ends_both_ends_and_leaves_nothing(room: EngineRoom) -> None:
    move = between(room, room.move(size=96 * MIB))
    run_id = move.begin()
    in_the_midst(room, move, run_id)
    assert listening(room) == 1
    move.cancel(run_id)
    assert move.ended(run_id).status == "CANCELED"
    assert listening(room) == 0
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_what_fails_at_the_far_side_says_so(room: EngineRoom) -> None:
    move = between(room, room.move())
    set_up(move.source, hold=["shut_down"])
    run_id = move.begin(shutdown_instances=True)
    move.called(move.source, "shut_down")
    set_up(move.destination, fail={"open_writing": "step-failed"})
    set_up(move.source, hold=[])
    assert move.ended(run_id).status == "ERROR"
    assert "at the destination's side (region far): " in said(move, run_id)


def test_a_channel_behind_a_firewall_names_its_address_and_the_option(room: EngineRoom) -> None:
    start_site(room, "worker@walled", "walled", f"{ON_LOOPBACK}channel_address = 127.0.0.1:9\n")
    move = between(room, room.move(), "walled")
    run_id = move.begin()
    move.running(run_id, "REPLICATE_DISKS")
    room.wait(lambda: "cannot be reached at 127.0.0.1:9" in said(move, run_id), "an event of the failure")
    assert "channel_listen" in said(move, run_id)
    move.cancel(run_id)
    assert move.ended(run_id).status == "CANCELED"
    room.stop("worker@walled")


def test_the_way_back_goes_through_the_other_door(room: EngineRoom) -> None:
    move = between(room, room.move(), "default", source="far")
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    assert "through the data channel to worker" in said(move, run_id)
    assert move.same_disks()


def test_a_relay_passes_on_what_two_sites_cannot_tell_each_other(room: EngineRoom) -> None:
    move = between(room, room.move(disks=2), "beyond")
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    assert "which relays them to region beyond" in said(move, run_id)
    assert move.same_disks()


def test_a_relay_without_a_channel_is_named(room: EngineRoom) -> None:
    move = between(room, room.move(), "nowhere")
    run_id = move.begin()
    assert move.ended(run_id).status == "ERROR"
    assert "of region mute cannot relay: set [worker] channel_listen there" in said(move, run_id)
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_without_a_channel_the_sender_writes_to_the_destination_itself(room: EngineRoom) -> None:
    move = between(room, room.move(), "mute")
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    assert "of region mute has no data channel ([worker] channel_listen)" in said(move, run_id)
    assert move.same_disks()


def test_a_worker_of_both_regions_asks_nobody(room: EngineRoom) -> None:
    move = between(room, room.move(), "beyond", source="mute")
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    assert "channel" not in said(move, run_id)
    assert move.same_disks()


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_a_receiver_that_stands_still_is_replaced(room: EngineRoom) -> None:
    """A stopped process keeps its connections: nobody but the engine can tell."""
    move = between(room, room.move(size=96 * MIB))
    run_id = move.begin()
    in_the_midst(room, move, run_id)
    frozen = room.freeze(FAR)
    start_far(room)
    assert move.ended(run_id, limit=300).status == "COMPLETED"
    room.thaw(frozen)
    assert move.same_disks()
