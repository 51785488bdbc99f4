"""A cloud's machines as CSV, and what is told about minion pools of a cloud."""

import csv
import io
from typing import Any

from tests.functional.api.parts import Api, assert_fault

from isthmus.control.errors import Unavailable


def _machine(**changes: Any) -> dict[str, Any]:
    disk = {"size_bytes": 1 << 30, "allocated_bytes": 5, "storage_backend_identifier": "pool"}
    nic = {"network_name": "lan", "mac_address": "52:54:00:00:00:01", "ip_addresses": ["10.0.0.2", "fd00::2"]}
    return {
        "id": "1", "name": "web", "os_type": "linux", "power_state": "running", "firmware": "BIOS",
        "secure_boot": False, "num_cpu": 2, "memory_mb": 512, "disks": [disk, disk], "nics": [nic], **changes,
    }  # fmt: skip


def _rows(api: Api, *machines: dict[str, Any]) -> list[dict[str, str]]:
    made = api.endpoint()
    api.engine.answers["inventory"] = {"machines": list(machines)}
    answer = api.call("GET", f"/endpoints/{made['id']}/inventory")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_each_machine_is_a_line(api: Api) -> None:
    (row,) = _rows(api, _machine())
    assert (row["name"], row["num_cpu"], row["disk_count"], row["disk_bytes"]) == ("web", "2", "2", str(2 << 30))
    assert (row["disk_bytes_allocated"], row["storage"]) == ("10", "pool")
    assert (row["networks"], row["ip_addresses"]) == ("lan", "10.0.0.2;fd00::2")


def test_an_empty_cloud_is_a_header(api: Api) -> None:
    assert _rows(api) == []


def test_names_come_out_as_they_are_and_formulas_do_not_run(api: Api) -> None:
    names = ['say "hi", twice', "two\nlines", "=HYPERLINK(1)", "@x", "ünï"]
    rows = _rows(api, *(_machine(name=name) for name in names))
    assert [row["name"] for row in rows] == ['say "hi", twice', "two\nlines", "'=HYPERLINK(1)", "'@x", "ünï"]


def test_an_unknown_allocation_is_empty(api: Api) -> None:
    disk = {"size_bytes": 1, "allocated_bytes": None, "storage_backend_identifier": "a"}
    (row,) = _rows(api, _machine(disks=[disk], nics=[]))
    assert (row["disk_bytes_allocated"], row["nic_count"]) == ("", "0")


def test_a_silent_cloud_and_a_wrong_environment_are_faults(api: Api) -> None:
    made = api.endpoint()
    api.engine.answers["inventory"] = Unavailable("the cloud does not answer")
    assert_fault(api.call("GET", f"/endpoints/{made['id']}/inventory"), 503, "serviceUnavailable", "the cloud")
    assert_fault(api.call("GET", f"/endpoints/{made['id']}/inventory?env=%FF"), 400, "badRequest", "env")
    assert_fault(api.call("GET", "/endpoints/no-such/inventory"), 404, "itemNotFound")
    assert_fault(api.call("GET", f"/endpoints/{made['id']}/inventory", project="p2"), 404, "itemNotFound")


def test_pools_have_no_options_of_a_cloud(api: Api) -> None:
    made = api.endpoint()
    for platform in ("source", "destination"):
        path = f"/endpoints/{made['id']}/{platform}-minion-pool-options"
        assert api.call("GET", path).json == {f"{platform}_minion_pool_options": []}
        assert_fault(api.call("GET", f"{path}?env=%FF"), 400, "badRequest", "env")
        assert_fault(api.call("GET", f"{path}?options=e30="), 400, "badRequest", "options")


def test_providers_show_what_is_done_for_each_of_them(api: Api) -> None:
    types = api.call("GET", "/providers").json["providers"]["libvirt"]["types"]
    assert {65536, 262144, 524288, 1048576, 2097152} <= set(types)
    assert types == sorted(types)
    for bit, name in ((524288, "source"), (1048576, "destination")):
        schemas = api.call("GET", f"/providers/libvirt/schemas/{bit}").json["schemas"]
        assert schemas[f"{name}_minion_pool_environment_schema"]["properties"] == {}
    for unknown in ("7", "libvirt", "-1", "2097152"):
        assert_fault(api.call("GET", f"/providers/libvirt/schemas/{unknown}"), 404, "itemNotFound", unknown)
