"""Deployments on a real engine: the machine, its proof of life, and the way back."""

import json

import pytest
from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import EngineRoom, Move
from sqlalchemy import select

from isthmus.migration.model import ACTIVE
from isthmus.migration.tables import DeploymentRow, ExecutionRow


def replicated(room: EngineRoom, *, stop_source: bool = False) -> Move:
    move = room.move()
    run = move.ended(move.begin(shutdown_instances=stop_source))
    assert run.status == "COMPLETED", [task.exception_details for task in run.tasks]
    return move


def test_cloned_deployment_leaves_the_replica_as_it_was(room: EngineRoom) -> None:
    move = replicated(room, stop_source=True)
    run = move.ended(move.begin_deployment())
    assert run.status == "COMPLETED", [task.exception_details for task in run.tasks]
    result = (move.deployment(run.id).transfer_result or {})["machine0"]
    assert result["probe"]["passed"] is True
    assert result["downtime_seconds"] > 0
    assert result["replica"]["bytes_sent"] > 0
    assert move.same_disks()
    assert move.info()["deployed"] is True
    assert move.power() == "off"
    assert json.loads((move.destination / "machines" / "machine0.json").read_text())["power"] == "running"


@pytest.mark.parametrize("clone", [True, False])
def test_machine_that_does_not_live_is_rolled_back_and_its_source_runs_again(room: EngineRoom, clone: bool) -> None:
    move = replicated(room, stop_source=True)
    assert move.power() == "off"
    before = leftovers(move.destination)
    set_up(move.destination, boots=False, console=["Kernel panic - not syncing"])
    run = move.ended(move.begin_deployment(clone_disks=clone))
    assert run.status == "ERROR"
    probe = move.task(run.id, "VERIFY_INSTANCE_BOOT")
    assert "Kernel panic - not syncing" in probe.events[-1].message
    assert move.power() == "running"
    assert leftovers(move.destination) == before
    assert not list((move.destination / "machines").iterdir())
    assert move.info()["tainted"] is False
    assert move.same_disks()


def test_deployment_without_clones_takes_the_disks(room: EngineRoom) -> None:
    move = replicated(room)
    disks = [disk["volume_id"] for disk in move.info()["disks"]]
    run = move.ended(move.begin_deployment(clone_disks=False))
    assert run.status == "COMPLETED", [task.exception_details for task in run.tasks]
    assert move.info()["disks"] == []
    assert move.info()["point"] is None
    owned = json.loads((move.destination / "machines" / "machine0.json").read_text())["disks"]
    assert [disk["file"] for disk in owned] == disks
    assert leftovers(move.destination) == []


def test_deployment_of_nothing_says_what_to_do(room: EngineRoom) -> None:
    move = room.move()
    run = move.ended(move.begin_deployment())
    assert run.status == "ERROR"
    assert "execute its transfer first" in str(move.task(run.id, "VALIDATE_DEPLOYMENT_INPUTS").exception_details)


def test_cancelled_deployment_leaves_nothing(room: EngineRoom) -> None:
    move = replicated(room)
    before = leftovers(move.destination)
    set_up(move.destination, hold=["boot_machine"])
    run_id = move.begin_deployment()
    move.called(move.destination, "boot_machine")
    move.cancel(run_id)
    assert move.ended(run_id, limit=60).status == "CANCELED"
    assert leftovers(move.destination) == before
    assert not list((move.destination / "machines").iterdir())


def test_forced_cancel_ends_an_undo_that_does_not_get_on(room: EngineRoom) -> None:
    move = replicated(room)
    set_up(move.destination, boots=False, fail={"delete_machine": "unavailable"})
    run_id = move.begin_deployment()
    room.wait(lambda: calls(move.destination).count("delete_machine") >= 1, "undo")
    move.cancel(run_id, force=True)
    assert move.ended(run_id, limit=60).status in {"ERROR", "CANCELED"}


def test_auto_deploy_follows_a_completed_execution(room: EngineRoom) -> None:
    move = room.move()
    run = move.ended(move.begin(auto_deploy=True))
    assert run.status == "COMPLETED"
    with room.database.transaction() as session:
        deployment = session.scalars(select(DeploymentRow).where(DeploymentRow.transfer_id == move.id)).one()
        execution = session.scalars(select(ExecutionRow).where(ExecutionRow.action_id == deployment.id)).one()
    assert deployment.deployer_id == run.id
    assert execution.status in {*ACTIVE, "COMPLETED"}
    assert move.ended(execution.id).status == "COMPLETED"


def test_a_test_shows_that_the_machine_lives_and_leaves_the_transfer_as_it_was(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    before, disks = move.info(), leftovers(move.destination)
    run_id = move.begin_deployment(test={"network": "alone", "minutes": 60})
    move.running(run_id, "VERIFY_INSTANCE_BOOT", "COMPLETED")
    room.wait(lambda: list((move.destination / "machines").iterdir()), "machine that is looked at")
    assert move.execution(run_id).status == "RUNNING"
    move.cancel(run_id)
    run = move.ended(run_id, limit=20)
    assert run.status == "COMPLETED"
    assert move.task(run_id, "DELETE_TEST_INSTANCE").status == "COMPLETED"
    assert list((move.destination / "machines").iterdir()) == []
    assert leftovers(move.destination) == disks
    assert move.info() == before
    assert move.power() == "running"
    result = (move.deployment(run_id).transfer_result or {})["machine0"]
    assert result["probe"]["passed"] is True
    assert (result["test"], result["downtime_seconds"]) == ({"network": "alone", "minutes": 60}, None)


def test_a_test_that_fails_leaves_nothing_and_does_not_touch_the_source(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin(shutdown_instances=True))
    before, disks = move.info(), leftovers(move.destination)
    set_up(move.destination, boots=False)
    run = move.ended(move.begin_deployment(test={"network": "alone"}))
    assert run.status == "ERROR"
    assert leftovers(move.destination) == disks
    assert list((move.destination / "machines").iterdir()) == []
    assert move.info() == before
    assert move.power() == "off"


def test_a_test_on_the_transfers_network_by_another_of_its_names_begins_nothing(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    run = move.ended(move.begin_deployment(test={"network": "net-lan"}))
    assert run.status == "ERROR"
    assert "name an isolated one" in str(move.task(run.id, "VALIDATE_DEPLOYMENT_INPUTS").exception_details)
    assert "clone_disks" not in calls(move.destination)


def test_a_test_on_a_network_that_is_not_there_begins_nothing(room: EngineRoom) -> None:
    move = room.move()
    move.ended(move.begin())
    run = move.ended(move.begin_deployment(test={"network": "nowhere"}))
    assert run.status == "ERROR"
    assert "'nowhere'" in str(move.task(run.id, "VALIDATE_DEPLOYMENT_INPUTS").exception_details)
    assert "clone_disks" not in calls(move.destination)
