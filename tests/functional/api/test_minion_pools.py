"""Minion pools through HTTP, and who gets a machine of theirs."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.database import utc_now
from isthmus.control.errors import Conflict
from isthmus.migration.model import ExecutionStatus, PoolStatus
from isthmus.migration.services.timekeeper import Timekeeper
from isthmus.migration.store import pools, recording
from isthmus.migration.tables import MinionPoolRow
from isthmus.migration.workflows.calls import Finish, MinionsServed, MinionsWanted
from isthmus.migration.workflows.control import ControlActivities
from isthmus.migration.workflows.pool_control import PoolActivities
from isthmus.migration.workflows.pools import moves_of


def _pool(api: Api, endpoint: str | None = None, **changes: Any) -> dict[str, Any]:
    body = {
        "name": "pool",
        "endpoint_id": endpoint or api.endpoint()["id"],
        "os_type": "linux",
        "platform": "destination",
        "environment_options": {},
        **changes,
    }
    answer = api.call("POST", "/minion_pools", {"minion_pool": body})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json["minion_pool"]
    return made


def _show(api: Api, pool: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = api.call("GET", f"/minion_pools/{pool['id']}").json["minion_pool"]
    return shown


def _act(api: Api, pool: dict[str, Any], action: str, value: object = None) -> Any:
    return api.call("POST", f"/minion_pools/{pool['id']}/actions", {action: value})


def _activities(api: Api, now: datetime | None = None) -> PoolActivities:
    return PoolActivities(api.database, (lambda: now) if now else utc_now)


def _carry_out(api: Api, pool: dict[str, Any], action: str = "allocate") -> dict[str, Any]:
    """Do what the conductor does for an action when the cloud has answered."""
    for move in moves_of(pool["id"], action):
        assert _activities(api).move_pool(move)
    return _show(api, pool)


def _take(api: Api, pool: dict[str, Any], execution: str, instances: Iterable[str]) -> list[str]:
    wanted = MinionsWanted(execution, dict.fromkeys(instances, (pool["id"],)))
    with api.database.transaction() as session:
        return pools.take(session, wanted.execution_id, wanted.pools, utc_now(), lambda: str(uuid.uuid4()))


def test_a_pool_is_made_and_shown_as_coriolis_does(api: Api) -> None:
    made = _pool(api, notes="mine", maximum_minions=3, environment_options={"flavor": "m1"})
    assert set(made) >= {
        "id", "name", "endpoint_id", "os_type", "platform", "environment_options", "minimum_minions",
        "maximum_minions", "minion_max_idle_time", "minion_retention_strategy", "notes", "status", "shared_resources",
        "maintenance_trust_id", "events", "progress_updates", "minion_machines", "created_at", "updated_at",
        "deleted_at", "deleted",
    }  # fmt: skip
    assert (made["minimum_minions"], made["maximum_minions"], made["minion_max_idle_time"]) == (1, 3, 1)
    assert (made["minion_retention_strategy"], made["status"]) == ("delete", "VALIDATING_INPUTS")
    assert made["environment_options"] == {"flavor": "m1"}
    assert api.outbox()[-1][:2] == ("start", "MinionPoolAction")
    assert _show(api, made) == made
    assert [each["id"] for each in api.call("GET", "/minion_pools").json["minion_pools"]] == [made["id"]]


def test_what_clients_leave_null_is_the_default(api: Api) -> None:
    made = _pool(
        api, minimum_minions=None, maximum_minions=None, minion_max_idle_time=None, notes=None, skip_allocation=None,
        minion_retention_strategy=None, environment_options=None,
    )  # fmt: skip
    assert (made["minimum_minions"], made["maximum_minions"]) == (1, 1)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"name": None}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"os_type": "solaris9"}, "os_type"),
        ({"os_type": "windows", "platform": "source"}, "linux"),
        ({"platform": "middle"}, "platform"),
        ({"minimum_minions": 0}, "minimum_minions"),
        ({"minimum_minions": 5, "maximum_minions": 4}, "maximum_minions"),
        ({"maximum_minions": 10**6}, "maximum_minions"),
        ({"maximum_minions": "2"}, "maximum_minions"),
        ({"minion_max_idle_time": -1}, "minion_max_idle_time"),
        ({"minion_retention_strategy": "sell"}, "minion_retention_strategy"),
        ({"environment_options": []}, "environment_options"),
    ],
)
def test_a_wrong_value_is_named(api: Api, change: dict[str, Any], word: str) -> None:
    body = {
        "name": "a", "endpoint_id": api.endpoint()["id"], "os_type": "linux", "platform": "destination", **change
    }  # fmt: skip
    assert_fault(api.call("POST", "/minion_pools", {"minion_pool": body}), 400, "badRequest", word)
    assert api.call("GET", "/minion_pools").json["minion_pools"] == []


def test_a_pool_of_an_unknown_endpoint_is_not_found(api: Api) -> None:
    body = {"name": "a", "endpoint_id": "no-such", "os_type": "linux", "platform": "source"}
    assert_fault(api.call("POST", "/minion_pools", {"minion_pool": body}), 404, "itemNotFound", "no-such")


def test_a_pools_whole_life(api: Api) -> None:
    made = _pool(api, skip_allocation=True, minimum_minions=2, maximum_minions=4)
    assert (made["status"], made["minion_machines"]) == ("DEALLOCATED", [])
    assert _act(api, made, "allocate").json["minion_pool"]["status"] == "VALIDATING_INPUTS"
    allocated = _carry_out(api, made)
    assert allocated["status"] == "ALLOCATED"
    assert [each["allocation_status"] for each in allocated["minion_machines"]] == ["AVAILABLE"] * 2
    assert _act(api, made, "refresh", {}).json["minion_pool"]["status"] == "IN_MAINTENANCE"
    assert _carry_out(api, made, "refresh")["status"] == "ALLOCATED"
    assert _act(api, made, "deallocate", {"force": False}).json["minion_pool"]["status"] == "DEALLOCATING_MACHINES"
    gone = _carry_out(api, made, "deallocate")
    assert (gone["status"], gone["minion_machines"]) == ("DEALLOCATED", [])
    assert [each["index"] for each in gone["events"]] == list(range(len(gone["events"])))
    assert api.call("DELETE", f"/minion_pools/{made['id']}").status_code == 204
    assert_fault(api.call("GET", f"/minion_pools/{made['id']}"), 404, "itemNotFound")


def test_an_action_that_does_not_fit_is_refused(api: Api) -> None:
    made = _pool(api, skip_allocation=True)
    assert_fault(_act(api, made, "refresh"), 409, "conflictingRequest", "DEALLOCATED")
    assert_fault(_act(api, made, "deallocate"), 409, "conflictingRequest", "DEALLOCATED")
    assert_fault(_act(api, made, "explode"), 400, "badRequest", "explode")
    assert_fault(_act(api, made, "deallocate", {"force": "yes"}), 400, "badRequest", "force")
    assert _act(api, made, "allocate").status_code == 200
    assert_fault(_act(api, made, "allocate"), 409, "conflictingRequest", "VALIDATING_INPUTS")
    assert_fault(api.call("DELETE", f"/minion_pools/{made['id']}"), 409, "conflictingRequest", "deallocate")


def test_force_ends_every_status_and_what_was_under_way_does_not_bring_it_back(api: Api) -> None:
    made = _pool(api)
    assert _act(api, made, "deallocate", {"force": True}).json["minion_pool"]["status"] == "DEALLOCATED"
    for move in moves_of(made["id"], "allocate"):
        assert _activities(api).move_pool(move) is False
    assert _show(api, made)["status"] == "DEALLOCATED"


def test_a_move_that_is_repeated_after_a_crash_changes_nothing(api: Api) -> None:
    made = _pool(api)
    first, *_ = moves_of(made["id"], "allocate")
    assert _activities(api).move_pool(first)
    events = _show(api, made)["events"]
    assert _activities(api).move_pool(first)
    assert _show(api, made)["events"] == events


def test_an_update_changes_what_it_names_and_the_rest_is_fixed(api: Api) -> None:
    made = _pool(api, skip_allocation=True)
    path = f"/minion_pools/{made['id']}"
    changed = api.call("PUT", path, {"minion_pool": {"name": "new", "maximum_minions": 9, "notes": None}})
    assert (changed.json["minion_pool"]["name"], changed.json["minion_pool"]["maximum_minions"]) == ("new", 9)
    for fixed in ("endpoint_id", "platform"):
        answer = api.call("PUT", path, {"minion_pool": {fixed: "source"}})
        assert_fault(answer, 400, "badRequest", fixed)
    assert_fault(api.call("PUT", path, {"minion_pool": {"minimum_minions": 10}}), 400, "badRequest", "maximum_minions")
    assert _show(api, made)["minimum_minions"] == 1


def test_lists_filter_by_status(api: Api) -> None:
    made = _pool(api, skip_allocation=True)
    found = api.call("GET", "/minion_pools?status=DEALLOCATED").json["minion_pools"]
    assert [each["id"] for each in found] == [made["id"]]
    assert api.call("GET", "/minion_pools?status=ALLOCATED").json["minion_pools"] == []
    assert_fault(api.call("GET", "/minion_pools?status=GONE"), 400, "badRequest", "ALLOCATED")


def test_another_projects_pool_does_not_exist(api: Api) -> None:
    made = _pool(api)
    path = f"/minion_pools/{made['id']}"
    assert_fault(api.call("GET", path, project="p2"), 404, "itemNotFound")
    assert_fault(api.call("DELETE", path, project="p2"), 404, "itemNotFound")
    assert_fault(api.call("PUT", path, {"minion_pool": {"name": "a"}}, project="p2"), 404, "itemNotFound")
    assert_fault(api.call("POST", f"{path}/actions", {"refresh": None}, project="p2"), 404, "itemNotFound")
    assert api.call("GET", "/minion_pools", project="p2").json["minion_pools"] == []


def test_a_full_pool_queues_and_gives_on_what_comes_back(api: Api) -> None:
    pool = _pool(api, maximum_minions=2)
    _carry_out(api, pool)
    assert _take(api, pool, "run1", ["a", "b", "c"]) == ["a", "b"]
    assert _take(api, pool, "run1", ["a", "b", "c"]) == ["a", "b"]
    machines = _show(api, pool)["minion_machines"]
    assert [each["allocation_status"] for each in machines] == ["IN_USE", "IN_USE"]
    assert {each["allocated_action"] for each in machines} == {"run1"}
    _activities(api).release_minions(MinionsServed("run1", "a"))
    assert _take(api, pool, "run1", ["c"]) == ["c"]
    assert_fault(_act(api, pool, "deallocate"), 409, "conflictingRequest", "in use")


def test_a_pool_that_is_gone_refuses_those_who_wait(api: Api) -> None:
    pool = _pool(api)
    _carry_out(api, pool)
    _act(api, pool, "deallocate", {"force": True})
    with pytest.raises(Conflict, match="allocate it first"):
        _take(api, pool, "run1", ["a"])


@pytest.mark.parametrize(("strategy", "left"), [("delete", 1), ("poweroff", 3)])
def test_idle_machines_beyond_the_minimum_are_given_up(api: Api, strategy: str, left: int) -> None:
    pool = _pool(api, maximum_minions=3, minion_max_idle_time=60, minion_retention_strategy=strategy)
    _carry_out(api, pool)
    _take(api, pool, "run1", ["a", "b", "c"])
    with api.database.transaction() as session:
        pools.release(session, "run1", utc_now())
    Timekeeper(api.database, lambda: utc_now() + timedelta(seconds=50)).care_for_pools()
    assert [each["power_status"] for each in _show(api, pool)["minion_machines"]] == ["POWERED_ON"] * 3
    Timekeeper(api.database, lambda: utc_now() + timedelta(seconds=70)).care_for_pools()
    machines = _show(api, pool)["minion_machines"]
    assert len(machines) == left
    assert [each["power_status"] for each in machines if each["power_status"] == "POWERED_ON"] == ["POWERED_ON"]
    with api.database.transaction() as session:
        assert pools.needing_care(session, utc_now() + timedelta(seconds=70)) == []


def test_an_allocated_pool_follows_its_new_limits(api: Api) -> None:
    pool = _pool(api, minimum_minions=3)
    _carry_out(api, pool)
    path = f"/minion_pools/{pool['id']}"
    api.call("PUT", path, {"minion_pool": {"minimum_minions": 1, "maximum_minions": 2}})
    Timekeeper(api.database, lambda: utc_now() + timedelta(seconds=70)).care_for_pools()
    assert len(_show(api, pool)["minion_machines"]) == 1
    api.call("PUT", path, {"minion_pool": {"minimum_minions": 2}})
    Timekeeper(api.database, utc_now).care_for_pools()
    assert len(_show(api, pool)["minion_machines"]) == 2


def _with_pools(api: Api) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    ends = [api.endpoint("origin")["id"], api.endpoint("destination")["id"]]
    source = _pool(api, ends[0], platform="source", skip_allocation=True)
    destination = _pool(api, ends[1], skip_allocation=True)
    transfer = api.transfer(
        origin_endpoint_id=ends[0],
        destination_endpoint_id=ends[1],
        origin_minion_pool_id=source["id"],
        destination_minion_pool_id=destination["id"],
        instance_osmorphing_minion_pool_mappings={"web": destination["id"]},
    )
    return transfer, source, destination


def _set_status(api: Api, status: PoolStatus) -> None:
    with api.database.transaction() as session:
        session.execute(update(MinionPoolRow).values(status=status))


def test_an_execution_with_pools_waits_for_their_machines(api: Api) -> None:
    transfer, source, destination = _with_pools(api)
    assert transfer["origin_minion_pool_id"] == source["id"]
    answer = api.call("POST", f"/transfers/{transfer['id']}/executions", {"execution": {}})
    assert_fault(answer, 409, "conflictingRequest", "allocate it first")
    _set_status(api, PoolStatus.ALLOCATED)
    run = api.execution(transfer["id"])
    assert run["status"] == "AWAITING_MINION_ALLOCATIONS"
    assert_fault(api.call("DELETE", f"/minion_pools/{source['id']}"), 409, "conflictingRequest")
    wanted = MinionsWanted(run["id"], {"web": (source["id"], destination["id"])})
    assert _activities(api).take_minions(wanted) == ["web"]
    path = f"/transfers/{transfer['id']}/executions/{run['id']}"
    assert api.call("GET", path).json["execution"]["status"] == "RUNNING"
    assert api.call("POST", f"{path}/actions", {"cancel": None}).status_code == 204


def test_a_waiting_execution_can_be_cancelled(api: Api) -> None:
    transfer, _, _ = _with_pools(api)
    _set_status(api, PoolStatus.ALLOCATED)
    run = api.execution(transfer["id"])
    path = f"/transfers/{transfer['id']}/executions/{run['id']}"
    assert api.call("POST", f"{path}/actions", {"cancel": None}).status_code == 204
    assert api.call("GET", path).json["execution"]["status"] == "CANCELLING"


def test_a_deployment_uses_the_transfers_morphing_pools_unless_it_names_others(api: Api) -> None:
    transfer, _, destination = _with_pools(api)
    _set_status(api, PoolStatus.ALLOCATED)
    api.finish(transfer["id"])
    body = {"transfer_id": transfer["id"], "instance_osmorphing_minion_pool_mappings": None}
    made = api.call("POST", "/deployments", {"deployment": body}).json["deployment"]
    assert made["instance_osmorphing_minion_pool_mappings"] == {"web": destination["id"]}
    assert made["last_execution_status"] == "AWAITING_MINION_ALLOCATIONS"


@pytest.mark.parametrize("skip", [{"skip_os_morphing": True}, {"instance_osmorphing_minion_pool_mappings": {}}])
def test_a_deployment_that_needs_no_machine_does_not_wait(api: Api, skip: dict[str, Any]) -> None:
    transfer, _, _ = _with_pools(api)
    api.finish(transfer["id"])
    made = api.call("POST", "/deployments", {"deployment": {"transfer_id": transfer["id"], **skip}}).json["deployment"]
    assert made["last_execution_status"] == "RUNNING"


def test_pools_must_stand_beside_the_right_endpoint(api: Api) -> None:
    ends = {"origin_endpoint_id": api.endpoint("o")["id"], "destination_endpoint_id": api.endpoint("d")["id"]}
    source = _pool(api, ends["origin_endpoint_id"], platform="source", skip_allocation=True)["id"]
    for change in (
        {"destination_minion_pool_id": source},
        {"instance_osmorphing_minion_pool_mappings": {"web": source}},
        {"origin_minion_pool_id": _pool(api, ends["origin_endpoint_id"], skip_allocation=True)["id"]},
        {"instance_osmorphing_minion_pool_mappings": {"stranger": source}},
    ):
        answer = api.call("POST", "/transfers", {"transfer": api.transfer_body(**ends, **change)})
        assert_fault(answer, 400, "badRequest", "minion_pool")
    answer = api.call("POST", "/transfers", {"transfer": api.transfer_body(**ends, origin_minion_pool_id="no-such")})
    assert_fault(answer, 404, "itemNotFound", "no-such")


def test_a_pool_keeps_its_endpoint_and_a_transfer_its_pools(api: Api) -> None:
    transfer, source, _ = _with_pools(api)
    api.call("DELETE", f"/transfers/{transfer['id']}")
    assert_fault(api.call("DELETE", f"/endpoints/{source['endpoint_id']}"), 409, "conflictingRequest", source["id"])
    assert api.call("DELETE", f"/minion_pools/{source['id']}").status_code == 204


def test_a_pool_that_gives_nothing_does_not_spoil_an_execution_that_should_be_deployed(api: Api) -> None:
    transfer, _, _ = _with_pools(api)
    _set_status(api, PoolStatus.ALLOCATED)
    run = api.execution(transfer["id"], auto_deploy=True)
    control = ControlActivities(api.database, utc_now)
    control.begin_execution({"execution_id": run["id"]})
    with api.database.transaction() as session:
        recording.move_execution(session, run["id"], ExecutionStatus.RUNNING, utc_now())
    _set_status(api, PoolStatus.DEALLOCATED)
    control.finish_execution(Finish(run["id"], ExecutionStatus.COMPLETED))
    shown = api.call("GET", f"/transfers/{transfer['id']}/executions/{run['id']}").json["execution"]
    assert shown["status"] == "COMPLETED"
    messages = [event["message"] for task in shown["tasks"] for event in task["events"]]
    assert [message for message in messages if "not deployed" in message and "allocate it first" in message]
    assert api.call("GET", "/deployments").json["deployments"] == []
