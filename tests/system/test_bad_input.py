"""Bad input that is known from the request, or as soon as a cloud is asked: each a fault that says what to do."""

import base64
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from tests.bad_input_world import PASSWORD, World, tasks, why


@dataclass(frozen=True)
class Silence:
    """What came of asking hypervisors that do not answer, all at once: each answer takes its time."""

    closed_answer: Future[Any]
    silent_answer: Future[Any]
    silent_list: Future[str]
    execution: Future[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def silence(world: World) -> Iterator[Silence]:
    """Begin asking when the first test of this file begins, so that the others need not wait for it."""
    with socket.socket() as nobody, socket.create_server(("127.0.0.1", 0), backlog=64) as mute:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: nothing else can take the port
        closed, silent = (
            world.endpoint(name, {"uri": f"qemu+tcp://127.0.0.1:{each.getsockname()[1]}/system", "nbd": {}})
            for name, each in (("closed", nobody), ("silent", mute))
        )
        transfer = world.transfer("web", origin_endpoint_id=closed)
        ask = world.pool.submit
        yield Silence(
            ask(_validated, world.user, closed),
            ask(_validated, world.user, silent),
            ask(world.user.fault, 503, "GET", f"/endpoints/{silent}/instances"),
            ask(world.executed, transfer),
        )


def _validated(user: RestUser, endpoint: str) -> tuple[bool, str]:
    answer = user.made("POST", f"/endpoints/{endpoint}/actions", {"validate-connection": None})["validate-connection"]
    return answer["valid"], answer["message"]


def _endpoint_body(**changes: Any) -> dict[str, Any]:
    body = {"name": "bad", "type": "libvirt", "connection_info": {"uri": "qemu+tls://kvm1/system"}}
    return {"endpoint": {**body, **changes}}


def test_an_unknown_provider_is_named_with_those_that_are_installed(world: World) -> None:
    message = world.user.fault(400, "POST", "/endpoints", _endpoint_body(type="vmware"))
    assert "'vmware'" in message
    assert "libvirt" in message


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({}, "'uri' is a required property"),
        ({"uri": 7}, "connection_info.uri must be of type string"),
        ({"uri": "esx://host/"}, "connection_info.uri does not satisfy pattern"),
        ({"uri": "qemu+tls://kvm1/system", "passwort": PASSWORD}, "password"),
        ({"uri": "qemu+tls://kvm1/system", "nbd": {"first_port": 0}}, "connection_info.nbd.first_port"),
    ],
)
def test_details_that_do_not_fit_the_schema_are_named_by_key(world: World, details: dict[str, Any], said: str) -> None:
    before = world.user.made("GET", "/endpoints")["endpoints"]
    message = world.user.fault(400, "POST", "/endpoints", _endpoint_body(connection_info=details))
    assert said in message
    assert "see the provider's schemas" in message
    assert PASSWORD not in message
    assert world.user.made("GET", "/endpoints")["endpoints"] == before


def test_a_uri_that_would_run_a_program_on_the_worker_is_refused(world: World) -> None:
    endpoint = world.endpoint("sly", {"uri": "qemu+ssh://kvm1/system?netcat=/tmp/evil"})
    valid, message = _validated(world.user, endpoint)
    assert not valid
    assert "'netcat' is not allowed; leave it out" in message


def test_a_wrong_password_is_told_as_such(world: World) -> None:
    endpoint = world.endpoint("wrong", {**world.east_connection, "password": "sardine"})
    valid, message = _validated(world.user, endpoint)
    assert not valid
    assert "refuses the credentials; correct the endpoint's" in message
    assert "sardine" not in message
    # Not 401: the caller's own token is good.
    assert "refuses the credentials" in world.user.fault(400, "GET", f"/endpoints/{endpoint}/instances")
    ended = world.executed(world.transfer("talker", origin_endpoint_id=endpoint))
    assert ended["status"] == "ERROR"
    assert "refuses the credentials" in why(ended)
    assert world.leftovers() == []


def test_an_instance_that_is_gone_is_named(world: World) -> None:
    name = base64.urlsafe_b64encode(b"ghost").decode()
    east = world.endpoints["east"]
    assert "ghost does not exist" in world.user.fault(404, "GET", f"/endpoints/{east}/instances/{name}")
    ended = world.executed(world.transfer("ghost"))
    assert ended["status"] == "ERROR"
    assert tasks(ended, status="COMPLETED") == []
    message = why(ended)
    assert "machine ghost does not exist" in message
    assert "list the endpoint's instances" in message
    assert world.leftovers() == []


def test_of_two_executions_at_once_one_wins_and_what_is_in_use_stays(world: World) -> None:
    transfer = world.transfer("talker")
    with ThreadPoolExecutor(2) as pool:
        body: dict[str, Any] = {"execution": {}}
        path = f"/transfers/{transfer}/executions"
        answers = list(pool.map(lambda _: world.user.call("POST", path, body), range(2)))
    assert sorted(each.status_code for each in answers) == [200, 409]
    (refused,) = [each.json()["error"] for each in answers if each.status_code == 409]
    (run,) = [each.json()["execution"]["id"] for each in answers if each.status_code == 200]
    assert refused["fault"] == "conflictingRequest"
    assert f"execution {run} under way; wait for its end, or cancel it first" in refused["message"]

    for path in (f"/transfers/{transfer}", f"/transfers/{transfer}/executions/{run}"):
        assert "cancel it first" in world.user.fault(409, "DELETE", path)
    assert "cancel it first" in world.user.fault(409, "POST", "/deployments", {"deployment": {"transfer_id": transfer}})

    ended = world.user.ended(f"/transfers/{transfer}/executions/{run}", "execution")
    assert ended["status"] == "COMPLETED", ended
    for side in ("east", "west"):
        message = world.user.fault(409, "DELETE", f"/endpoints/{world.endpoints[side]}")
        assert "transfer" in message
    world.given_up(transfer)
    assert world.leftovers() == []


def test_another_projects_ids_do_not_exist(world: World, control_plane: ControlPlane) -> None:
    endpoint = world.endpoint("mine", {"uri": "qemu+tls://kvm1.example.org/system"})
    transfer = world.transfer("ghost")
    execution = world.execute(transfer)
    world.user.ended(execution, "execution")
    body = {"deployment": {"transfer_id": transfer, "force": True}}
    deployment = f"/deployments/{world.user.made('POST', '/deployments', body)['deployment']['id']}"
    world.user.ended(deployment, "deployment")

    stranger = RestUser.of(control_plane.admin_environment).stranger()
    other = {"origin_endpoint_id": endpoint, "destination_endpoint_id": world.endpoints["west"], "instances": ["a"]}
    calls: list[tuple[str, str, object]] = [
        *((method, path, None) for method in ("GET", "DELETE") for path in _resources(endpoint, execution, deployment)),
        ("PUT", f"/endpoints/{endpoint}", {"endpoint": {"name": "theirs"}}),
        ("POST", f"/endpoints/{endpoint}/actions", {"validate-connection": None}),
        *(
            ("GET", f"/endpoints/{endpoint}/{what}", None)
            for what in ("instances", "instances/YQ==", "networks", "storage", "source-options", "destination-options")
        ),
        ("POST", "/transfers", {"transfer": other}),
        ("GET", f"/transfers/{transfer}/executions", None),
        ("GET", f"/transfers/{transfer}/executions/detail", None),
        ("POST", f"/transfers/{transfer}/executions", {"execution": {}}),
        ("POST", f"/transfers/{transfer}/actions", {"delete-disks": None}),
        ("POST", f"{execution}/actions", {"cancel": None}),
        ("POST", "/deployments", body),
        ("POST", f"{deployment}/actions", {"cancel": None}),
    ]
    for method, path, sent in calls:
        assert world.user.name not in stranger.fault(404, method, path, sent)
    for kind in ("endpoints", "transfers", "deployments"):
        assert stranger.made("GET", f"/{kind}") == {kind: []}
    assert world.user.made("GET", f"/endpoints/{endpoint}")["endpoint"]["name"].startswith("mine")


def _resources(endpoint: str, execution: str, deployment: str) -> list[str]:
    transfer = execution.rpartition("/executions/")[0]
    return [f"/endpoints/{endpoint}", execution, transfer, deployment]


def test_a_hypervisor_where_nothing_listens_is_told_within_seconds(silence: Silence) -> None:
    valid, message = silence.closed_answer.result(60)
    assert not valid
    assert "does not answer" in message
    assert "check its address and that libvirtd runs there" in message


def test_a_hypervisor_that_accepts_and_says_nothing_is_told_within_seconds(silence: Silence) -> None:
    valid, message = silence.silent_answer.result(60)
    assert not valid
    for said in (message, silence.silent_list.result(60)):
        assert "did not answer within" in said
        assert "check its address and its firewall" in said


def test_an_execution_against_a_silent_hypervisor_fails_and_has_begun_nothing(world: World, silence: Silence) -> None:
    ended = silence.execution.result(180)
    assert ended["status"] == "ERROR"
    assert "does not answer" in why(ended)
    assert tasks(ended, status="COMPLETED") == []
    assert world.leftovers() == []
