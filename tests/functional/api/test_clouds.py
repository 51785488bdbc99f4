"""What a cloud has: asked of the engine, shown in Coriolis' form."""

import base64
import dataclasses
import json
from typing import Any

import pytest
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.errors import NotFound, Unavailable
from isthmus.migration.machine import Disk, Firmware, Machine, Nic, PowerState


def _machine(identity: str) -> dict[str, Any]:
    disk = Disk("vda", 4 << 30, "qcow2", "default", "ide", can_track_changes=True)
    nic = Nic("nic0", "52:54:00:00:00:01", "lan", ip_addresses=("10.0.0.2",))
    machine = Machine(
        identity, f"vm {identity}", 2, 1024, Firmware.BIOS, PowerState.RUNNING, disks=(disk,), nics=(nic,)
    )
    whole: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(machine)))
    return whole


def _base64(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode()


def _env(value: object) -> dict[str, str]:
    return {"env": _base64(json.dumps(value))}


def test_instances_are_paged(api: Api) -> None:
    made = api.endpoint()
    api.engine.answers["list_machines"] = {"machines": [_machine(each) for each in "abcd"]}
    path = f"/endpoints/{made['id']}/instances"

    def ids(**query: str) -> list[str]:
        return [each["id"] for each in api.call("GET", path, params=query).json["instances"]]

    assert ids() == ["a", "b", "c", "d"]
    assert ids(limit="2") == ["a", "b"]
    assert ids(limit="2", marker="b") == ["c", "d"]
    assert ids(marker="d") == []
    for unknown in ("", "aa", "e"):
        assert_fault(api.call("GET", path, params={"marker": unknown}), 404, "itemNotFound", "marker")
    ids(name="^web", refresh="True")
    assert api.engine.asked[-1]["parameters"] == {"name": "^web"}


@pytest.mark.parametrize(
    ("name", "word"), [("(", "not a regular expression"), (r"(a)\1", "back references"), ("a" * 256, "256 characters")]
)
def test_a_pattern_that_no_worker_could_search_is_refused_before_one_is_asked(api: Api, name: str, word: str) -> None:
    made = api.endpoint()
    answer = api.call("GET", f"/endpoints/{made['id']}/instances", params={"name": name})
    assert_fault(answer, 400, "badRequest", word)
    assert api.engine.asked == []


@pytest.mark.parametrize("name", ["a", "folder/ünï code?", "a" * 200])
def test_an_instance_is_shown_by_the_base64_of_its_id(api: Api, name: str) -> None:
    made = api.endpoint()
    api.engine.answers["get_machine"] = {"machine": _machine(name)}
    shown = api.call("GET", f"/endpoints/{made['id']}/instances/{_base64(name)}").json["instance"]
    assert api.engine.asked[-1]["parameters"] == {"instance": name}
    assert (shown["id"], shown["firmware_type"], shown["memory_mb"]) == (name, "BIOS", 1024)
    assert set(shown["devices"]) == {"disks", "nics", "cdroms", "controllers", "serial_ports", "floppies"}
    assert shown["devices"]["disks"][0]["size_bytes"] == 4 << 30
    assert shown["devices"]["nics"][0]["ip_addresses"] == ["10.0.0.2"]


@pytest.mark.parametrize("name", ["!!!", "YQ", "_w==", "AA=="])
def test_an_instance_that_is_not_base64_is_refused(api: Api, name: str) -> None:
    made = api.endpoint()
    assert_fault(api.call("GET", f"/endpoints/{made['id']}/instances/{name}"), 400, "badRequest", "instance")


def test_networks_and_storage(api: Api) -> None:
    made = api.endpoint()
    api.engine.answers["list_networks"] = {"networks": [{"id": "1", "name": "lan"}]}
    backend = {"id": "p", "name": "pool", "free_bytes": 5}
    api.engine.answers["list_storage"] = {"storage_backends": [backend], "config_default": "p"}
    networks = api.call("GET", f"/endpoints/{made['id']}/networks", params=_env({"storage_pool": "p"}))
    assert networks.json == {"networks": [{"id": "1", "name": "lan"}]}
    storage = api.call("GET", f"/endpoints/{made['id']}/storage").json["storage"]
    assert (storage["storage_backends"][0]["id"], storage["config_default"]) == ("p", "p")
    api.engine.answers["list_storage"] = {"storage_backends": [], "config_default": None}
    assert api.call("GET", f"/endpoints/{made['id']}/storage").json == {"storage": {"storage_backends": []}}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_options_with_an_environment_and_a_choice(api: Api, side: str) -> None:
    made = api.endpoint()
    options: list[dict[str, Any]] = [{"name": name, "values": [], "config_default": None} for name in ("one", "two")]
    api.engine.answers[f"{side}_options"] = {"options": options}
    environment = {"source": {"force_shutdown": True}, "destination": {"disk_bus": "sata"}}[side]
    query = {**_env(environment), "options": _base64('["two"]')}
    answer = api.call("GET", f"/endpoints/{made['id']}/{side}-options", params=query)
    assert answer.json == {f"{side}_options": [options[1]]}
    assert api.engine.asked[-1]["parameters"] == {"environment": environment}


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"env": "%%%"}, "env"),
        ({"env": _base64("{")}, "JSON"),
        ({"env": _base64("[" * 100000)}, "JSON"),
        (_env([]), "object"),
        (_env({"disk_bus": 7}), "destination_environment.disk_bus"),
        (_env({"colour": "red"}), "unknown"),
        ({"options": _base64("{}")}, "options"),
    ],
)
def test_a_wrong_environment_is_named(api: Api, query: dict[str, str], word: str) -> None:
    made = api.endpoint()
    api.engine.answers["destination_options"] = {"options": []}
    answer = api.call("GET", f"/endpoints/{made['id']}/destination-options", params=query)
    assert_fault(answer, 400, "badRequest", word)


def test_a_clouds_errors_come_through(api: Api) -> None:
    made = api.endpoint()
    api.engine.answers["get_machine"] = NotFound("there is no machine 'x' at qemu:///a")
    answer = api.call("GET", f"/endpoints/{made['id']}/instances/{_base64('x')}")
    assert_fault(answer, 404, "itemNotFound", "no machine 'x'")
    api.engine.answers["list_networks"] = Unavailable("qemu:///a does not answer")
    assert_fault(api.call("GET", f"/endpoints/{made['id']}/networks"), 503, "serviceUnavailable", "does not answer")
