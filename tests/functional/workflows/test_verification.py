"""Both sides of a transfer are compared by hash, on a real engine and disks served by real qemu-nbd."""

from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import MIB, EngineRoom, Move

from isthmus.migration.model import ExecutionType
from isthmus.migration.tables import ExecutionRow

VERIFY = ExecutionType.TRANSFER_VERIFICATION


def _damage(move: Move, offset: int, length: int) -> None:
    with (move.destination / "disks" / move.info()["disks"][0]["volume_id"]).open("r+b") as disk:
        disk.seek(offset)
        disk.write(b"\xa5" * length)


def _failed(run: ExecutionRow) -> list[str]:
    return [str(task.exception_details) for task in run.tasks if task.status == "ERROR"]


def test_an_intact_replica_is_equal_and_nothing_is_sent_or_left(room: EngineRoom) -> None:
    move = room.move(disks=2, size=9 * MIB)
    first = move.ended(move.begin(shutdown_instances=True))
    run = move.ended(move.begin(VERIFY))
    assert run.status == "COMPLETED", _failed(run)
    found = move.info()["last_verification"]
    assert (found["equal"], found["wrong"], found["point"]) == (True, [], first.id)
    assert [disk["equal_bytes"] for disk in found["disks"]] == [9 * MIB, 9 * MIB]
    assert move.info()["last_pass"]["execution_id"] == first.id
    assert sorted(disk["volume_id"] for disk in move.info()["disks"]) == leftovers(move.destination)
    assert len(leftovers(move.source)) == 1  # the checkpoint of the pass
    assert move.task(run.id, "COMPARE_DESTINATION_DISKS").result == found


def test_a_damaged_replica_is_found_and_the_next_execution_mends_it(room: EngineRoom) -> None:
    move = room.move(size=16 * MIB)
    move.ended(move.begin(shutdown_instances=True))
    _damage(move, 5 * MIB + 4096, 512)
    _damage(move, 12 * MIB - 1, 2)
    run = move.ended(move.begin(VERIFY))
    assert run.status == "ERROR"
    assert "differs from its source on disk0" in _failed(run)[0]
    (disk,) = move.info()["last_verification"]["disks"]
    assert disk["different"] == [[5 * MIB, MIB], [11 * MIB, 2 * MIB]]
    assert disk["equal_bytes"] == 13 * MIB
    assert move.info()["tainted"] is True
    assert move.ended(move.begin()).status == "COMPLETED"
    assert move.same_disks()
    assert move.ended(move.begin(VERIFY)).status == "COMPLETED"


def test_a_running_source_that_tracks_nothing_leaves_it_open_who_changed_what(room: EngineRoom) -> None:
    move = room.move(size=4 * MIB)
    move.ended(move.begin())
    _damage(move, MIB, 512)
    run = move.ended(move.begin(VERIFY))
    assert run.status == "COMPLETED"
    found = move.info()["last_verification"]
    assert (found["equal"], found["wrong"]) == (False, [])
    assert move.info()["tainted"] is False


def test_one_instance_can_be_verified_alone(room: EngineRoom) -> None:
    move = room.move(machines=2)
    move.ended(move.begin())
    run = move.ended(move.begin(VERIFY, instances=["machine1"]))
    assert run.status == "COMPLETED"
    assert {task.instance for task in run.tasks} == {"machine1"}


def test_without_a_replica_there_is_nothing_to_verify(room: EngineRoom) -> None:
    move = room.move()
    run = move.ended(move.begin(VERIFY))
    assert run.status == "ERROR"
    assert "execute its transfer first" in _failed(run)[0]
    assert "open_writing" not in calls(move.destination)


def test_a_killed_worker_only_delays_a_verification(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin(shutdown_instances=True))
    set_up(move.destination, hold=["open_writing"])
    run_id = move.begin(VERIFY)
    move.running(run_id, "COMPARE_DESTINATION_DISKS")
    room.kill("worker")
    set_up(move.destination, hold=[])
    room.start("worker")
    assert move.ended(run_id).status == "COMPLETED"
    assert move.info()["last_verification"]["equal"] is True
