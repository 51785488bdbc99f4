"""PUT transfers: what it accepts, and what it is going to try; the workflow tests have it tried."""

from typing import Any

import pytest
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.database import utc_now
from isthmus.migration.model import ExecutionStatus
from isthmus.migration.tables import ExecutionRow
from isthmus.migration.workflows.calls import Finish
from isthmus.migration.workflows.control import ControlActivities


def _put(api: Api, transfer: dict[str, Any], **changes: Any) -> Any:
    return api.call("PUT", f"/transfers/{transfer['id']}", {"transfer": changes})


def _updated(api: Api, transfer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the transfer after an update whose steps have all succeeded."""
    answer = _put(api, transfer, **changes)
    assert answer.status_code == 200, answer.text
    run = answer.json["execution"]
    control = ControlActivities(api.database, utc_now)
    control.finish_execution(Finish(run["id"], ExecutionStatus.COMPLETED))
    shown: dict[str, Any] = api.call("GET", f"/transfers/{transfer['id']}").json["transfer"]
    return shown


def test_an_update_is_an_execution_and_changes_nothing_before_it_has_succeeded(api: Api) -> None:
    transfer = api.transfer(notes="old")
    run = _put(api, transfer, notes="new").json["execution"]
    assert (run["type"], run["status"], run["number"]) == ("transfer_update", "RUNNING", 1)
    assert api.outbox()[-1] == ("start", "TransferUpdate", f"execution-{run['id']}")
    shown = api.call("GET", f"/transfers/{transfer['id']}").json["transfer"]
    assert (shown["notes"], shown["last_execution_status"]) == ("old", "RUNNING")
    with api.database.transaction() as session:
        row = session.get(ExecutionRow, run["id"])
        assert row is not None
        assert (row.requested or {})["notes"] == "new"


def test_a_failed_update_changes_nothing(api: Api) -> None:
    transfer = api.transfer(notes="old")
    run = _put(api, transfer, notes="new").json["execution"]
    control = ControlActivities(api.database, utc_now)
    control.finish_execution(Finish(run["id"], ExecutionStatus.ERROR))
    shown = api.call("GET", f"/transfers/{transfer['id']}").json["transfer"]
    assert (shown["notes"], shown["last_execution_status"]) == ("old", "ERROR")


def test_objects_are_merged_and_all_else_is_replaced(api: Api) -> None:
    transfer = api.transfer(
        notes="old",
        source_environment={"shutdown_timeout": 9},
        destination_environment={"disk_bus": "sata"},
        storage_mappings={"default": "a", "disk_mappings": [{"disk_id": "vda", "destination": "b"}]},
        user_scripts={"global": {"linux": "echo 1"}},
    )
    shown = _updated(
        api,
        transfer,
        destination_environment={"storage_pool": "c"},
        network_map={"dmz": "outer"},
        storage_mappings={"disk_mappings": [{"disk_id": "vdb", "destination": "d"}]},
        user_scripts={"instances": {"web": "echo 2"}},
        clone_disks=False,
    )
    assert shown["source_environment"] == {"shutdown_timeout": 9}
    assert shown["network_map"] == {"lan": "net", "dmz": "outer"}
    assert shown["storage_mappings"] == {
        "default": "a",
        "disk_mappings": [{"disk_id": "vda", "destination": "b"}, {"disk_id": "vdb", "destination": "d"}],
    }
    assert shown["destination_environment"] == {
        "disk_bus": "sata",
        "storage_pool": "c",
        "network_map": shown["network_map"],
        "storage_mappings": shown["storage_mappings"],
    }
    assert [script["payload"] for script in shown["user_scripts"]["global"]["linux"]] == ["echo 1"]
    assert [script["payload"] for script in shown["user_scripts"]["instances"]["web"]] == ["echo 2"]
    assert (shown["notes"], shown["clone_disks"], shown["skip_os_morphing"]) == ("old", False, False)


def test_a_mapping_that_is_given_again_replaces_its_own_only(api: Api) -> None:
    transfer = api.transfer(storage_mappings={"backend_mappings": [{"source": "a", "destination": "b"}]})
    new = [{"source": "a", "destination": "c"}, {"source": "x", "destination": "y"}]
    assert _updated(api, transfer, storage_mappings={"backend_mappings": new})["storage_mappings"] == {
        "backend_mappings": new
    }


def test_null_keeps_what_there_is(api: Api) -> None:
    transfer = api.transfer(notes="old", clone_disks=False)
    shown = _updated(
        api, transfer, notes=None, clone_disks=None, skip_os_morphing=None, source_environment=None, network_map=None,
        storage_mappings=None, user_scripts=None, destination_environment=None,
        instance_osmorphing_minion_pool_mappings=None,
    )  # fmt: skip
    changing = {"updated_at", "last_execution_status"}
    assert {key: value for key, value in shown.items() if key not in changing} == {
        key: value for key, value in transfer.items() if key not in changing
    }


def test_ends_instances_and_scenario_are_fixed(api: Api) -> None:
    transfer = api.transfer()
    for change in (
        {"origin_endpoint_id": transfer["destination_endpoint_id"]},
        {"destination_endpoint_id": "other"},
        {"instances": ["web", "db"]},
        {"scenario": "live_migration"},
    ):
        assert_fault(_put(api, transfer, **change), 400, "badRequest", next(iter(change)), "cannot be changed")
    same = {key: transfer[key] for key in ("origin_endpoint_id", "destination_endpoint_id", "instances", "scenario")}
    assert _put(api, transfer, **same).status_code == 200


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"source_environment": {"no_such": 1}}, "source_environment"),
        ({"destination_environment": {"no_such": 1}}, "destination_environment"),
        ({"destination_environment": "x"}, "destination_environment"),
        ({"network_map": {"a": 1}}, "network_map"),
        ({"storage_mappings": {"disk_mappings": [{"disk_id": "vda"}]}}, "storage_mappings"),
        ({"user_scripts": {"instances": {"stranger": "x"}}}, "stranger"),
        ({"instance_osmorphing_minion_pool_mappings": {"stranger": "x"}}, "stranger"),
        ({"clone_disks": "yes"}, "clone_disks"),
        ({"notes": 7}, "notes"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_begins(api: Api, change: dict[str, Any], word: str) -> None:
    transfer = api.transfer()
    assert_fault(_put(api, transfer, **change), 400, "badRequest", word)
    assert api.call("GET", f"/transfers/{transfer['id']}/executions").json["executions"] == []


def test_a_transfer_at_work_is_not_updated(api: Api) -> None:
    transfer = api.transfer()
    running = api.execution(transfer["id"])["id"]
    assert_fault(_put(api, transfer, notes="new"), 409, "conflictingRequest", running)


def test_unknown_and_foreign_transfers_are_not_found(api: Api) -> None:
    transfer = api.transfer()
    path = f"/transfers/{transfer['id']}"
    assert_fault(api.call("PUT", path, {"transfer": {"notes": "x"}}, project="p2"), 404, "itemNotFound")
    assert_fault(api.call("PUT", "/transfers/no-such", {"transfer": {}}), 404, "itemNotFound", "no-such")
    assert_fault(api.call("PUT", path, {"notes": "x"}), 400, "badRequest", "envelope")
