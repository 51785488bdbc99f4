"""Who may do what, for each operation and role. The system tests do the same with Keystone's tokens."""

import re
from collections.abc import Iterator
from pathlib import Path

import falcon.testing
import pytest
from falcon.inspect import inspect_app
from tests.functional.api.parts import AnsweringEngine, MemoryVault
from tests.operations import ROLES, Operation, operations

from isthmus.control import configuration
from isthmus.control.database import Database
from isthmus.control.policy import Policy
from isthmus.control.signing import Signer
from isthmus.migration.api.application import create_application
from isthmus.migration.api.policies import migration_rules
from isthmus.migration.api.service import Service

OPERATIONS = list(operations())


@pytest.fixture(scope="module")
def client(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[falcon.testing.TestClient]:
    """Return the API without the filter that would check a token and set these headers."""
    file = tmp_path_factory.mktemp("roles") / "isthmus.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{empty_database}\n")
    conf = configuration.load(["--config-file", str(file)])
    assert conf.api.auth_strategy == "keystone"
    database, engine = Database(conf.database.connection), AnsweringEngine()
    engine.services["isthmus-conductor"] = {"diagnostics": {}}
    service = Service(
        database=database,
        engine=engine,
        vault=MemoryVault(),
        trusts=lambda caller: None,
        policy=Policy(conf, migration_rules()),
        max_body_bytes=1 << 20,
        ask_timeout=5,
        signer=Signer(file.with_name("report.key")),
    )
    yield falcon.testing.TestClient(create_application(conf, service))
    database.close()


def _status(client: falcon.testing.TestClient, operation: Operation, roles: str, project: str = "p1") -> int:
    headers = {"X-Identity-Status": "Confirmed", "X-Project-Id": project, "X-User-Id": "u", "X-Roles": roles}
    body = {} if operation.body is None else {"json": operation.body}
    status: int = client.simulate_request(
        operation.method, f"/v1/p1{operation.path}", headers=headers, **body
    ).status_code
    return status


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_operation_is_for_its_role_and_those_above(
    client: falcon.testing.TestClient, operation: Operation
) -> None:
    for role in ROLES:
        status = _status(client, operation, role)
        assert (status == 403) is not operation.is_for(role), (role, status)
        assert status < 500
    assert _status(client, operation, "") == 403
    assert _status(client, operation, "admin", project="p2") == 400


def test_all_that_is_served_is_described(client: falcon.testing.TestClient) -> None:
    served = {
        (method.method, re.sub(r"\{\w+\}", "x", route.path))
        for route in inspect_app(client.app).routes
        for method in route.methods
        if not method.internal and route.path.startswith("/v1/{project_id}")
    }
    assert {(method, path.removeprefix("/v1/x")) for method, path in served} == {
        (each.method, each.path) for each in OPERATIONS
    }
