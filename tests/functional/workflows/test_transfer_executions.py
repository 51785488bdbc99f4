"""Transfer executions on a real engine and database, between simulated clouds served by real qemu-nbd."""

import os

from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import MIB, EngineRoom

from isthmus.control import outbox
from isthmus.control.database import utc_now
from isthmus.migration.model import ExecutionType


def test_replica_equals_source_and_only_replica_is_left(room: EngineRoom) -> None:
    move = room.move(disks=2)
    run = move.ended(move.begin())
    assert run.status == "COMPLETED", [(t.task_type, t.exception_details) for t in run.tasks]
    assert move.same_disks()
    assert move.info()["point"] == run.id
    assert move.info()["last_pass"]["bytes_sent"] >= 2 * 2 * MIB
    assert sorted(disk["volume_id"] for disk in move.info()["disks"]) == leftovers(move.destination)
    assert len(leftovers(move.source)) == 1  # the checkpoint
    events = [event.message for task in run.tasks for event in task.events]
    assert "swordfish" not in str(events)


def test_second_execution_sends_only_what_changed(room: EngineRoom) -> None:
    move = room.move(size=32 * MIB)
    move.ended(move.begin())
    with (move.source / "disks" / "machine0-disk0.raw").open("r+b") as disk:
        disk.seek(5 * MIB)
        disk.write(os.urandom(4096))
    run = move.ended(move.begin())
    assert run.status == "COMPLETED"
    assert move.same_disks()
    assert 4096 <= move.info()["last_pass"]["bytes_sent"] <= 2 * MIB


def test_failed_step_undoes_what_was_begun_and_says_why(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, fail={"open_reading": "step-failed"})
    run = move.ended(move.begin(shutdown_instances=True))
    assert run.status == "ERROR"
    failed = move.task(run.id, "REPLICATE_DISKS")
    assert failed.status == "ERROR"
    assert "told to fail" in str(failed.exception_details)
    assert "told to fail" in failed.events[-1].message
    assert move.power() == "running"
    assert leftovers(move.source) == []
    assert leftovers(move.destination) == []


def test_instances_do_not_share_a_fate(room: EngineRoom) -> None:
    move = room.move(machines=2)
    (move.source / "machines" / "machine1.json").unlink()
    run = move.ended(move.begin())
    assert run.status == "ERROR"
    assert move.info("machine0")["point"] == run.id
    assert move.task(run.id, "VALIDATE_TRANSFER_SOURCE_INPUTS", "machine1").status == "ERROR"
    assert move.task(run.id, "REPLICATE_DISKS", "machine1").status == "UNSCHEDULED"


def test_missing_space_is_known_before_anything_is_made(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.destination, free_bytes=MIB)
    run = move.ended(move.begin())
    assert run.status == "ERROR"
    assert "free: make room" in str(move.task(run.id, "VALIDATE_TRANSFER_DESTINATION_INPUTS").exception_details)
    assert "ensure_disks" not in calls(move.destination)


def test_unmapped_network_is_named(room: EngineRoom) -> None:
    move = room.move(network_map={})
    run = move.ended(move.begin())
    assert run.status == "ERROR"
    assert "'lan'" in str(move.task(run.id, "VALIDATE_TRANSFER_DESTINATION_INPUTS").exception_details)


def test_connection_details_that_do_not_fit_are_named_but_not_shown(room: EngineRoom) -> None:
    move = room.move()
    (move.source / "secret.json").write_text('{"root": 7, "password": "swordfish", "extra": 1}')
    run = move.ended(move.begin())
    said = str(move.task(run.id, "VALIDATE_TRANSFER_SOURCE_INPUTS").exception_details)
    assert "root: must fit type 'string'" in said
    assert "extra" in said
    assert "swordfish" not in said


def test_cancel_ends_soon_and_undoes(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin(shutdown_instances=True)
    move.called(move.source, "open_reading")
    move.cancel(run_id)
    run = move.ended(run_id, limit=60)
    assert run.status == "CANCELED"
    assert move.task(run_id, "REPLICATE_DISKS").status == "CANCELED"
    assert move.power() == "running"
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_cancel_before_a_disk_is_named_leaves_no_disk(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.destination, hold=["ensure_disks"])
    run_id = move.begin()
    move.called(move.destination, "ensure_disks")
    move.cancel(run_id)
    set_up(move.destination, hold=[])
    assert move.ended(run_id, limit=60).status == "CANCELED"
    assert leftovers(move.destination) == []


def test_silent_cloud_is_tried_again(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.destination, fail={"open_writing": "unavailable"})
    run_id = move.begin()
    room.wait(lambda: calls(move.destination).count("open_writing") >= 2, "second try")
    room.wait(lambda: move.task(run_id, "DEPLOY_TRANSFER_TARGET_RESOURCES").events, "reason of the second try")
    event = move.task(run_id, "DEPLOY_TRANSFER_TARGET_RESOURCES").events[0].message
    assert event.startswith("attempt 1 failed, the step is tried again: open_writing")
    set_up(move.destination, fail={})
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()


def test_progress_and_events_are_seen_while_a_step_runs(room: EngineRoom) -> None:
    move = room.move()
    run_id = move.begin()
    assert move.ended(run_id).status == "COMPLETED"
    task = move.task(run_id, "REPLICATE_DISKS")
    assert task.host
    assert task.process_id
    progress = task.progress_updates[0]
    assert progress.current_step == progress.total_steps
    assert len({event.index for event in task.events}) == len(task.events)


def test_deleting_disks_leaves_nothing(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    run = move.ended(move.begin(ExecutionType.TRANSFER_DISKS_DELETE))
    assert run.status == "COMPLETED"
    assert move.info()["disks"] == []
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_replica_lost_at_the_destination_is_made_anew(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    (move.destination / "disks" / move.info()["disks"][0]["volume_id"]).unlink()
    assert move.ended(move.begin()).status == "COMPLETED"
    assert move.same_disks()


def test_forgotten_transfer_leaves_its_disks_and_nothing_at_the_source(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    disks = leftovers(move.destination)
    with room.database.transaction() as session:
        outbox.start(
            session,
            workflow="TransferForget",
            workflow_id=f"forget-{move.id}",
            argument={"transfer_id": move.id, "trust_id": None},
            now=utc_now(),
        )
    room.wait(lambda: leftovers(move.source) == [], "an empty source")
    room.wait(lambda: move.info() == {}, "a transfer that is done with its clouds")
    assert leftovers(move.destination) == disks
