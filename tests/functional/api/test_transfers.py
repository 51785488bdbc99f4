"""Transfers: checked whole before anything is kept; shown as Coriolis shows them."""

from typing import Any

import pytest
from tests.functional.api.parts import BARBICAN, Api, assert_fault

from isthmus.migration.model import ExecutionStatus


def test_a_transfer_has_coriolis_keys_and_mappings_in_its_destination_environment(api: Api) -> None:
    made = api.transfer(
        source_environment={"shutdown_timeout": 60},
        destination_environment={"storage_pool": "fast"},
        notes="the shop",
        storage_mappings={"default": "pool", "disk_mappings": [{"disk_id": "vda", "destination": "fast"}]},
    )
    assert {
        "id", "base_id", "user_id", "project_id", "type", "scenario", "clustered", "executions", "info",
        "reservation_id", "transfer_result", "last_execution_status", "instances", "notes", "user_scripts",
        "origin_endpoint_id", "destination_endpoint_id", "source_environment", "destination_environment",
        "network_map", "storage_mappings", "origin_minion_pool_id", "destination_minion_pool_id",
        "instance_osmorphing_minion_pool_mappings", "clone_disks", "skip_os_morphing",
        "created_at", "updated_at", "deleted_at", "deleted",
    } - set(made) == {"info"}  # fmt: skip
    mappings = {"default": "pool", "disk_mappings": [{"disk_id": "vda", "destination": "fast"}]}
    assert made["destination_environment"] == {
        "storage_pool": "fast",
        "network_map": {"lan": "net"},
        "storage_mappings": mappings,
    }
    assert made["storage_mappings"] == mappings
    assert (made["type"], made["scenario"], made["last_execution_status"]) == ("transfer", "replica", "UNEXECUTED")
    assert (made["clone_disks"], made["skip_os_morphing"], made["executions"]) == (True, False, [])
    assert api.call("GET", f"/transfers/{made['id']}").json == {"transfer": made}
    whole = api.call("GET", f"/transfers/{made['id']}", params={"include_task_info": "true"})
    assert whole.json["transfer"]["info"] == {}


def test_null_stands_for_the_default(api: Api) -> None:
    keys = ("clone_disks", "skip_os_morphing", "network_map", "storage_mappings", "notes", "user_scripts", "scenario",
            "source_environment", "destination_environment", "origin_minion_pool_id", "destination_minion_pool_id",
            "instance_osmorphing_minion_pool_mappings")  # fmt: skip
    nulls: dict[str, Any] = dict.fromkeys(keys)
    made = api.transfer(**nulls)
    assert (made["clone_disks"], made["skip_os_morphing"], made["scenario"]) == (True, False, "replica")
    assert made["user_scripts"] == {"global": {}, "instances": {}}


def test_both_scenarios_are_known(api: Api) -> None:
    assert api.transfer(scenario="live_migration")["scenario"] == "live_migration"
    assert_fault(
        api.call("POST", "/transfers", {"transfer": api.transfer_body(scenario="teleport")}), 400, "badRequest",
        "scenario",
    )  # fmt: skip


def test_mappings_inside_the_destination_environment_are_taken_out(api: Api) -> None:
    inner = {"network_map": {"a": "b"}, "storage_mappings": {"default": "x"}}
    made = api.transfer(destination_environment=inner, network_map={}, storage_mappings={})
    assert (made["network_map"], made["storage_mappings"]) == ({"a": "b"}, {"default": "x"})
    made = api.transfer(destination_environment=inner)
    assert (made["network_map"], made["storage_mappings"]) == ({"lan": "net"}, {"default": "pool"})


@pytest.mark.parametrize(
    "network", [{"id": "net"}, {"name": "net"}, {"id": "net", "name": "other", "security_groups": []}, "net"]
)
def test_a_network_may_be_an_object_as_in_coriolis(api: Api, network: object) -> None:
    made = api.transfer(network_map={"lan": network})
    assert made["network_map"] == {"lan": "net"}
    changed = api.call("PUT", f"/transfers/{made['id']}", {"transfer": {"network_map": {"wan": network}}})
    assert changed.status_code == 200, changed.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instances": []}, ("instances",)),
        ({"instances": None}, ("instances",)),
        ({"instances": "web"}, ("instances",)),
        ({"instances": ["web", "web"]}, ("instances", "web", "twice")),
        ({"instances": [7]}, ("instances",)),
        ({"instances": ["../../etc/shadow"]}, ("instances", "..")),
        ({"instances": ["a\x00"]}, ("NUL",)),
        ({"instances": ["a\nb"]}, ("instances", "printable")),
        ({"source_environment": {"shutdown_timeout": "soon"}}, ("source_environment.shutdown_timeout", "integer")),
        ({"source_environment": {"colour": "red"}}, ("source_environment", "unknown", "shutdown_timeout")),
        ({"destination_environment": {"disk_bus": "floppy"}}, ("destination_environment.disk_bus", "virtio")),
        ({"destination_environment": {"network_map": 7}}, ("destination_environment.network_map",)),
        ({"network_map": {"lan": 7}}, ("network_map.lan",)),
        ({"network_map": []}, ("network_map",)),
        ({"network_map": {"lan": {}}}, ("network_map.lan", "give id or name")),
        ({"network_map": {"lan": {"id": 7}}}, ("network_map.lan",)),
        ({"network_map": {"lan": {"id": "net", "vlan": 5}}}, ("network_map.lan", "vlan")),
        ({"network_map": {"lan": {"id": "net", "security_groups": ["web"]}}}, ("network_map.lan", "security_groups")),
        ({"storage_mappings": {"defualt": "x"}}, ("storage_mappings.defualt",)),
        ({"storage_mappings": {"backend_mappings": [{"source": "a"}]}}, ("backend_mappings.0.destination",)),
        ({"user_scripts": {"global": {"beos": "x"}}}, ("user_scripts", "beos")),
        ({"user_scripts": {"global": {"linux": "  "}}}, ("user_scripts", "payload")),
        ({"user_scripts": {"global": {"linux": [{"payload": "x", "phase": "never"}]}}}, ("user_scripts", "phase")),
        ({"user_scripts": {"instances": {"db": "x"}}}, ("user_scripts", "db")),
        ({"user_scripts": []}, ("user_scripts",)),
        ({"origin_minion_pool_id": 7}, ("origin_minion_pool_id",)),
        ({"instance_osmorphing_minion_pool_mappings": {"web": 7}}, ("instance_osmorphing_minion_pool_mappings",)),
        ({"clone_disks": "yes"}, ("clone_disks",)),
        ({"skip_os_morphing": 1}, ("skip_os_morphing",)),
    ],
)
def test_a_wrong_value_is_named(api: Api, change: dict[str, Any], words: tuple[str, ...]) -> None:
    answer = api.call("POST", "/transfers", {"transfer": api.transfer_body(**change)})
    assert_fault(answer, 400, "badRequest", *words)
    assert api.call("GET", "/transfers").json == {"transfers": []}


def test_scripts_are_kept_in_the_long_form_with_linux_line_ends(api: Api) -> None:
    made = api.transfer(
        user_scripts={
            "global": {"linux": "a\r\nb", "windows": "c\r\nd"},
            "instances": {"web": [{"payload": "x", "phase": "replica_first_boot"}, {"payload": "y"}]},
        }
    )
    after = "osmorphing_post_os_mount"
    assert made["user_scripts"] == {
        "global": {
            "linux": [{"phase": after, "payload": "a\nb"}],
            "windows": [{"phase": after, "payload": "c\r\nd"}],
        },
        "instances": {
            "web": [{"phase": "replica_first_boot", "payload": "x"}, {"phase": after, "payload": "y"}],
        },
    }


def test_the_two_ends_must_differ(api: Api) -> None:
    one = api.endpoint()["id"]
    body = api.transfer_body(origin_endpoint_id=one, destination_endpoint_id=one)
    assert_fault(api.call("POST", "/transfers", {"transfer": body}), 400, "badRequest", "cannot be the same")


def test_two_endpoints_with_the_same_secret_are_the_same_end(api: Api) -> None:
    details = {"secret_ref": f"{BARBICAN}11111111-0000-4000-8000-000000000000"}
    body = api.transfer_body(
        origin_endpoint_id=api.endpoint("a", connection_info=details)["id"],
        destination_endpoint_id=api.endpoint("b", connection_info=details)["id"],
    )
    assert_fault(api.call("POST", "/transfers", {"transfer": body}), 400, "badRequest", "same connection details")


def test_endpoints_must_exist_in_the_project(api: Api) -> None:
    foreign = api.endpoint(project="p2")["id"]
    for side in ("origin_endpoint_id", "destination_endpoint_id"):
        body = api.transfer_body(**{side: foreign})
        assert_fault(api.call("POST", "/transfers", {"transfer": body}), 404, "itemNotFound", foreign)


def test_another_projects_transfer_does_not_exist(api: Api) -> None:
    path = f"/transfers/{api.transfer(project='p2')['id']}"
    for method, end, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/actions", {"delete-disks": None}),
        ("GET", "/executions", None),
        ("GET", "/executions/detail", None),
        ("POST", "/executions", {"execution": {}}),
        ("GET", "/executions/x", None),
        ("DELETE", "/executions/x", None),
        ("POST", "/executions/x/actions", {"cancel": None}),
    ):
        assert_fault(api.call(method, path + end, body), 404, "itemNotFound")
    deployment = {"deployment": {"transfer_id": path.rsplit("/", 1)[1]}}
    assert_fault(api.call("POST", "/deployments", deployment), 404, "itemNotFound")
    assert api.call("GET", "/transfers").json == {"transfers": []}
    assert api.outbox() == []


def test_delete_hides_a_transfer_and_has_its_checkpoints_removed(api: Api) -> None:
    made = api.transfer()
    assert api.call("DELETE", f"/transfers/{made['id']}").status_code == 204
    assert_fault(api.call("GET", f"/transfers/{made['id']}"), 404, "itemNotFound")
    assert api.outbox() == [("start", "TransferForget", f"forget-{made['id']}")]
    shown = api.call("GET", "/transfers", params={"show_deleted": "true"}).json["transfers"]
    assert [(each["id"], each["deleted"]) for each in shown] == [(made["id"], made["id"])]
    for side in ("origin", "destination"):
        assert api.call("DELETE", f"/endpoints/{made[f'{side}_endpoint_id']}").status_code == 204


def test_delete_disks_starts_an_execution(api: Api) -> None:
    made = api.transfer()
    answer = api.call("POST", f"/transfers/{made['id']}/actions", {"delete-disks": None})
    run = answer.json["execution"]
    assert (run["type"], run["status"], run["action_id"]) == ("transfer_disks_delete", "RUNNING", made["id"])
    assert api.outbox() == [("start", "TransferDisksDelete", f"execution-{run['id']}")]
    assert_fault(
        api.call("POST", f"/transfers/{made['id']}/actions", {"delete-disks": None}), 409, "conflictingRequest",
        run["id"],
    )  # fmt: skip


@pytest.mark.parametrize("status", ["COMPLETED", "ERROR", "UNEXECUTED"])
def test_transfers_are_filtered_by_status(api: Api, status: str) -> None:
    made = api.transfer()
    api.finish(made["id"], ExecutionStatus(status))
    for path in ("/transfers", "/transfers/detail"):
        found = api.call("GET", path, params={"status": status}).json["transfers"]
        assert [each["id"] for each in found] == [made["id"]]
        assert api.call("GET", path, params={"status": "CANCELLING"}).json == {"transfers": []}
    assert_fault(api.call("GET", "/transfers", params={"status": "LOST"}), 400, "badRequest", "LOST", "COMPLETED")


def test_a_verification_needs_a_completed_pass(api: Api) -> None:
    made = api.transfer(instances=["web", "db"])
    path = f"/transfers/{made['id']}/actions"
    assert_fault(api.call("POST", path, {"verify": None}), 409, "conflictingRequest", "UNEXECUTED")
    api.execution(made["id"])
    assert_fault(api.call("POST", path, {"verify": None}), 409, "conflictingRequest", "under way")
    api.finish(made["id"])
    assert_fault(api.call("POST", path, {"verify": {"instances": ["mail"]}}), 400, "badRequest", "mail")
    run = api.call("POST", path, {"verify": {"instances": ["db"]}}).json["execution"]
    assert (run["type"], run["instances"]) == ("transfer_verification", ["db"])
    assert api.outbox()[-1] == ("start", "TransferVerification", f"execution-{run['id']}")
