"""Tokens, roles, trusts and secrets with the real Keystone and Barbican, on the real database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import falcon.testing
import pytest
from keystoneauth1 import loading, session
from lab.control_plane import ControlPlane
from oslo_config.cfg import ConfigOpts

from isthmus.control import configuration
from isthmus.control.database import Database
from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.control.identity import Caller, caller_session, service_session, trust_session
from isthmus.control.secrets import delete, fetch, store
from isthmus.control.server import wrap
from isthmus.control.trusts import ensure_trust
from isthmus.migration.api.serving import make_application

DETAILS = {"uri": "qemu+tcp://127.0.0.1:1/system", "password": "correct horse battery staple"}


class Person:
    """A user with a token: what Keystone says of them, and calls to the API as them."""

    def __init__(self, conf: ConfigOpts, client: falcon.testing.TestClient, environment: dict[str, str]) -> None:
        names = ("auth_url", "username", "password", "user_domain_name", "project_name", "project_domain_name")
        plugin = loading.get_plugin_loader("password").load_from_options(
            **{name: environment[f"OS_{name.upper()}"] for name in names}
        )
        access = plugin.get_access(session.Session())
        self.caller = Caller(access.user_id, access.project_id, tuple(access.role_names), access.auth_token)
        self._client = client

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        return self._client.simulate_request(
            method,
            f"/v1/{self.caller.project_id}{path}",
            headers={"X-Auth-Token": self.caller.token or "", **headers},
            **({} if body is None else {"json": body}),
        )


@pytest.fixture(scope="module")
def conf(control_plane: ControlPlane) -> ConfigOpts:
    return configuration.load(["--config-file", str(control_plane.configuration)])


@pytest.fixture(scope="module")
def client(conf: ConfigOpts) -> falcon.testing.TestClient:
    return falcon.testing.TestClient(wrap(conf, make_application(conf)))


@pytest.fixture(scope="module")
def database(conf: ConfigOpts) -> Iterator[Database]:
    database = Database(conf.database.connection)
    yield database
    database.close()


@pytest.fixture(scope="module")
def person(conf: ConfigOpts, client: falcon.testing.TestClient, control_plane: ControlPlane) -> Callable[[str], Person]:
    return lambda name: Person(conf, client, control_plane.environment(name))


@pytest.fixture(scope="module")
def demo(person: Callable[[str], Person]) -> Person:
    return person("demo")


@pytest.fixture(scope="module")
def admin(person: Callable[[str], Person]) -> Person:
    return person("admin")


def _endpoint(person: Person) -> dict[str, Any]:
    body = {"endpoint": {"name": "cloud", "type": "libvirt", "connection_info": DETAILS}}
    answer = person.call("POST", "/endpoints", body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json["endpoint"]
    return made


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_without_a_valid_token_nothing_is_served(client: falcon.testing.TestClient, demo: Person, token: str) -> None:
    answer = client.simulate_get(f"/v1/{demo.caller.project_id}/endpoints", headers={"X-Auth-Token": token})
    assert answer.status_code == 401
    assert answer.json["error"]["fault"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Keystone")
    assert client.simulate_get("/v1").status_code == 200


def test_headers_cannot_stand_in_for_a_token(client: falcon.testing.TestClient, demo: Person) -> None:
    forged = {"X-Identity-Status": "Confirmed", "X-Project-Id": demo.caller.project_id, "X-Roles": "admin"}
    answer = client.simulate_get(f"/v1/{demo.caller.project_id}/endpoints", headers=forged)
    assert answer.status_code == 401


def test_the_urls_project_must_be_the_tokens(client: falcon.testing.TestClient, demo: Person, admin: Person) -> None:
    answer = client.simulate_get(
        f"/v1/{demo.caller.project_id}/endpoints", headers={"X-Auth-Token": admin.caller.token or ""}
    )
    assert (answer.status_code, answer.json["error"]["fault"]) == (400, "badRequest")


def test_the_workers_trust_reads_the_secret_that_the_api_made(
    conf: ConfigOpts, database: Database, demo: Person
) -> None:
    made = _endpoint(demo)
    trust = ensure_trust(conf, database, demo.caller)
    assert fetch(trust_session(conf, trust), made["connection_info"]["secret_ref"]) == DETAILS
    assert demo.call("DELETE", f"/endpoints/{made['id']}").status_code == 204
    with pytest.raises(NotFound, match="is gone"):
        fetch(trust_session(conf, trust), made["connection_info"]["secret_ref"])


def test_a_trust_is_made_once_and_made_again_if_it_is_gone(conf: ConfigOpts, database: Database, demo: Person) -> None:
    first = ensure_trust(conf, database, demo.caller)
    assert ensure_trust(conf, database, demo.caller) == first
    mine = caller_session(conf, demo.caller.token, demo.caller.project_id)
    mine.delete(f"{conf.service_credentials.auth_url.removesuffix('/v3')}/v3/OS-TRUST/trusts/{first}")
    second = ensure_trust(conf, database, demo.caller)
    assert second not in {None, first}
    assert ensure_trust(conf, database, demo.caller) == second


def test_each_set_of_roles_has_one_trust_however_they_alternate(
    conf: ConfigOpts, database: Database, demo: Person
) -> None:
    narrow = replace(demo.caller, roles=("reader",))
    assert set(demo.caller.roles) > {"reader"}
    first, second = ensure_trust(conf, database, demo.caller), ensure_trust(conf, database, narrow)
    assert first != second
    for _ in range(2):
        assert ensure_trust(conf, database, demo.caller) == first
        assert ensure_trust(conf, database, narrow) == second


def test_another_projects_secret_is_not_given(
    conf: ConfigOpts, database: Database, demo: Person, admin: Person
) -> None:
    foreign = caller_session(conf, admin.caller.token, admin.caller.project_id)
    ref = store(foreign, "not yours", {"key": "value"})
    try:
        with pytest.raises(NotAllowed, match="Barbican"):
            fetch(trust_session(conf, ensure_trust(conf, database, demo.caller)), ref)
    finally:
        delete(foreign, ref)
    delete(foreign, ref)


@pytest.mark.parametrize(
    "ref",
    [
        "http://evil.example/v1/secrets/80626831-d66a-44a2-84b8-e70e9016642e",
        "http://127.0.0.1@evil.example/v1/secrets/80626831-d66a-44a2-84b8-e70e9016642e",
        "file:///etc/passwd",
        "../../v1/secrets/80626831-d66a-44a2-84b8-e70e9016642e",
    ],
)
def test_no_token_is_sent_to_where_a_reference_points(conf: ConfigOpts, demo: Person, ref: str) -> None:
    with pytest.raises(InvalidInput, match="secret_ref must look like"):
        fetch(service_session(conf), ref)
    body = {"endpoint": {"name": "a", "type": "libvirt", "connection_info": {"secret_ref": ref}}}
    assert demo.call("POST", "/endpoints", body).status_code == 400


def test_a_given_reference_is_kept(conf: ConfigOpts, demo: Person) -> None:
    mine = caller_session(conf, demo.caller.token, demo.caller.project_id)
    ref = store(mine, "mine", DETAILS)
    body = {"endpoint": {"name": "a", "type": "libvirt", "connection_info": {"secret_ref": ref}}}
    made = demo.call("POST", "/endpoints", body).json["endpoint"]
    assert demo.call("DELETE", f"/endpoints/{made['id']}").status_code == 204
    assert fetch(mine, ref) == DETAILS
    delete(mine, ref)


def test_what_one_project_has_another_does_not_see(demo: Person, admin: Person) -> None:
    made = _endpoint(demo)
    assert admin.call("GET", f"/endpoints/{made['id']}").status_code == 404
    assert made["id"] not in [each["id"] for each in admin.call("GET", "/endpoints").json["endpoints"]]
    assert demo.call("DELETE", f"/endpoints/{made['id']}").status_code == 204


def test_of_many_executions_at_once_one_wins_on_the_real_database(demo: Person) -> None:
    ends = [_endpoint(demo)["id"] for _ in range(2)]
    body = {"origin_endpoint_id": ends[0], "destination_endpoint_id": ends[1], "instances": ["web"]}
    path = f"/transfers/{demo.call('POST', '/transfers', {'transfer': body}).json['transfer']['id']}"
    with ThreadPoolExecutor(6) as pool:
        calls = [partial(demo.call, "POST", f"{path}/executions", {"execution": {}}) for _ in range(6)]
        answers = [each.result() for each in [pool.submit(call) for call in calls]]
    won = [answer.json["execution"]["id"] for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert [answer.status_code for answer in answers if answer.status_code != 200] == [409] * 5
    assert demo.call("POST", f"{path}/executions/{won[0]}/actions", {"cancel": {"force": True}}).status_code == 204
