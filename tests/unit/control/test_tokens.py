"""Tokens that were checked are remembered for a moment, and no more is believed than the check said."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keystonemiddleware.auth_token import AuthProtocol
from keystonemiddleware.auth_token._request import _AuthTokenRequest

from isthmus.control import configuration
from isthmus.control.tokens import HEADERS, MOST, REMEMBERED_SECONDS, SERVICES, TokenCheck

AUTH = """
[api]
auth_strategy = keystone
[keystone_authtoken]
www_authenticate_uri = http://127.0.0.1:1
auth_type = password
auth_url = http://127.0.0.1:1
username = isthmus
password = unused
project_name = service
user_domain_id = default
project_domain_id = default
service_type = shared-file-system
"""


class World:
    """The check before an application that notes what it is told, at a time that stands still."""

    def __init__(self, file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text(AUTH)
        self.seen: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.more: dict[str, Any] = {}
        self.lives = timedelta(hours=1)
        self.now = time.time()
        monkeypatch.setattr(AuthProtocol, "fetch_token", lambda _, token, **__: self.token(token))
        self.check = TokenCheck(configuration.load(["--config-file", str(file)]), self.application, lambda: self.now)

    def token(self, token: str) -> dict[str, Any]:
        self.asked.append(token)
        facts = {
            "methods": ["password"],
            "user": {"id": f"user of {token}", "name": "ann", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p1", "name": "one", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r", "name": "member"}],
            "catalog": [{"type": "shared-file-system", "endpoints": []}],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": (datetime.now(UTC) + self.lives).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return {"token": {**facts, **self.more}}

    def application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.seen.append(dict(environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    def call(self, token: str = "t", **headers: str) -> dict[str, Any]:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v2", "SERVER_NAME": "x", "SERVER_PORT": "80"}
        environ |= {"wsgi.url_scheme": "http", "HTTP_X_AUTH_TOKEN": token, **headers}
        list(self.check(environ, lambda *_: None))
        return self.seen[-1]


@pytest.fixture
def world(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path / "isthmus.conf", monkeypatch)


def told(environ: dict[str, Any]) -> dict[str, Any]:
    return {name: environ.get(name) for name in HEADERS}


def test_a_token_is_checked_once_in_a_while(world: World) -> None:
    first = told(world.call())
    assert (first["HTTP_X_USER_ID"], first["HTTP_X_ROLES"]) == ("user of t", "member")
    assert told(world.call()) == first
    assert world.asked == ["t"]
    world.now += REMEMBERED_SECONDS
    assert told(world.call()) == first
    assert world.asked == ["t", "t"]


def test_each_token_is_its_own(world: World) -> None:
    world.call("t")
    assert world.call("other")["HTTP_X_USER_ID"] == "user of other"
    assert world.call("t")["HTTP_X_USER_ID"] == "user of t"


def test_what_a_client_says_of_itself_is_not_believed(world: World) -> None:
    world.call()
    forged = {"HTTP_X_ROLES": "admin", "HTTP_X_USER_ID": "root", "HTTP_X_SERVICE_ROLES": "service"}
    seen = world.call(**forged)
    assert (seen["HTTP_X_ROLES"], seen["HTTP_X_USER_ID"]) == ("member", "user of t")
    assert "HTTP_X_SERVICE_ROLES" not in seen
    assert world.asked == ["t"]


def test_a_token_is_not_remembered_beyond_its_end(world: World) -> None:
    world.lives = timedelta(seconds=2)
    world.call()
    world.now += 3
    world.call()
    assert world.asked == ["t", "t"]


@pytest.mark.parametrize(
    "more",
    [
        {"bind": {"kerberos": "ann"}},
        {
            "application_credential": {
                "id": "a",
                "name": "a",
                "restricted": True,
                "access_rules": [{"service": "shared-file-system", "path": "/v2", "method": "GET"}],
            }
        },
    ],
)
def test_a_token_that_depends_on_the_request_is_checked_each_time(world: World, more: dict[str, Any]) -> None:
    world.more = more
    world.call()
    world.call()
    assert world.asked == ["t", "t"]


def test_with_a_services_token_both_are_checked(world: World) -> None:
    world.call()
    world.call(HTTP_X_SERVICE_TOKEN="s")
    assert world.asked == ["t", "s", "t"]


def test_a_refused_token_is_not_remembered(world: World) -> None:
    world.lives = timedelta(seconds=-1)
    assert world.call()["HTTP_X_IDENTITY_STATUS"] == "Invalid"
    world.call()
    assert world.asked == ["t", "t"]


def test_only_so_many_are_remembered(world: World) -> None:
    for number in range(MOST + 1):
        world.call(str(number))
    world.call("0")
    assert world.asked.count("0") == 2


def test_all_that_the_check_says_of_a_user_is_remembered() -> None:
    said = {f"HTTP_{name.upper().replace('-', '_')}" for name in _AuthTokenRequest({})._all_auth_headers()}
    assert {name for name in said if not name.startswith(SERVICES)} <= set(HEADERS)
