"""The rest of Coriolis' API with Keystone's tokens of an administrator, a member and a reader of one project."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from requests import Response
from tests.operations import ROLES, operations

from isthmus.control.diagnostics import host_name

SILENT = {"uri": "qemu+tcp://127.0.0.1:1/system"}
NIGHTLY = {"schedule": {"hour": 2, "minute": 30, "time_zone": "Europe/Bucharest"}}


@pytest.fixture(scope="module")
def people(control_plane: ControlPlane) -> dict[str, RestUser]:
    """Return a user of each role in a project of their own: what they leave behind disturbs nobody."""
    administrator = RestUser.of(control_plane.admin_environment)
    project = administrator.stranger().project
    return {role: administrator.newcomer(project, role) for role in ROLES}


@pytest.fixture
def ends(people: dict[str, RestUser]) -> tuple[str, str]:
    """Return two endpoints whose clouds do not answer."""
    member = people["member"]
    made = []
    for name in ("east", "west"):
        details = {**SILENT, "username": name, "password": "x"}
        body = {"endpoint": {"name": name, "type": "libvirt", "connection_info": details}}
        made.append(member.made("POST", "/endpoints", body)["endpoint"]["id"])
    return made[0], made[1]


@pytest.fixture
def transfer(people: dict[str, RestUser], ends: tuple[str, str]) -> str:
    """Return a transfer between them."""
    member = people["member"]
    body = {"origin_endpoint_id": ends[0], "destination_endpoint_id": ends[1], "instances": ["web"]}
    made: str = member.made("POST", "/transfers", {"transfer": body})["transfer"]["id"]
    return made


def _wait(done: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return found


def test_each_operation_is_for_its_role_and_those_above(people: dict[str, RestUser]) -> None:
    wrong = []
    for operation in operations():
        for role, person in people.items():
            if operation.path.endswith("/events"):
                with person.stream(operation.path) as answer:
                    status = answer.status_code
            else:
                status = person.call(operation.method, operation.path, operation.body).status_code
            if status >= 500 or (status == 403) is operation.is_for(role):
                wrong.append((operation.name, role, status))
    assert wrong == []


def test_events_come_to_the_projects_own_readers_alone(
    control_plane: ControlPlane, people: dict[str, RestUser], transfer: str
) -> None:
    stranger = RestUser.of(control_plane.admin_environment).stranger()
    with (
        people["reader"].stream("/events") as ours,
        stranger.stream("/events") as theirs,
    ):
        run = people["member"].made("POST", f"/transfers/{transfer}/executions", {"execution": {}})["execution"]["id"]
        assert next(line for line in _lines(ours) if run in line).startswith("data: ")
        # Theirs has had the same looks and more: the first thing that it says is its beat, or its end.
        assert next(line for line in _lines(theirs) if line and not line.startswith("retry")) == ": beat"


def _lines(answer: Response) -> Iterator[str]:
    """Yield the lines of a stream as they come."""
    for line in answer.iter_lines(chunk_size=1):
        yield line.decode()


def test_a_machine_is_assessed_for_a_member_and_shown_to_a_reader(
    people: dict[str, RestUser], ends: tuple[str, str]
) -> None:
    body = {"assessment": {"endpoint_id": ends[0], "instances": ["web"]}}
    assert people["reader"].call("POST", "/assessments", body).status_code == 403
    made = people["member"].made("POST", "/assessments", body)["assessment"]["id"]
    path = f"/assessments/{made}"

    def ended() -> Any:
        shown = people["reader"].made("GET", path)["assessment"]
        return shown if shown["status"] != "RUNNING" else None

    # Its cloud does not answer.
    shown = _wait(ended)
    assert shown["status"] == "ERROR"
    assert "does not answer" in shown["error"]
    assert people["reader"].made("GET", f"{path}/machines") == {"machines": []}
    assert people["reader"].call("DELETE", path).status_code == 403
    assert people["member"].call("DELETE", path).status_code == 204


def test_a_readers_delete_reveals_and_changes_nothing(people: dict[str, RestUser], ends: tuple[str, str]) -> None:
    answer = people["reader"].call("DELETE", f"/endpoints/{ends[0]}")
    assert answer.status_code == 403
    assert "policy" in answer.json()["error"]["message"]
    assert people["reader"].made("GET", f"/endpoints/{ends[0]}")["endpoint"]["name"] == "east"


def test_a_schedule_acts_with_a_trust_of_who_made_it(people: dict[str, RestUser], transfer: str) -> None:
    member, reader = people["member"], people["reader"]
    path = f"/transfers/{transfer}/schedules"
    made = member.made("POST", path, {**NIGHTLY, "shutdown_instance": True})["schedule"]
    assert made["trust_id"]
    assert reader.made("GET", f"{path}/{made['id']}")["schedule"] == made
    assert reader.call("PUT", f"{path}/{made['id']}", {"enabled": False}).status_code == 403
    assert member.made("PUT", f"{path}/{made['id']}", {"enabled": False})["schedule"]["next_due_at"] is None
    # Each minute: the conductor of the run has it executed, with the trust, against a cloud that does not answer.
    member.made("PUT", f"{path}/{made['id']}", {"schedule": {"minute": "*"}, "enabled": True})
    (firing, *_) = _wait(lambda: reader.made("GET", f"{path}/{made['id']}")["schedule"]["firings"])
    assert firing["outcome"] == "STARTED"
    assert member.call("DELETE", f"{path}/{made['id']}").status_code == 204
    run = f"/transfers/{transfer}/executions/{firing['execution_id']}"
    ended = _wait(lambda: _ended(reader, run), 240)
    assert "127.0.0.1" in "".join(str(task["exception_details"]) for task in ended["tasks"])


def _ended(person: RestUser, path: str) -> Any:
    execution = person.made("GET", path)["execution"]
    return execution if execution["status"] in {"ERROR", "CANCELED", "COMPLETED"} else None


def test_a_pool_of_a_silent_cloud_is_an_error_and_can_be_deleted(
    people: dict[str, RestUser], ends: tuple[str, str]
) -> None:
    member = people["member"]
    body = {"name": "slots", "endpoint_id": ends[0], "os_type": "linux", "platform": "source"}
    made = member.made("POST", "/minion_pools", {"minion_pool": body})["minion_pool"]
    path = f"/minion_pools/{made['id']}"
    ended = _wait(lambda: _in_error(people["reader"], path), 240)
    assert "127.0.0.1" in ended["events"][-1]["message"]
    assert member.call("DELETE", path).status_code == 204


def _in_error(person: RestUser, path: str) -> Any:
    pool = person.made("GET", path)["minion_pool"]
    return pool if pool["status"] == "ERROR" else None


def test_an_update_is_tried_at_both_ends(people: dict[str, RestUser], transfer: str) -> None:
    member = people["member"]
    run = member.made("PUT", f"/transfers/{transfer}", {"transfer": {"notes": "new"}})["execution"]
    assert _wait(lambda: _ended(member, f"/transfers/{transfer}/executions/{run['id']}"), 240)["status"] == "ERROR"
    assert member.made("GET", f"/transfers/{transfer}")["transfer"]["notes"] is None


def test_an_administrator_sees_the_services_and_names_regions(people: dict[str, RestUser]) -> None:
    administrator, reader = people["admin"], people["reader"]
    (worker,) = _wait(lambda: reader.made("GET", "/services")["services"])
    assert (worker["host"], worker["status"]) == (host_name(), "UP")
    assert "libvirt" in worker["providers"]
    region = administrator.made("POST", "/regions", {"region": {"name": "roles-test"}})["region"]
    body = {"service": {"mapped_regions": [region["id"]]}}
    administrator.made("PUT", f"/services/{worker['id']}", body)
    shown = reader.made("GET", f"/regions/{region['id']}")["region"]
    assert shown["mapped_services"] == [worker["id"]]
    administrator.made("PUT", f"/services/{worker['id']}", {"service": {"mapped_regions": ["default"]}})
    assert administrator.call("DELETE", f"/regions/{region['id']}").status_code == 204


def test_a_service_is_registered_by_asking_its_host(people: dict[str, RestUser]) -> None:
    administrator = people["admin"]
    body = {"host": host_name(), "binary": "coriolis-worker", "topic": "coriolis_worker"}
    made = administrator.made("POST", "/services", {"service": body})["service"]
    assert (made["status"], "libvirt" in made["providers"]) == ("UP", True)
    assert administrator.call("DELETE", f"/services/{made['id']}").status_code == 204
    began = time.monotonic()
    answer = administrator.call("POST", "/services", {"service": {**body, "host": "the-moon"}})
    assert (answer.status_code, "the-moon" in answer.text) == (409, True)
    assert time.monotonic() - began < 30


def test_diagnostics_tell_of_api_conductor_and_worker(people: dict[str, RestUser]) -> None:
    records = people["admin"].made("GET", "/diagnostics")["diagnostics"]
    assert [each["application"] for each in records] == ["isthmus-api", "isthmus-conductor", "isthmus-worker"]
    assert {each["error"] for each in records} == {None}
