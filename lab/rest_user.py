"""A user of the migration API as a program is one: a Keystone token, the catalog's address, JSON and faults."""

import time
import uuid
from collections.abc import Mapping
from typing import Any, Self

from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from requests import Response

ENDED = frozenset({"COMPLETED", "CANCELED", "ERROR", "DEADLOCKED"})
MEMBER = "member"


class RestUser:
    """One user in one project. `call` gives the raw answer, `made` that of a call that must succeed."""

    def __init__(self, auth_url: str, name: str, password: str, project: str) -> None:
        self.auth_url, self.name, self.password, self.project = auth_url, name, password, project
        self._session = Session(
            v3.Password(
                auth_url=auth_url,
                username=name,
                password=password,
                project_name=project,
                user_domain_name="Default",
                project_domain_name="Default",
            )
        )

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the user of OS_* variables."""
        names = ("AUTH_URL", "USERNAME", "PASSWORD", "PROJECT_NAME")
        return cls(*(environment[f"OS_{name}"] for name in names))

    def stranger(self) -> "RestUser":
        """Make a plain user in a project of their own, with this administrator's rights, and return them."""
        name = f"stranger-{uuid.uuid4().hex[:8]}"
        self._identity("POST", "/projects", {"project": {"name": name}})
        return self.newcomer(name, MEMBER)

    def newcomer(self, project: str, role: str) -> "RestUser":
        """Make a user with one role in a project that exists, with this administrator's rights, and return them."""
        name, password = f"{role}-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
        project_id = self._identity("GET", f"/projects?name={project}")["projects"][0]["id"]
        user = self._identity("POST", "/users", {"user": {"name": name, "password": password}})["user"]["id"]
        role_id = self._identity("GET", f"/roles?name={role}")["roles"][0]["id"]
        self._identity("PUT", f"/projects/{project_id}/users/{user}/roles/{role_id}")
        return RestUser(self.auth_url, name, password, project)

    @property
    def project_id(self) -> str:
        """The id of the project that the user works in."""
        return str(self._session.get_project_id())

    def call(self, method: str, path: str, body: object = None) -> Response:
        """Return the API's answer, whatever it is. A whole URL as `path` goes to that place, not to the catalog's."""
        answer: Response = self._session.request(
            path,
            method,
            endpoint_filter={"service_type": "migration"},
            raise_exc=False,
            **({} if body is None else {"json": body}),
        )
        return answer

    def made(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of a call that must succeed; AssertionError shows the fault."""
        answer = self.call(method, path, body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def fault(self, status: int, method: str, path: str, body: object = None) -> str:
        """Return the message of a call that must fail with this status in Coriolis' fault form."""
        answer = self.call(method, path, body)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        error = answer.json()["error"]
        assert error["code"] == status
        assert isinstance(error["fault"], str)
        return str(error["message"])

    def ended(self, path: str, key: str, limit: float = 120) -> dict[str, Any]:
        """Wait until an execution or deployment has ended and return it, with its tasks."""
        status = "status" if key == "execution" else "last_execution_status"
        deadline = time.monotonic() + limit
        while True:
            shown: dict[str, Any] = self.made("GET", path)[key]
            if shown[status] in ENDED:
                return shown
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} is {shown[status]} after {limit} s: {shown['tasks']}")
            time.sleep(0.1)

    def _identity(self, method: str, path: str, body: object = None) -> Any:
        answer = self._session.request(f"{self.auth_url}{path}", method, **({} if body is None else {"json": body}))
        return answer.json() if answer.content else None
