"""What the API is tested with where Keystone, Barbican and the engine are not there: they have suites of their own."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import falcon.testing
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, update

from isthmus.control.database import Base, Database
from isthmus.control.errors import InvalidInput, IsthmusError
from isthmus.control.identity import Caller
from isthmus.control.outbox import OutboxRow
from isthmus.control.trusts import TrustRow
from isthmus.migration.model import ExecutionStatus
from isthmus.migration.tables import ExecutionRow, TransferRow
from isthmus.shares.tables import ShareRow

BARBICAN = "http://barbican.test/v1/secrets/"


class MemoryVault:
    """A `Vault` that keeps secrets in memory. `broken` makes every deletion fail with that error."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.broken: IsthmusError | None = None

    def store(self, caller: Caller, name: str, payload: Mapping[str, Any]) -> str:
        ref = f"{BARBICAN}{len(self.secrets):08}-0000-4000-8000-000000000000"
        self.secrets[ref] = json.loads(json.dumps(payload))
        return ref

    def check(self, caller: Caller, ref: str) -> None:
        if not ref.startswith(BARBICAN):
            raise InvalidInput(f"secret_ref must look like {BARBICAN}ID")

    def delete(self, caller: Caller, ref: str) -> None:
        if self.broken is not None:
            raise self.broken
        self.secrets.pop(ref, None)


class AnsweringEngine:
    """An `Asker` that answers from a table of questions, and of queues; an answer that is an error is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any] | IsthmusError] = {}
        self.asked: list[dict[str, Any]] = []
        self.services: dict[str, dict[str, Any] | IsthmusError] = {}

    def ask(self, workflow: str, argument: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        json.dumps(argument)
        if workflow == "AskService":
            return self._given(self.services[argument["queue"]])
        assert workflow == "AskProvider"
        self.asked.append(dict(argument))
        return self._given(self.answers[argument["question"]])

    @staticmethod
    def _given(answer: dict[str, Any] | IsthmusError) -> dict[str, Any]:
        if isinstance(answer, IsthmusError):
            raise answer
        return answer


class Api:
    """The API with its parts, and the few calls that most tests begin with."""

    def __init__(
        self, database: Database, vault: MemoryVault, engine: AnsweringEngine, app: Callable[..., Any]
    ) -> None:
        self.database = database
        self.vault = vault
        self.engine = engine
        self.app = app
        self._client = falcon.testing.TestClient(app)

    def call(self, method: str, path: str, body: object = None, *, project: str = "p1", **options: Any) -> Any:
        """Return the answer to a call; `path` is behind /v1/{project}."""
        if body is not None:
            # ASCII with escapes, as most clients send it: halves of surrogate pairs get through.
            options["body"] = json.dumps(body)
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        return self._client.simulate_request(method, f"/v1/{project}{path}", **options)

    def raw(self, method: str, path: str, **options: Any) -> Any:
        return self._client.simulate_request(method, path, **options)

    def endpoint(self, name: str = "cloud", *, project: str = "p1", **changes: Any) -> dict[str, Any]:
        body = {"name": name, "type": "libvirt", "connection_info": {"uri": f"qemu:///{name}"}, **changes}
        answer = self.call("POST", "/endpoints", {"endpoint": body}, project=project)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json["endpoint"]
        return made

    def transfer_body(self, *, project: str = "p1", **changes: Any) -> dict[str, Any]:
        if "origin_endpoint_id" not in changes:
            changes["origin_endpoint_id"] = self.endpoint("origin", project=project)["id"]
        if "destination_endpoint_id" not in changes:
            changes["destination_endpoint_id"] = self.endpoint("destination", project=project)["id"]
        return {"instances": ["web"], "network_map": {"lan": "net"}, "storage_mappings": {"default": "pool"}, **changes}

    def transfer(self, *, project: str = "p1", **changes: Any) -> dict[str, Any]:
        body = self.transfer_body(project=project, **changes)
        answer = self.call("POST", "/transfers", {"transfer": body}, project=project)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json["transfer"]
        return made

    def execution(self, transfer_id: str, **options: Any) -> dict[str, Any]:
        answer = self.call("POST", f"/transfers/{transfer_id}/executions", {"execution": options})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json["execution"]
        return made

    def finish(self, transfer_id: str, status: ExecutionStatus = ExecutionStatus.COMPLETED) -> None:
        """Do what the conductor does at the end of a transfer's execution."""
        with self.database.transaction() as session:
            session.execute(
                update(TransferRow).where(TransferRow.id == transfer_id).values(last_execution_status=status)
            )
            session.execute(update(ExecutionRow).where(ExecutionRow.action_id == transfer_id).values(status=status))

    def outbox(self) -> list[tuple[str, str, str]]:
        """Return what the engine would be told: kind, workflow, workflow id."""
        with self.database.transaction() as session:
            rows = session.scalars(select(OutboxRow).order_by(OutboxRow.id)).all()
            return [(row.kind, row.workflow, row.workflow_id) for row in rows]


def assert_fault(answer: Any, status: int, fault: str, *words: str) -> None:
    """Check that an answer is a fault in Coriolis' form whose message holds the words."""
    assert answer.status_code == status, answer.text
    error = answer.json["error"]
    assert set(error) == {"fault", "code", "message"}
    assert (error["fault"], error["code"]) == (fault, status)
    for word in words:
        assert word in error["message"], error["message"]
    assert answer.headers["x-compute-request-id"].startswith("req-")


def schema_differences(connection: Connection) -> list[object]:
    """Return how a database's schema differs from what all the tables' classes declare."""
    known = {row.__tablename__ for row in (OutboxRow, TrustRow, TransferRow, ShareRow)}
    assert known <= set(Base.metadata.tables)
    found: list[object] = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    return found
