"""Deployments of a transfer."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.functional.api.parts import BARBICAN, Api, assert_fault
from tests.functional.api.test_audit import records

from isthmus.control.database import utc_now
from isthmus.migration.model import ExecutionStatus
from isthmus.migration.tables import DeploymentRow, ExecutionRow
from isthmus.migration.workflows.calls import Finish
from isthmus.migration.workflows.control import ControlActivities


def _ready(api: Api, **options: Any) -> str:
    made = api.transfer(**options)
    api.execution(made["id"])
    api.finish(made["id"])
    return str(made["id"])


def _deploy(api: Api, transfer: str, **options: Any) -> Any:
    return api.call("POST", "/deployments", {"deployment": {"transfer_id": transfer, **options}})


def _end(api: Api, deployment: str, status: ExecutionStatus) -> None:
    with api.database.transaction() as session:
        session.execute(update(ExecutionRow).where(ExecutionRow.action_id == deployment).values(status=status))
        session.execute(
            update(DeploymentRow).where(DeploymentRow.id == deployment).values(last_execution_status=status)
        )


def test_a_deployment_starts_with_its_outbox_entry(api: Api) -> None:
    scripts = {"global": {"linux": "echo"}}
    transfer = _ready(api, user_scripts=scripts)
    made = _deploy(api, transfer).json["deployment"]
    assert {
        "id", "base_id", "transfer_id", "transfer_scenario_type", "deployer_id", "trust_id", "type", "tasks",
        "instances", "notes", "last_execution_status", "reservation_id", "transfer_result", "clone_disks",
        "skip_os_morphing", "origin_endpoint_id", "destination_endpoint_id", "source_environment",
        "destination_environment", "network_map", "storage_mappings", "user_scripts", "shutdown_instances",
    } <= set(made)  # fmt: skip
    assert (made["type"], made["transfer_id"], made["tasks"]) == ("deployment", transfer, [])
    assert (made["clone_disks"], made["skip_os_morphing"]) == (True, False)
    assert made["last_execution_status"] == "RUNNING"
    assert made["user_scripts"]["global"]["linux"][0]["payload"] == "echo"
    kind, workflow, _ = api.outbox()[-1]
    assert (kind, workflow) == ("start", "Deployment")
    assert api.call("GET", f"/deployments/{made['id']}").json == {"deployment": made}


def test_own_scripts_win_over_the_transfers(api: Api) -> None:
    transfer = _ready(api, user_scripts={"global": {"linux": "one"}})
    made = _deploy(api, transfer, user_scripts={"global": {"linux": "two"}}).json["deployment"]
    assert made["user_scripts"]["global"]["linux"][0]["payload"] == "two"


def test_null_stands_for_the_default(api: Api) -> None:
    keys = ("clone_disks", "force", "skip_os_morphing", "user_scripts", "instance_osmorphing_minion_pool_mappings")
    made = _deploy(api, _ready(api), **dict.fromkeys(keys)).json["deployment"]
    assert (made["clone_disks"], made["skip_os_morphing"]) == (True, False)


@pytest.mark.parametrize("status", ["UNEXECUTED", "ERROR", "CANCELED"])
def test_a_transfer_without_a_completed_execution_needs_force(api: Api, status: str) -> None:
    transfer = api.transfer()["id"]
    api.finish(transfer, ExecutionStatus(status))
    assert_fault(_deploy(api, transfer), 409, "conflictingRequest", transfer, status, "force")
    assert _deploy(api, transfer, force=True).status_code == 200


def test_of_many_deployments_and_executions_at_once_one_wins(api: Api) -> None:
    transfer = _ready(api)

    def ask(index: int) -> Any:
        if index % 2:
            return _deploy(api, transfer)
        return api.call("POST", f"/transfers/{transfer}/executions", {"execution": {}})

    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status_code for answer in pool.map(ask, range(8))]
    assert sorted(statuses) == [200] + [409] * 7


def test_while_a_deployment_runs_the_transfer_waits(api: Api) -> None:
    transfer = _ready(api)
    made = _deploy(api, transfer).json["deployment"]
    path = f"/transfers/{transfer}"
    for method, end, body in (
        ("POST", "/executions", {"execution": {}}),
        ("POST", "/actions", {"delete-disks": None}),
        ("DELETE", "", None),
    ):
        assert_fault(api.call(method, path + end, body), 409, "conflictingRequest", made["id"])
    assert_fault(_deploy(api, transfer), 409, "conflictingRequest", made["id"])
    assert_fault(api.call("DELETE", f"/deployments/{made['id']}"), 409, "conflictingRequest", made["id"])


def test_cancel(api: Api) -> None:
    made = _deploy(api, _ready(api)).json["deployment"]
    path = f"/deployments/{made['id']}"
    assert api.call("POST", f"{path}/actions", {"cancel": {"force": False}}).status_code == 204
    assert api.call("GET", path).json["deployment"]["last_execution_status"] == "CANCELLING"
    assert api.outbox()[-1][0] == "cancel"
    _end(api, made["id"], ExecutionStatus.CANCELED)
    assert_fault(api.call("POST", f"{path}/actions", {"cancel": None}), 400, "badRequest", "CANCELED")


def test_a_waiting_deployment_is_cancelled_at_once(api: Api) -> None:
    made = _deploy(api, _ready(api)).json["deployment"]
    _end(api, made["id"], ExecutionStatus.PENDING)
    assert api.call("POST", f"/deployments/{made['id']}/actions", {"cancel": None}).status_code == 204
    shown = api.call("GET", f"/deployments/{made['id']}").json["deployment"]
    assert shown["last_execution_status"] == "CANCELED"


def test_delete_hides_an_ended_deployment_and_deployments_outlive_their_transfer(api: Api) -> None:
    transfer = _ready(api)
    made = _deploy(api, transfer).json["deployment"]
    _end(api, made["id"], ExecutionStatus.COMPLETED)
    assert api.call("DELETE", f"/transfers/{transfer}").status_code == 204
    for path in ("/deployments", "/deployments/detail"):
        listed = api.call("GET", path, params={"status": "COMPLETED"}).json["deployments"]
        assert [each["id"] for each in listed] == [made["id"]]
        assert "tasks" not in listed[0]
    whole = api.call("GET", "/deployments", params={"include_task_info": "true"}).json["deployments"]
    assert (whole[0]["tasks"], whole[0]["info"]) == ([], {})
    assert api.call("DELETE", f"/deployments/{made['id']}").status_code == 204
    assert api.call("GET", "/deployments").json == {"deployments": []}


def test_another_projects_deployment_does_not_exist(api: Api) -> None:
    made = _deploy(api, _ready(api)).json["deployment"]
    path = f"/deployments/{made['id']}"
    for method, end, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/actions", {"cancel": None})):
        assert_fault(api.call(method, path + end, body, project="p2"), 404, "itemNotFound")
    assert api.call("GET", "/deployments", project="p2").json == {"deployments": []}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"transfer_id": None}, "transfer_id"),
        ({"transfer_id": 7}, "transfer_id"),
        ({"clone_disks": "no"}, "clone_disks"),
        ({"user_scripts": {"instances": {"db": "x"}}}, "db"),
        ({"instance_osmorphing_minion_pool_mappings": {"web": 7}}, "minion_pool"),
    ],
)
def test_a_wrong_value_is_named(api: Api, change: dict[str, Any], word: str) -> None:
    body = {"deployment": {"transfer_id": _ready(api), **change}}
    assert_fault(api.call("POST", "/deployments", body), 400, "badRequest", word)


def test_a_way_home_is_made_of_a_completed_deployment(api: Api) -> None:
    made = api.transfer(network_map={"lan": "net"})
    path = f"/transfers/{made['id']}/actions"
    assert_fault(api.call("POST", path, {"failback": None}), 409, "conflictingRequest", "no COMPLETED deployment")
    api.execution(made["id"])
    api.finish(made["id"])
    deployment = api.call("POST", "/deployments", {"deployment": {"transfer_id": made["id"]}}).json["deployment"]["id"]
    with api.database.transaction() as session:
        row = session.get_one(DeploymentRow, deployment)
        row.last_execution_status = ExecutionStatus.COMPLETED
        row.transfer_result = {"web": {"machine": {"id": "7", "name": "web-away"}}}
    assert_fault(api.call("POST", path, {"failback": {"instances": ["db"]}}), 400, "badRequest", "db")
    assert_fault(api.call("POST", path, {"failback": {"deployment_id": "x"}}), 409, "conflictingRequest", "x")
    home = api.call("POST", path, {"failback": {"notes": "home"}}).json["transfer"]
    assert (home["origin_endpoint_id"], home["destination_endpoint_id"]) == (
        made["destination_endpoint_id"],
        made["origin_endpoint_id"],
    )
    assert (home["instances"], home["network_map"], home["notes"]) == (["web-away"], {"net": "lan"}, "home")
    assert (home["failback_of"], home["last_execution_status"]) == (made["id"], "UNEXECUTED")
    assert_fault(api.call("POST", path, {"failback": None}, project="p2"), 404, "itemNotFound", made["id"])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"test": {"network": "net"}}, "isolated"),
        ({"test": {"network": "alone"}, "clone_disks": False}, "clones"),
        ({"test": {"network": ""}}, "network"),
        ({"test": {"network": "alone", "minutes": -1}}, "minutes"),
        ({"test": {"network": "alone", "minutes": 10**9}}, "minutes"),
        ({"test": "alone"}, "test"),
        ({"luks_secret_ref": "http://elsewhere.test/v1/secrets/x"}, "secret_ref"),
        ({"luks_secret_ref": 7}, "luks_secret_ref"),
        ({"instances": ["db"]}, "db"),
    ],
)
def test_wrong_wishes_of_a_test_are_refused(api: Api, options: dict[str, Any], word: str) -> None:
    transfer = _ready(api)
    answer = api.call("POST", "/deployments", {"deployment": {"transfer_id": transfer, **options}})
    assert_fault(answer, 400, "badRequest", word)
    assert api.call("GET", "/deployments").json["deployments"] == []


def test_a_test_and_the_keys_reference_are_kept_and_shown(api: Api) -> None:
    transfer, reference = _ready(api), f"{BARBICAN}00000000-0000-4000-8000-000000000000"
    body = {"transfer_id": transfer, "test": {"network": "alone"}, "luks_secret_ref": reference}
    made = api.call("POST", "/deployments", {"deployment": body}).json["deployment"]
    assert (made["test"], made["luks_secret_ref"]) == ({"network": "alone", "minutes": 0}, reference)


KEYS = f"{BARBICAN}00000000-0000-4000-8000-000000000000"
OTHER_KEYS = f"{BARBICAN}00000000-0000-4000-8000-000000000001"


def _locked(api: Api) -> str:
    """Return a transfer whose machines have encrypted disks."""
    return str(api.transfer(destination_environment={"luks_secret_ref": KEYS})["id"])


def test_the_keys_of_a_transfer_are_those_of_its_deployments(api: Api) -> None:
    transfer = _locked(api)
    api.execution(transfer)
    api.finish(transfer)
    own = {"deployment": {"transfer_id": transfer, "luks_secret_ref": OTHER_KEYS}}
    made = api.call("POST", "/deployments", own).json["deployment"]
    assert made["luks_secret_ref"] == OTHER_KEYS
    with api.database.transaction() as session:
        session.execute(update(DeploymentRow).values(last_execution_status=ExecutionStatus.ERROR))
    made = api.call("POST", "/deployments", {"deployment": {"transfer_id": transfer}}).json["deployment"]
    assert made["luks_secret_ref"] == KEYS


def test_what_deploys_by_itself_has_the_keys_and_holds_as_its_execution(api: Api) -> None:
    transfer = _locked(api)
    run = api.execution(transfer, auto_deploy=True, hold_on_error=True)
    ControlActivities(api.database, utc_now).finish_execution(Finish(run["id"], ExecutionStatus.COMPLETED))
    (made,) = api.call("GET", "/deployments").json["deployments"]
    assert (made["deployer_id"], made["luks_secret_ref"]) == (run["id"], KEYS)
    with api.database.transaction() as session:
        deploying = session.scalars(select(ExecutionRow).where(ExecutionRow.action_id == made["id"])).one()
        assert deploying.hold_on_error
    (told,) = records(api)
    assert (told["resource"], told["object_id"], told["user_id"]) == ("deployments", made["id"], "noauth")
    assert told["path"].endswith(f"/transfers/{transfer}/executions/{run['id']}")


def test_a_transfers_keys_must_be_a_secret_of_barbican(api: Api) -> None:
    wrong = {"luks_secret_ref": "http://elsewhere.test/v1/secrets/x"}
    body = api.transfer_body(destination_environment=wrong)
    assert_fault(api.call("POST", "/transfers", {"transfer": body}), 400, "badRequest", "secret_ref")
    body["destination_environment"] = {"luks_secret_ref": 7}
    assert_fault(api.call("POST", "/transfers", {"transfer": body}), 400, "badRequest", "luks_secret_ref")
    path = f"/transfers/{_locked(api)}"
    change = {"transfer": {"destination_environment": wrong}}
    assert_fault(api.call("PUT", path, change), 400, "badRequest", "secret_ref")
    away = api.call("PUT", path, {"transfer": {"destination_environment": {"luks_secret_ref": None}}})
    assert away.status_code == 200, away.text
