"""Retrying executions and deployments through the API."""

from typing import Any

import pytest
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.database import utc_now
from isthmus.migration.model import ExecutionStatus, TaskStatus
from isthmus.migration.store import reading, recording
from isthmus.migration.store.paging import Page
from isthmus.migration.tables import TaskRow


def _ended(api: Api, execution_id: str, outcomes: dict[str, TaskStatus]) -> None:
    """Give an execution one step for each instance, ended like this."""
    with api.database.transaction() as session:
        for index, (instance, status) in enumerate(outcomes.items()):
            session.add(
                TaskRow(
                    id=f"{execution_id[:20]}-{index}",
                    execution_id=execution_id,
                    instance=instance,
                    status=status,
                    task_type="REPLICATE_DISKS",
                    index=index,
                    created_at=utc_now(),
                )
            )


def _failed(api: Api, **options: Any) -> tuple[str, str]:
    """Return a transfer of two instances and its execution, which failed for `db`."""
    made = api.transfer(instances=["web", "db"])
    run = api.execution(made["id"], **options)
    _ended(api, run["id"], {"web": TaskStatus.COMPLETED, "db": TaskStatus.ERROR})
    api.finish(made["id"], ExecutionStatus.ERROR)
    return made["id"], run["id"]


def _retry(api: Api, transfer_id: str, execution_id: str, wishes: object = None) -> Any:
    return api.call("POST", f"/transfers/{transfer_id}/executions/{execution_id}/actions", {"retry": wishes})


def test_a_retry_is_a_new_execution_of_what_failed(api: Api) -> None:
    transfer, first = _failed(api, shutdown_instances=True, auto_deploy=True, keep_partial=True)
    run = _retry(api, transfer, first).json["execution"]
    assert (run["instances"], run["retry_of"], run["number"], run["status"]) == (["db"], first, 2, "RUNNING")
    assert (run["shutdown_instances"], run["auto_deploy"], run["keep_partial"]) == (True, True, True)
    assert api.outbox()[-1] == ("start", "TransferExecution", f"execution-{run['id']}")


def test_only_what_failed_last_is_retried(api: Api) -> None:
    transfer, first = _failed(api)
    assert_fault(_retry(api, transfer, first, {"instances": ["web"]}), 400, "badRequest", "web", "db")
    second = _retry(api, transfer, first, {"instances": ["db"]}).json["execution"]
    assert_fault(_retry(api, transfer, first), 409, "conflictingRequest", second["id"])
    assert_fault(_retry(api, transfer, second["id"]), 409, "conflictingRequest", "RUNNING")
    api.finish(transfer)
    assert_fault(_retry(api, transfer, second["id"]), 409, "conflictingRequest", "nothing to retry")
    assert len(api.outbox()) == 2


@pytest.mark.parametrize("wishes", [{"instances": []}, {"instances": ["db", "db"]}, {"instances": 7}, 7])
def test_a_wrong_retry_is_refused(api: Api, wishes: object) -> None:
    transfer, first = _failed(api)
    assert_fault(_retry(api, transfer, first, wishes), 400, "badRequest", "retry")


def test_an_execution_may_be_for_some_instances(api: Api) -> None:
    made = api.transfer(instances=["web", "db"])
    assert api.execution(made["id"], instances=["db"])["instances"] == ["db"]
    api.finish(made["id"])
    answer = api.call("POST", f"/transfers/{made['id']}/executions", {"execution": {"instances": ["mail"]}})
    assert_fault(answer, 400, "badRequest", "mail")


def test_a_cancel_may_keep_what_was_copied(api: Api) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    path = f"/transfers/{made['id']}/executions/{run['id']}/actions"
    assert api.call("POST", path, {"cancel": {"keep": True}}).status_code == 204
    assert api.outbox()[-1] == ("cancel", "", f"execution-{run['id']}")


def test_a_failed_deployment_is_retried_for_what_failed(api: Api) -> None:
    made = api.transfer(instances=["web", "db"])
    api.execution(made["id"])
    api.finish(made["id"])
    body = {"deployment": {"transfer_id": made["id"], "clone_disks": False, "skip_os_morphing": True}}
    first = api.call("POST", "/deployments", body).json["deployment"]
    path = f"/deployments/{first['id']}/actions"
    assert_fault(api.call("POST", path, {"retry": None}), 409, "conflictingRequest", "RUNNING")
    with api.database.transaction() as session:
        (run,) = reading.executions(session, "p1", [first["id"]], Page(), with_tasks=True)
        recording.move_execution(session, run.id, ExecutionStatus.ERROR, utc_now())
    _ended(api, run.id, {"web": TaskStatus.COMPLETED, "db": TaskStatus.ERROR})
    second = api.call("POST", path, {"retry": None}).json["deployment"]
    assert (second["instances"], second["retry_of"]) == (["db"], first["id"])
    assert (second["clone_disks"], second["skip_os_morphing"]) == (False, True)
    assert second["last_execution_status"] == "RUNNING"


def _deployment(api: Api, transfer: str, status: ExecutionStatus, outcomes: dict[str, TaskStatus], **body: Any) -> str:
    """Return a deployment that has ended like this, of all instances or those in `body`."""
    answer = api.call("POST", "/deployments", {"deployment": {"transfer_id": transfer, **body}})
    return _ended_deployment(api, answer.json["deployment"]["id"], status, outcomes)


def _ended_deployment(api: Api, made: str, status: ExecutionStatus, outcomes: dict[str, TaskStatus]) -> str:
    with api.database.transaction() as session:
        (run,) = reading.executions(session, "p1", [made], Page(), with_tasks=True)
        recording.move_execution(session, run.id, status, utc_now())
    _ended(api, run.id, outcomes)
    return made


def _deployable(api: Api) -> str:
    made = api.transfer(instances=["web", "db"])
    api.execution(made["id"])
    api.finish(made["id"])
    transfer_id: str = made["id"]
    return transfer_id


def test_what_a_later_deployment_has_deployed_is_not_retried_once_more(api: Api) -> None:
    transfer = _deployable(api)
    both = {"web": TaskStatus.ERROR, "db": TaskStatus.ERROR}
    first = _deployment(api, transfer, ExecutionStatus.ERROR, both)
    path = f"/deployments/{first}/actions"
    second = api.call("POST", path, {"retry": {"instances": ["db"]}}).json["deployment"]["id"]
    _ended_deployment(api, second, ExecutionStatus.COMPLETED, {"db": TaskStatus.COMPLETED})
    assert_fault(
        api.call("POST", path, {"retry": {"instances": ["db"]}}), 409, "conflictingRequest", "db", second, "deploy"
    )
    third = api.call("POST", path, {"retry": None}).json["deployment"]
    assert third["instances"] == ["web"]
    _ended_deployment(api, third["id"], ExecutionStatus.COMPLETED, {"web": TaskStatus.COMPLETED})
    assert_fault(api.call("POST", path, {"retry": None}), 409, "conflictingRequest", "web", third["id"])


def test_what_a_deployment_that_failed_for_another_has_deployed_is_not_retried_either(api: Api) -> None:
    transfer = _deployable(api)
    both = {"web": TaskStatus.ERROR, "db": TaskStatus.ERROR}
    first = _deployment(api, transfer, ExecutionStatus.ERROR, both)
    path = f"/deployments/{first}/actions"
    second = api.call("POST", path, {"retry": None}).json["deployment"]["id"]
    _ended_deployment(api, second, ExecutionStatus.ERROR, {"web": TaskStatus.COMPLETED, "db": TaskStatus.ERROR})
    assert api.call("POST", path, {"retry": None}).json["deployment"]["instances"] == ["db"]


def test_a_test_deployment_leaves_no_machine_that_a_retry_would_double(api: Api) -> None:
    transfer = _deployable(api)
    both = {"web": TaskStatus.ERROR, "db": TaskStatus.ERROR}
    first = _deployment(api, transfer, ExecutionStatus.ERROR, both)
    fine = {"web": TaskStatus.COMPLETED, "db": TaskStatus.COMPLETED}
    _deployment(api, transfer, ExecutionStatus.COMPLETED, fine, test={"network": "isolated"})
    answer = api.call("POST", f"/deployments/{first}/actions", {"retry": None})
    assert answer.json["deployment"]["instances"] == ["web", "db"]
