from datetime import datetime, timedelta

import pytest

from isthmus.cli.answers import Deployment, Execution, Task
from isthmus.cli.sequence import Deploy, Done, Execute, WatchDeployment, WatchExecution, next_step
from isthmus.control.errors import Conflict

START = datetime(2026, 1, 1)  # noqa: DTZ001 - the API's times have no zone


def execution(number: int, status: str, *, last: bool = False, kind: str = "transfer_execution") -> Execution:
    tasks = [Task(id=f"t{number}", instance="vm", task_type="SHUTDOWN_INSTANCE", status="COMPLETED")] if last else []
    return Execution(
        id=f"e{number}",
        number=number,
        type=kind,
        status=status,
        tasks=tasks,
        created_at=START + timedelta(minutes=number),
    )


def deployment(after: int, status: str) -> Deployment:
    created = START + timedelta(minutes=after, seconds=30)
    return Deployment(id=f"d{after}", last_execution_status=status, created_at=created)


def test_a_new_transfer_begins_with_a_live_pass() -> None:
    assert next_step(2, [], []) == Execute(last=False)


def test_live_passes_are_repeated_as_often_as_asked() -> None:
    assert next_step(2, [execution(1, "COMPLETED")], []) == Execute(last=False)


def test_after_the_live_passes_comes_the_last_one() -> None:
    assert next_step(2, [execution(1, "COMPLETED"), execution(2, "COMPLETED")], []) == Execute(last=True)


def test_after_the_last_pass_comes_the_deployment() -> None:
    done = [execution(1, "COMPLETED"), execution(2, "COMPLETED", last=True)]
    assert next_step(1, done, []) == Deploy()


def test_a_failed_pass_is_run_again() -> None:
    assert next_step(1, [execution(1, "ERROR")], []) == Execute(last=False)
    assert next_step(1, [execution(1, "COMPLETED"), execution(2, "CANCELED", last=True)], []) == Execute(last=True)


def test_work_under_way_is_followed() -> None:
    assert next_step(2, [execution(1, "CANCELLING")], []) == WatchExecution("e1")
    done = [execution(1, "COMPLETED"), execution(2, "COMPLETED", last=True)]
    assert next_step(1, done, [deployment(2, "RUNNING")]) == WatchDeployment("d2")


def test_a_failed_deployment_needs_another_last_pass() -> None:
    done = [execution(1, "COMPLETED"), execution(2, "COMPLETED", last=True)]
    assert next_step(1, done, [deployment(2, "ERROR")]) == Execute(last=True)
    again = [*done, execution(3, "COMPLETED", last=True)]
    assert next_step(1, again, [deployment(2, "ERROR")]) == Deploy()


def test_a_completed_deployment_is_the_end() -> None:
    done = [execution(1, "COMPLETED"), execution(2, "COMPLETED", last=True)]
    assert next_step(1, done, [deployment(2, "ERROR"), deployment(3, "COMPLETED")]) == Done("d3")


def test_a_deletion_of_disks_under_way_forbids_going_on() -> None:
    with pytest.raises(Conflict, match="e1"):
        next_step(1, [execution(1, "RUNNING", kind="transfer_disks_delete")], [])
