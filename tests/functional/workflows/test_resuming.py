"""A first copy that was stopped in its midst goes on where it was, if it is kept; else nothing of it is left."""

from collections.abc import Iterator

import pytest
from lab.cloud_files import leftovers
from lab.engine_room import MIB, EngineRoom, Move, retried

from isthmus.migration.model import ExecutionType


@pytest.fixture(scope="module", autouse=True)
def _slow_worker(room: EngineRoom) -> Iterator[None]:
    """Have copies take seconds."""
    text = room.configuration.read_text()
    room.stop("worker")
    room.configuration.write_text(f"{text}\n[worker]\nbandwidth_limit = {8 * MIB}\n")
    room.start("worker")
    yield
    room.stop("worker")
    room.configuration.write_text(text)
    room.start("worker")


def _stop_in_the_midst(room: EngineRoom, move: Move, run_id: str) -> None:
    """Wait until a first copy has sent something but not all."""

    move.running(run_id, "REPLICATE_DISKS")

    def copying() -> bool:
        updates = move.task(run_id, "REPLICATE_DISKS").progress_updates
        return any(each.current_step for each in updates)

    room.wait(copying, "progress of the copy", 30)


def test_a_cancelled_first_copy_that_is_kept_goes_on_where_it_was(room: EngineRoom) -> None:
    move = room.move(size=64 * MIB)
    run_id = move.begin()
    _stop_in_the_midst(room, move, run_id)
    move.cancel(run_id, keep=True)
    assert move.ended(run_id).status == "CANCELED"
    assert move.info()["partial"] is True
    assert len(leftovers(move.destination)) == 1
    assert leftovers(move.source) == []
    run = move.ended(retried(move, run_id), limit=90)
    assert run.status == "COMPLETED"
    assert move.same_disks()
    assert move.info()["partial"] is False
    last = move.info()["last_pass"]
    assert 0 < last["bytes_sent"] < 32 * MIB
    assert last["disks"][0]["bytes_skipped"] > 0


def test_a_cancelled_first_copy_leaves_nothing_unless_it_is_asked_to(room: EngineRoom) -> None:
    move = room.move(size=64 * MIB)
    run_id = move.begin()
    _stop_in_the_midst(room, move, run_id)
    move.cancel(run_id)
    assert move.ended(run_id).status == "CANCELED"
    assert leftovers(move.source) == leftovers(move.destination) == []
    assert move.info()["partial"] is False


def test_what_was_kept_can_be_deleted(room: EngineRoom) -> None:
    move = room.move(size=64 * MIB)
    run_id = move.begin(keep_partial=True)
    _stop_in_the_midst(room, move, run_id)
    move.cancel(run_id)
    assert move.ended(run_id).status == "CANCELED"
    assert move.info()["partial"] is True
    assert move.ended(move.begin(ExecutionType.TRANSFER_DISKS_DELETE)).status == "COMPLETED"
    assert leftovers(move.source) == leftovers(move.destination) == []
    assert move.info()["partial"] is False


def test_a_kept_copy_whose_disk_is_gone_begins_anew(room: EngineRoom) -> None:
    move = room.move(size=64 * MIB)
    run_id = move.begin(keep_partial=True)
    _stop_in_the_midst(room, move, run_id)
    move.cancel(run_id)
    move.ended(run_id)
    (move.destination / "disks" / move.info()["disks"][0]["volume_id"]).unlink()
    assert move.ended(retried(move, run_id), limit=90).status == "COMPLETED"
    assert move.same_disks()
