"""What failed or was cancelled is taken up again: alone, and from where it was."""

import uuid
from typing import Any

from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import PROJECT, EngineRoom, Move, retried
from sqlalchemy import select

from isthmus.control.database import utc_now
from isthmus.migration.model import ExecutionType
from isthmus.migration.store import requests, retrying
from isthmus.migration.tables import DeploymentRow, ExecutionRow


def test_retry_takes_up_the_failed_instance_alone(room: EngineRoom) -> None:
    move = room.move(machines=2)
    broken = (move.source / "machines" / "machine1.json").read_text()
    (move.source / "machines" / "machine1.json").unlink()
    first = move.ended(move.begin())
    assert first.status == "ERROR"
    (move.source / "machines" / "machine1.json").write_text(broken)
    second = move.ended(retried(move, first.id))
    assert second.status == "COMPLETED"
    assert (second.instances, second.retry_of) == (["machine1"], first.id)
    assert {task.instance for task in second.tasks} == {"machine1"}
    assert move.info("machine0")["point"] == first.id
    assert move.info("machine1")["point"] == second.id
    assert move.same_disks()


def test_an_execution_of_some_instances_leaves_the_others_alone(room: EngineRoom) -> None:
    move = room.move(machines=2)
    run = move.ended(move.begin(instances=["machine1"]))
    assert run.status == "COMPLETED"
    assert {task.instance for task in run.tasks} == {"machine1"}
    assert move.info("machine0") == {}


def test_a_retried_execution_deploys_all_that_the_first_would_have(room: EngineRoom) -> None:
    move = room.move(machines=2)
    broken = (move.source / "machines" / "machine1.json").read_text()
    (move.source / "machines" / "machine1.json").unlink()
    first = move.ended(move.begin(auto_deploy=True))
    (move.source / "machines" / "machine1.json").write_text(broken)
    second = move.ended(retried(move, first.id))
    deployment = _deployment(room, second.id)
    assert deployment.instances == ["machine0", "machine1"]
    room.wait(lambda: _deployment(room, second.id).last_execution_status == "COMPLETED", "deployment")


def test_retry_of_a_deployment_takes_up_the_failed_machine_alone(room: EngineRoom) -> None:
    move = room.move(machines=2)
    move.ended(move.begin())
    set_up(move.destination, fail={"create_machine": "step-failed"})
    failed = move.ended(move.begin_deployment(instances=["machine1"]))
    assert failed.status == "ERROR"
    set_up(move.destination, fail={})
    run = ExecutionRow(
        id=str(uuid.uuid4()), project_id=PROJECT, type=ExecutionType.DEPLOYMENT, tasks=[], created_at=utc_now()
    )
    with room.database.transaction() as session:
        transfer = requests.claim_transfer(session, PROJECT, move.id)
        old = session.get_one(DeploymentRow, failed.action_id)
        made = retrying.retry_deployment(session, transfer, old, run, None, new_id=str(uuid.uuid4()))
        assert (made.instances, made.retry_of) == (["machine1"], old.id)
    assert move.ended(run.id).status == "COMPLETED"
    assert "delete_clones" in calls(move.destination)


def _deployment(room: EngineRoom, execution_id: str) -> Any:
    with room.database.transaction() as session:
        return session.scalars(select(DeploymentRow).where(DeploymentRow.deployer_id == execution_id)).one()


def _retry_held(room: EngineRoom, move: Move, run_id: str) -> None:
    with room.database.transaction() as session:
        requests.claim_transfer(session, PROJECT, move.id)
        retrying.retry_held(session, session.get_one(ExecutionRow, run_id), None, utc_now())


def test_a_held_step_is_retried_alone(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.destination, fail={"create_machine": "step-failed"})
    move.ended(move.begin())
    run_id = move.begin_deployment(hold_on_error=True)
    move.running(run_id, "FINALIZE_INSTANCE_DEPLOYMENT", "ERROR")
    held = move.task(run_id, "FINALIZE_INSTANCE_DEPLOYMENT")
    assert held.events[-1].message.startswith("held: ")
    set_up(move.destination, fail={})
    _retry_held(room, move, run_id)
    assert move.ended(run_id).status == "COMPLETED"
    made = calls(move.destination)
    assert (made.count("clone_disks"), made.count("create_machine")) == (1, 2)
    assert "delete_clones" not in made
    levels = [event.level for event in move.task(run_id, "FINALIZE_INSTANCE_DEPLOYMENT").events]
    assert {"ERROR", "WARNING", "INFO"} == set(levels)


def test_a_held_step_is_retried_with_the_endpoints_new_details(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    set_up(move.destination, fail={"create_machine": "not-authenticated"})
    run_id = move.begin_deployment(hold_on_error=True)
    move.running(run_id, "FINALIZE_INSTANCE_DEPLOYMENT", "ERROR")
    set_up(move.destination, fail={})
    move.reconnect("destination")
    _retry_held(room, move, run_id)
    assert move.ended(run_id).status == "COMPLETED"


def test_details_that_are_replaced_during_a_copy_reach_the_steps_behind_it(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    for side in ("source", "destination"):
        move.reconnect(side)
    set_up(move.source, hold=[])
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()


def test_details_that_are_replaced_reach_the_undo(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    for side in ("source", "destination"):
        move.reconnect(side)
    set_up(move.source, hold=[], fail={"open_reading": "step-failed"})
    assert move.ended(run_id).status == "ERROR"
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_a_step_that_a_killed_worker_began_with_the_old_details_goes_on_with_the_new_ones(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, hold=["open_reading"])
    run_id = move.begin()
    move.called(move.source, "open_reading")
    room.kill("worker")
    move.reconnect("source")
    set_up(move.source, hold=[])
    room.start("worker")
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()


def test_a_secret_that_is_gone_and_not_replaced_fails_the_step(room: EngineRoom) -> None:
    move = room.move()
    (move.source / "secret.json").unlink()
    run = move.ended(move.begin())
    assert run.status == "ERROR"
    assert any("is gone" in event.message for task in run.tasks for event in task.events)


def test_a_held_step_that_is_cancelled_is_undone(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, fail={"open_reading": "step-failed"})
    run_id = move.begin(hold_on_error=True)
    move.running(run_id, "REPLICATE_DISKS", "ERROR")
    assert leftovers(move.destination) != []
    move.cancel(run_id)
    assert move.ended(run_id, limit=20).status == "ERROR"
    assert leftovers(move.source) == leftovers(move.destination) == []


def test_a_hold_survives_the_death_of_the_conductor(room: EngineRoom) -> None:
    move = room.move()
    set_up(move.source, fail={"open_reading": "step-failed"})
    run_id = move.begin(hold_on_error=True)
    move.running(run_id, "REPLICATE_DISKS", "ERROR")
    room.kill("conductor")
    set_up(move.source, fail={})
    room.start("conductor")
    _retry_held(room, move, run_id)
    assert move.ended(run_id).status == "COMPLETED"
    assert move.same_disks()
