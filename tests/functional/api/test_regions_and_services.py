"""Regions, services and diagnostics through HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from temporalio.exceptions import ApplicationError
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.database import utc_now
from isthmus.control.errors import Unavailable
from isthmus.control.queues import worker_queue
from isthmus.migration.store import regions
from isthmus.migration.tables import ServiceRow
from isthmus.migration.workflows.calls import LeaseTerm, ServiceFacts, WorkerFacts
from isthmus.migration.workflows.control import ControlActivities
from isthmus.migration.workflows.placing import observed
from isthmus.migration.workflows.pool_control import PoolActivities
from isthmus.migration.workflows.worker_control import LeaseActivities

DIAGNOSTICS = {
    "application": "isthmus-worker",
    "packages": ["a==1"],
    "os_info": "Debian",
    "hostname": "east1",
    "ip_addresses": ["10.0.0.1"],
    "release_tag": "0.1.0",
}
WORKER_ID = "3f0d6d84-5f0e-4b0e-9a55-0d1f2a3b4c5d"
PROVIDERS = {"libvirt": {"types": [4, 8]}}


def _region(api: Api, name: str = "east", **changes: Any) -> dict[str, Any]:
    answer = api.call("POST", "/regions", {"region": {"name": name, **changes}})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json["region"]
    return made


def _service(api: Api, **changes: Any) -> Any:
    body = {"host": "east1", "binary": "isthmus-worker", "topic": "isthmus_worker", **changes}
    return api.call("POST", "/services", {"service": body})


@pytest.fixture
def answering(api: Api) -> Api:
    api.engine.services["isthmus-host-east1"] = {"providers": PROVIDERS, "diagnostics": DIAGNOSTICS}
    api.engine.services["isthmus-conductor"] = {"diagnostics": {**DIAGNOSTICS, "application": "isthmus-conductor"}}
    return api


def test_a_regions_whole_life(api: Api) -> None:
    made = _region(api, description=None, enabled=None)
    assert set(made) >= {"id", "name", "description", "enabled", "mapped_endpoints", "mapped_services", "created_at"}
    assert (made["description"], made["enabled"], made["mapped_endpoints"]) == ("", True, [])
    path = f"/regions/{made['id']}"
    changed = api.call("PUT", path, {"region": {"description": "the east", "enabled": False}}).json["region"]
    assert (changed["name"], changed["description"], changed["enabled"]) == ("east", "the east", False)
    assert api.call("GET", "/regions").json["regions"] == [changed]
    assert api.call("GET", path).json["region"] == changed
    assert api.call("DELETE", path).status_code == 204
    assert_fault(api.call("GET", path), 404, "itemNotFound", made["id"])
    assert_fault(api.call("DELETE", path), 404, "itemNotFound")
    assert_fault(api.call("PUT", path, {"region": {}}), 404, "itemNotFound")


def test_a_regions_name_is_taken_once(api: Api) -> None:
    _region(api)
    west = _region(api, "west")
    assert_fault(api.call("POST", "/regions", {"region": {"name": "east"}}), 409, "conflictingRequest", "east")
    answer = api.call("PUT", f"/regions/{west['id']}", {"region": {"name": "east"}})
    assert_fault(answer, 409, "conflictingRequest", "east")


@pytest.mark.parametrize(
    ("change", "word"),
    [({"name": None}, "name"), ({"name": ""}, "name"), ({"name": "x" * 300}, "name"), ({"enabled": "no"}, "enabled")],
)
def test_a_wrong_value_in_a_region_is_named(api: Api, change: dict[str, Any], word: str) -> None:
    assert_fault(api.call("POST", "/regions", {"region": {"name": "a", **change}}), 400, "badRequest", word)
    made = _region(api)
    assert_fault(api.call("PUT", f"/regions/{made['id']}", {"region": change}), 400, "badRequest", word)


def test_an_endpoint_is_mapped_to_regions_and_its_questions_go_to_their_workers(api: Api) -> None:
    region = _region(api)
    made = api.endpoint(mapped_regions=[region["id"]])
    assert made["mapped_regions"] == [region["id"]]
    assert api.call("GET", f"/regions/{region['id']}").json["region"]["mapped_endpoints"] == [made["id"]]
    api.engine.answers["list_networks"] = {"networks": []}
    assert api.call("GET", f"/endpoints/{made['id']}/networks").status_code == 200
    assert api.engine.asked[-1]["endpoint"]["mapped_regions"] == ["east"]
    assert_fault(api.call("DELETE", f"/regions/{region['id']}"), 409, "conflictingRequest", "mapped")
    api.call("PUT", f"/regions/{region['id']}", {"region": {"enabled": False}})
    answer = api.call("GET", f"/endpoints/{made['id']}/networks")
    assert_fault(answer, 409, "conflictingRequest", "disabled")
    assert api.call("PUT", f"/endpoints/{made['id']}", {"endpoint": {"mapped_regions": []}}).status_code == 200
    assert api.call("DELETE", f"/regions/{region['id']}").status_code == 204


def test_of_several_regions_the_enabled_ones_are_used(api: Api) -> None:
    east, west = _region(api, enabled=False), _region(api, "west")
    with api.database.transaction() as session:
        assert regions.queues(session, [east["id"], west["id"], "quay"]) == ("west", "quay")
        assert regions.queues(session, []) == ()


def test_an_unknown_region_is_not_found(api: Api) -> None:
    unknown = "7f9c24e8-3b12-4fef-91e0-56a2d5a9b0d4"
    body = {"name": "a", "type": "libvirt", "connection_info": {"uri": "qemu:///a"}, "mapped_regions": [unknown]}
    assert_fault(api.call("POST", "/endpoints", {"endpoint": body}), 404, "itemNotFound", unknown)
    assert api.vault.secrets == {}
    made = api.endpoint()
    answer = api.call("PUT", f"/endpoints/{made['id']}", {"endpoint": {"mapped_regions": [unknown]}})
    assert_fault(answer, 404, "itemNotFound", unknown)


def test_a_region_shows_only_the_callers_endpoints(api: Api) -> None:
    region = _region(api)
    api.endpoint(mapped_regions=[region["id"]], project="p2")
    assert api.call("GET", f"/regions/{region['id']}").json["region"]["mapped_endpoints"] == []


def test_a_services_whole_life(answering: Api) -> None:
    api = answering
    region = _region(api)
    made = _service(api, mapped_regions=[region["id"]]).json["service"]
    assert set(made) >= {
        "id", "host", "binary", "topic", "enabled", "status", "providers", "specs", "mapped_regions", "created_at",
    }  # fmt: skip
    assert (made["status"], made["providers"], made["enabled"]) == ("UP", PROVIDERS, True)
    assert "packages" not in made["specs"]
    assert api.call("GET", f"/regions/{region['id']}").json["region"]["mapped_services"] == [made["id"]]
    path = f"/services/{made['id']}"
    changed = api.call("PUT", path, {"service": {"enabled": False, "mapped_regions": []}}).json["service"]
    assert (changed["enabled"], changed["mapped_regions"]) == (False, [])
    assert api.call("GET", "/services").json["services"] == [changed]
    assert api.call("DELETE", path).status_code == 204
    assert_fault(api.call("GET", path), 404, "itemNotFound", made["id"])
    assert_fault(api.call("PUT", path, {"service": {}}), 404, "itemNotFound")
    assert_fault(api.call("DELETE", path), 404, "itemNotFound")


def test_a_service_on_a_silent_host_is_refused(api: Api) -> None:
    api.engine.services["isthmus-host-east1"] = Unavailable("nobody answers")
    assert_fault(_service(api), 409, "conflictingRequest", "east1", "isthmus worker")
    assert api.call("GET", "/services").json["services"] == []


def test_a_service_is_registered_once(answering: Api) -> None:
    assert _service(answering).status_code == 200
    assert_fault(_service(answering), 409, "conflictingRequest", "already")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"host": None}, "host"),
        ({"binary": ""}, "binary"),
        ({"topic": 7}, "topic"),
        ({"mapped_regions": [7]}, "mapped"),
    ],
)
def test_a_wrong_value_in_a_service_is_named(answering: Api, change: dict[str, Any], word: str) -> None:
    assert_fault(_service(answering, **change), 400, "badRequest", word)


def test_a_worker_makes_itself_known_and_what_was_set_stays(api: Api) -> None:
    facts = ServiceFacts("east1", "isthmus-worker", "isthmus_worker", ("quay",), PROVIDERS, DIAGNOSTICS)
    PoolActivities(api.database, utc_now).record_service(facts)
    (made,) = api.call("GET", "/services").json["services"]
    assert (made["host"], made["mapped_regions"], made["status"]) == ("east1", ["quay"], "UP")
    api.call("PUT", f"/services/{made['id']}", {"service": {"enabled": False}})
    PoolActivities(api.database, utc_now).record_service(facts)
    (again,) = api.call("GET", "/services").json["services"]
    assert (again["id"], again["enabled"]) == (made["id"], False)


def test_a_service_that_is_silent_for_long_is_down(answering: Api) -> None:
    made = _service(answering).json["service"]
    with answering.database.transaction() as session:
        session.execute(update(ServiceRow).values(reported_at=utc_now() - timedelta(minutes=10)))
    assert answering.call("GET", f"/services/{made['id']}").json["service"]["status"] == "DOWN"


def _term(host: str = "east1") -> LeaseTerm:
    facts = WorkerFacts(WORKER_ID, host, 77, ("quay",), ("libvirt",), 4, 1, 1000, 900, 50, 20)
    return LeaseTerm(facts)


def test_a_services_workers_are_shown_as_they_were_last_heard_of(answering: Api) -> None:
    made = _service(answering).json["service"]
    assert made["workers"] == []
    then = utc_now()
    assert LeaseActivities(answering.database, lambda: then).record_worker(_term()) == []
    shown = answering.call("GET", f"/services/{made['id']}").json["service"]
    (worker,) = shown["workers"]
    assert worker.pop("seconds_silent") >= 0
    assert worker == {
        "id": WORKER_ID,
        "status": "UP",
        "process_id": 77,
        "regions": ["quay"],
        "slots": 4,
        "disk_steps": 0,
        "running": 1,
        "staging_bytes": 1000,
        "staging_free_bytes": 900,
        "link_bandwidth": 50,
        "bandwidth_limit": 20,
        "seen_at": then.isoformat(),
    }
    assert [each["id"] for each in answering.call("GET", "/diagnostics").json["diagnostics"][2]["workers"]] == [
        WORKER_ID
    ]
    LeaseActivities(answering.database, lambda: utc_now() - timedelta(minutes=1)).record_worker(_term())
    silent = answering.call("GET", "/services").json["services"][0]
    assert (silent["status"], silent["workers"][0]["status"]) == ("DOWN", "DOWN")


def test_the_workers_of_a_disabled_service_get_no_disk_steps(answering: Api) -> None:
    made = _service(answering).json["service"]
    LeaseActivities(answering.database, utc_now).record_worker(_term())
    enabled = []
    for wish in (True, False):
        answering.call("PUT", f"/services/{made['id']}", {"service": {"enabled": wish}})
        with answering.database.transaction() as session:
            enabled += [each.enabled for each in observed(session, utc_now())]
    assert enabled == [True, False]


def test_diagnostics_show_each_process_and_who_is_silent(answering: Api) -> None:
    api = answering
    assert _service(api).status_code == 200
    api.engine.services["isthmus-conductor"] = Unavailable("no conductor")
    records = api.call("GET", "/diagnostics").json["diagnostics"]
    assert [each["application"] for each in records] == ["isthmus-api", "isthmus-conductor", "isthmus-worker"]
    for each in records:
        assert set(each) == {*DIAGNOSTICS, "error", "workers"}
    assert [each["error"] for each in records] == [None, "no conductor", None]
    assert any(package.startswith("falcon==") for package in records[0]["packages"])
    assert records[2] == {**DIAGNOSTICS, "error": None, "workers": []}


def test_what_was_begun_in_a_disabled_region_is_still_tidied_away(api: Api) -> None:
    region = _region(api)
    made = api.transfer(origin_endpoint_id=api.endpoint("a", mapped_regions=[region["id"]])["id"])
    run = api.execution(made["id"])
    api.call("PUT", f"/regions/{region['id']}", {"region": {"enabled": False}})
    control = ControlActivities(api.database, utc_now)
    with pytest.raises(ApplicationError, match="disabled"):
        control.begin_execution({"execution_id": run["id"]})
    plan = control.begin_forget({"transfer_id": made["id"]})
    assert plan.steps[0].queue == worker_queue(["east"])
