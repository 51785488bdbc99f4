"""Executions and their cancelling: of two at once exactly one wins."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import update
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.database import utc_now
from isthmus.migration.model import MOST_INSTANCES, ExecutionStatus, TaskStatus, TaskType
from isthmus.migration.services.timekeeper import Timekeeper
from isthmus.migration.tables import ExecutionRow, TaskEventRow, TaskRow, TransferRow


def test_an_execution_starts_with_its_outbox_entry(api: Api) -> None:
    made = api.transfer()
    run = api.execution(made["id"], shutdown_instances=True, auto_deploy=True)
    assert (run["status"], run["type"], run["number"]) == ("RUNNING", "transfer_execution", 1)
    assert (run["shutdown_instances"], run["auto_deploy"], run["tasks"]) == (True, True, [])
    assert api.outbox() == [("start", "TransferExecution", f"execution-{run['id']}")]
    shown = api.call("GET", f"/transfers/{made['id']}").json["transfer"]
    assert shown["last_execution_status"] == "RUNNING"


@pytest.mark.parametrize("body", [{}, {"execution": None}, {"execution": {"shutdown_instances": None}}])
def test_an_execution_needs_no_options(api: Api, body: dict[str, Any]) -> None:
    made = api.transfer()
    run = api.call("POST", f"/transfers/{made['id']}/executions", body).json["execution"]
    assert (run["shutdown_instances"], run["auto_deploy"]) == (False, False)


def test_numbers_go_up_even_past_deleted_executions(api: Api) -> None:
    made = api.transfer()
    first = api.execution(made["id"])
    api.finish(made["id"])
    assert api.call("DELETE", f"/transfers/{made['id']}/executions/{first['id']}").status_code == 204
    assert api.execution(made["id"])["number"] == 2
    assert_fault(api.call("GET", f"/transfers/{made['id']}/executions/{first['id']}"), 404, "itemNotFound")


def test_of_many_executions_at_once_one_wins(api: Api) -> None:
    made = api.transfer()

    def execute(_: int) -> Any:
        return api.call("POST", f"/transfers/{made['id']}/executions", {"execution": {}})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(execute, range(8)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    winner = won[0].json["execution"]["id"]
    for answer in answers:
        if answer.status_code != 200:
            assert_fault(answer, 409, "conflictingRequest", winner)
    assert len(api.outbox()) == 1


def test_while_an_execution_runs_everything_else_waits(api: Api) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    path = f"/transfers/{made['id']}"
    for method, end, body in (
        ("POST", "/executions", {"execution": {}}),
        ("POST", "/actions", {"delete-disks": None}),
        ("DELETE", "", None),
        ("DELETE", f"/executions/{run['id']}", None),
    ):
        assert_fault(api.call(method, path + end, body), 409, "conflictingRequest", run["id"])
    deployment = {"deployment": {"transfer_id": made["id"], "force": True}}
    assert_fault(api.call("POST", "/deployments", deployment), 409, "conflictingRequest", run["id"])


@pytest.mark.parametrize(("body", "force"), [({"cancel": None}, False), ({"cancel": {"force": True}}, True)])
def test_cancel_has_the_engine_stop_it(api: Api, body: dict[str, Any], force: bool) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    path = f"/transfers/{made['id']}/executions/{run['id']}"
    assert api.call("POST", f"{path}/actions", body).status_code == 204
    assert api.call("GET", path).json["execution"]["status"] == "CANCELLING"
    assert api.call("GET", f"/transfers/{made['id']}").json["transfer"]["last_execution_status"] == "CANCELLING"
    assert api.outbox()[1:] == [("cancel", "", f"execution-{run['id']}")]


def test_a_second_cancel_must_be_forced(api: Api) -> None:
    made = api.transfer()
    path = f"/transfers/{made['id']}/executions/{api.execution(made['id'])['id']}/actions"
    assert api.call("POST", path, {"cancel": None}).status_code == 204
    assert_fault(api.call("POST", path, {"cancel": None}), 400, "badRequest", "force")
    assert api.call("POST", path, {"cancel": {"force": True}}).status_code == 204
    assert len(api.outbox()) == 3


@pytest.mark.parametrize("status", ["COMPLETED", "ERROR", "CANCELED"])
def test_what_has_ended_cannot_be_cancelled(api: Api, status: str) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    api.finish(made["id"], ExecutionStatus(status))
    for body in ({"cancel": None}, {"cancel": {"force": True}}):
        answer = api.call("POST", f"/transfers/{made['id']}/executions/{run['id']}/actions", body)
        assert_fault(answer, 400, "badRequest", status)


@pytest.mark.parametrize("body", [{}, {"stop": None}, {"cancel": {"force": "yes"}}, {"cancel": 7}])
def test_a_wrong_cancel_is_refused(api: Api, body: dict[str, Any]) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    answer = api.call("POST", f"/transfers/{made['id']}/executions/{run['id']}/actions", body)
    assert_fault(answer, 400, "badRequest", "cancel")


def test_an_execution_of_another_transfer_is_not_found(api: Api) -> None:
    run = api.execution(api.transfer()["id"])
    other = api.transfer()
    assert_fault(api.call("GET", f"/transfers/{other['id']}/executions/{run['id']}"), 404, "itemNotFound")


def test_tasks_are_shown_in_order_without_those_for_errors_only(api: Api) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    with api.database.transaction() as session:
        for index, (kind, status) in enumerate(
            [
                (TaskType.REPLICATE_DISKS, TaskStatus.RUNNING),
                (TaskType.START_SOURCE_INSTANCE, TaskStatus.EXECUTE_ON_ERROR_ONLY),
                (TaskType.GET_INSTANCE_INFO, TaskStatus.COMPLETED),
            ]
        ):
            session.add(
                TaskRow(
                    id=f"task{index}",
                    execution_id=run["id"],
                    instance="web",
                    status=status,
                    task_type=kind,
                    depends_on=[],
                    index=9 - index,
                    on_error=False,
                    created_at=utc_now(),
                )
            )
        session.flush()
        session.add(TaskEventRow(id="e", task_id="task0", level="INFO", message="hello", index=0, created_at=utc_now()))
    shown = api.call("GET", f"/transfers/{made['id']}/executions/{run['id']}").json["execution"]
    assert [task["id"] for task in shown["tasks"]] == ["task2", "task0"]
    assert {
        "id", "execution_id", "instance", "host", "process_id", "status", "task_type", "exception_details",
        "depends_on", "index", "on_error", "events", "progress_updates", "created_at", "updated_at", "deleted_at",
        "deleted",
        "result",
    } == set(shown["tasks"][0])  # fmt: skip
    assert shown["tasks"][1]["events"][0]["message"] == "hello"
    listed = api.call("GET", f"/transfers/{made['id']}/executions").json["executions"]
    assert "tasks" not in listed[0]
    detail = api.call("GET", f"/transfers/{made['id']}/executions/detail").json["executions"]
    assert len(detail[0]["tasks"]) == 2


def _executions(api: Api, count: int) -> str:
    made = api.transfer()
    for _ in range(count):
        api.execution(made["id"])
        api.finish(made["id"])
    return str(made["id"])


def test_pages_follow_one_another(api: Api) -> None:
    transfer = _executions(api, 5)
    seen: list[int] = []
    marker: dict[str, str] = {}
    while True:
        page = api.call(
            "GET", f"/transfers/{transfer}/executions",
            params={"limit": "2", "sort_key": "number", "sort_dir": "asc", **marker},
        ).json["executions"]  # fmt: skip
        if not page:
            break
        seen += [run["number"] for run in page]
        marker = {"marker": page[-1]["id"]}
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [3, 2, 1]),
        ({"sort_key": "number", "sort_dir": "desc", "limit": "10"}, [3, 2, 1]),
        ({"sort_key": "number"}, [3, 2, 1]),
        ({"sort_keys": "number", "sort_dirs": "asc"}, [1, 2, 3]),
        ({"sort_key": ["status", "number"], "sort_dir": ["asc", "asc"]}, [1, 2, 3]),
        ({"sort_key": "updated_at", "sort_dir": "asc"}, [1, 2, 3]),
        ({"limit": "99999999999999999999"}, [3, 2, 1]),
    ],
)
def test_order(api: Api, query: dict[str, Any], numbers: list[int]) -> None:
    transfer = _executions(api, 3)
    answer = api.call("GET", f"/transfers/{transfer}/executions", params=query, params_csv=False)
    assert [run["number"] for run in answer.json["executions"]] == numbers


@pytest.mark.parametrize(
    ("query", "status", "fault"),
    [
        ({"limit": "-1"}, 400, "badRequest"),
        ({"limit": "0"}, 400, "badRequest"),
        ({"limit": "many"}, 400, "badRequest"),
        ({"limit": "٣"}, 400, "badRequest"),
        ({"sort_key": "project_id; DROP TABLE"}, 400, "badRequest"),
        ({"sort_key": "name"}, 400, "badRequest"),
        ({"sort_dir": "up"}, 400, "badRequest"),
        ({"status": "LOST"}, 400, "badRequest"),
        ({"marker": "nothing"}, 404, "itemNotFound"),
        ({"marker": "\x00"}, 400, "badRequest"),
    ],
)
def test_wrong_pages_are_refused(api: Api, query: dict[str, str], status: int, fault: str) -> None:
    transfer = _executions(api, 1)
    assert_fault(api.call("GET", f"/transfers/{transfer}/executions", params=query), status, fault)


def test_a_stale_status_does_not_let_two_through(api: Api) -> None:
    made = api.transfer()
    run = api.execution(made["id"])
    with api.database.transaction() as session:
        session.execute(update(ExecutionRow).where(ExecutionRow.id == run["id"]).values(status="COMPLETED"))
    answer = api.call("POST", f"/transfers/{made['id']}/executions", {"execution": {}})
    assert_fault(answer, 409, "conflictingRequest", "RUNNING")


def _many(api: Api, count: int) -> str:
    """Return a transfer of more machines than are taken today, as an older API has made it."""
    made = api.transfer(instances=["m0"])
    with api.database.transaction() as session:
        session.get_one(TransferRow, made["id"]).instances = [f"m{number}" for number in range(count)]
    return str(made["id"])


def test_more_machines_than_the_engine_takes_are_refused(api: Api) -> None:
    names = [f"m{number}" for number in range(MOST_INSTANCES + 1)]
    body = api.transfer_body(instances=names)
    words = (str(len(names)), str(MOST_INSTANCES), "several transfers", "wave")
    assert_fault(api.call("POST", "/transfers", {"transfer": body}), 400, "badRequest", *words)
    old = _many(api, MOST_INSTANCES + 1)
    path = f"/transfers/{old}/executions"
    assert_fault(api.call("POST", path, {"execution": {}}), 400, "badRequest", *words, "instances")
    assert api.outbox() == []
    assert api.execution(old, instances=names[:MOST_INSTANCES])["status"] == "RUNNING"
    api.finish(old)
    whole = {"deployment": {"transfer_id": old}}
    assert_fault(api.call("POST", "/deployments", whole), 400, "badRequest", *words)
    part = {"deployment": {"transfer_id": old, "instances": names[1:]}}
    assert api.call("POST", "/deployments", part).status_code == 200


def test_scripts_that_do_not_fit_are_refused_before_a_deployment_begins(api: Api) -> None:
    names = [f"m{number}" for number in range(60)]
    made = api.transfer(instances=names, user_scripts={"global": {"linux": "x" * 50_000}})
    api.execution(made["id"])
    api.finish(made["id"])
    answer = api.call("POST", "/deployments", {"deployment": {"transfer_id": made["id"]}})
    assert_fault(answer, 400, "badRequest", "scripts", "60", "several transfers")
    part = {"deployment": {"transfer_id": made["id"], "instances": names[:10]}}
    assert api.call("POST", "/deployments", part).status_code == 200


def test_a_schedule_of_too_many_machines_says_so_once(api: Api) -> None:
    old = _many(api, MOST_INSTANCES + 1)
    made = api.call("POST", f"/transfers/{old}/schedules", {"schedule": {"minute": 0}}).json["schedule"]
    due = datetime.fromisoformat(made["next_due_at"])
    keeper = Timekeeper(api.database, lambda: due)
    assert (keeper.fire_schedules(), keeper.fire_schedules()) == (1, 0)
    (firing,) = api.call("GET", f"/transfers/{old}/schedules/{made['id']}").json["schedule"]["firings"]
    assert firing["outcome"] == "SKIPPED"
    assert "several transfers" in firing["message"]
