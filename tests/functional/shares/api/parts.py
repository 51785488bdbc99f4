"""The shares API as the tests call it, with people known by the headers that Keystone's middleware leaves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import falcon.testing
from oslo_config.cfg import ConfigOpts
from sqlalchemy import insert, select

from isthmus.control.database import Database, utc_now
from isthmus.control.errors import IsthmusError, NotFound
from isthmus.control.identity import Caller
from isthmus.shares.tables import (
    AvailabilityZoneRow,
    JobRow,
    PoolRow,
    ServiceRow,
    ShareTypeRow,
    TypeProjectRow,
    TypeSpecRow,
)

NEWEST = "2.99"
VERSION = "X-OpenStack-Manila-API-Version"
EXPERIMENTAL = "X-OpenStack-Manila-API-Experimental"
BARBICAN = "http://barbican.test/v1/secrets/"
HOST = "node@alpha"
POOL = f"{HOST}#pool"


@dataclass(frozen=True)
class Person:
    """Who calls."""

    user: str
    project: str
    roles: tuple[str, ...] = ("member", "reader")

    @property
    def headers(self) -> dict[str, str]:
        """Return what keystonemiddleware puts into a request of theirs."""
        return {
            "X-Identity-Status": "Confirmed",
            "X-User-Id": self.user,
            "X-Project-Id": self.project,
            "X-Roles": ",".join(self.roles),
            "X-Auth-Token": f"token-of-{self.user}",
        }


ADMIN = Person("root", "cloud", ("admin", "member", "reader"))
MEMBER = Person("ann", "p1")
COLLEAGUE = Person("bob", "p1")
READER = Person("rita", "p1", ("reader",))
STRANGER = Person("zoe", "p2")


class MemoryVault:
    """A `Vault` in memory. `broken` makes every call fail with that error."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.broken: IsthmusError | None = None

    def store(self, caller: Caller, name: str, payload: Mapping[str, Any]) -> str:
        self._fail()
        ref = f"{BARBICAN}{uuid4()}"
        self.secrets[ref] = json.loads(json.dumps(payload))
        return ref

    def check(self, caller: Caller, ref: str) -> None:
        self._fail()

    def delete(self, caller: Caller, ref: str) -> None:
        self._fail()
        self.secrets.pop(ref, None)

    def fetch(self, caller: Caller, ref: str) -> dict[str, Any]:
        self._fail()
        if ref not in self.secrets:
            raise NotFound(f"the secret {ref} is gone")
        return self.secrets[ref]

    def _fail(self) -> None:
        if self.broken is not None:
            raise self.broken


@dataclass
class Shares:
    """The API with its parts. Calls are an administrator's at the newest version unless they say otherwise."""

    conf: ConfigOpts
    database: Database
    vault: MemoryVault
    app: Callable[..., Any]
    client: falcon.testing.TestClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = falcon.testing.TestClient(self.app)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        by: Person = ADMIN,
        version: str | None = NEWEST,
        experimental: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> falcon.testing.Result:
        """Return the answer; `path` is behind /v2 and may have a query."""
        sent = {**by.headers, **({VERSION: version} if version else {}), **(headers or {})}
        if experimental:
            sent[EXPERIMENTAL] = "True"
        options: dict[str, Any] = {}
        if body is not None:
            options["body"] = json.dumps(body)
            sent["Content-Type"] = "application/json"
        path, _, query = path.partition("?")
        return self.client.simulate_request(method, f"/v2{path}", query_string=query, headers=sent, **options)

    def get(self, path: str, **options: Any) -> Any:
        """Return the JSON of a call that must answer 200."""
        return expect(self.call("GET", path, **options), 200)

    def post(self, path: str, body: object, status: int = 200, **options: Any) -> Any:
        """Return the JSON (None if there is none) of a POST that must answer `status`."""
        return expect(self.call("POST", path, body, **options), status)

    def put(self, path: str, body: object, status: int = 200, **options: Any) -> Any:
        """Return the JSON (None if there is none) of a PUT that must answer `status`."""
        return expect(self.call("PUT", path, body, **options), status)

    def delete(self, path: str, status: int = 202, **options: Any) -> None:
        """DELETE; must answer `status`."""
        expect(self.call("DELETE", path, **options), status)

    def share_type(
        self, name: str = "gold", *, is_public: bool = True, projects: tuple[str, ...] = (), **specs: str
    ) -> str:
        """Write a share type's rows and return its id."""
        identity, now = str(uuid4()), utc_now()
        given = {"driver_handles_share_servers": "False", "snapshot_support": "True", **specs}
        with self.database.transaction() as session:
            session.execute(insert(ShareTypeRow).values(id=identity, name=name, is_public=is_public, created_at=now))
            session.execute(
                insert(TypeSpecRow), [{"type_id": identity, "key": key, "value": text} for key, text in given.items()]
            )
            for project in projects:
                session.execute(insert(TypeProjectRow).values(type_id=identity, project_id=project))
        return identity

    def back_end(
        self, host: str = HOST, *, zone: str = "nova", pools: tuple[str, ...] = ("pool",), **facts: Any
    ) -> int:
        """Write a manager that is up and its pools, each 100 GiB and free; return the service's id."""
        now = utc_now()
        capabilities = {
            "share_backend_name": host.partition("@")[2].upper(),
            "driver_handles_share_servers": False,
            "snapshot_support": True,
            "storage_protocol": "NFS_CIFS",
            **facts,
        }
        with self.database.transaction() as session:
            if session.scalar(select(AvailabilityZoneRow.id).where(AvailabilityZoneRow.name == zone)) is None:
                session.execute(insert(AvailabilityZoneRow).values(id=str(uuid4()), name=zone, created_at=now))
            made = ServiceRow(host=host, availability_zone=zone, created_at=now, updated_at=now, heartbeat_at=now)
            session.add(made)
            session.flush()
            for pool in pools:
                session.execute(
                    insert(PoolRow).values(
                        host=f"{host}#{pool}",
                        backend=host,
                        total_gib=100,
                        free_gib=100,
                        allocated_gib=0,
                        capabilities=capabilities,
                        reported_at=now,
                    )
                )
            return made.id

    def jobs(self) -> list[JobRow]:
        """Return what the back ends' managers would do, oldest first."""
        with self.database.transaction() as session:
            return list(session.scalars(select(JobRow).order_by(JobRow.id)))


def expect(answer: falcon.testing.Result, status: int) -> Any:
    """Return the JSON of an answer (None if it has no body) that must have this status."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    return answer.json if answer.content else None


FAULT_NAMES = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def refused(answer: falcon.testing.Result, status: int, *words: str) -> None:
    """Check that an answer is a fault in Manila's form whose message holds the words."""
    fault = expect(answer, status)[FAULT_NAMES.get(status, "computeFault")]
    assert fault["code"] == status
    for word in words:
        assert word in fault["message"], fault["message"]
