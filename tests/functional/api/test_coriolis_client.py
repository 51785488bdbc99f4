"""The real Coriolis client against the real API with real Keystone, Barbican, MariaDB and Temporal.

The client that speaks this API is in python-coriolisclient's repository only: the package on PyPI is of 2016 and knows
other routes. So these tests belong to the nightly run, on a machine that has it: ISTHMUS_CORIOLIS names its `coriolis`
program.
"""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.nightly

DETAILS = {"uri": "qemu+tcp://127.0.0.1:1/system", "password": "correct horse battery staple"}


class Coriolis:
    """The `coriolis` command of one user."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**environment, "PYTHONWARNINGS": "ignore"}
        self._program = os.environ.get("ISTHMUS_CORIOLIS", "")
        assert self._program, (
            "ISTHMUS_CORIOLIS does not name the coriolis program of python-coriolisclient's main branch"
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def table(self, *words: str) -> Any:
        done = self.run(*words, "--format", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def do(self, *words: str) -> None:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr

    def refused(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr


@pytest.fixture
def coriolis(environment_of: Callable[[str], dict[str, str]]) -> Coriolis:
    return Coriolis(environment_of("demo"))


@pytest.fixture
def endpoints(coriolis: Coriolis) -> Iterator[tuple[str, str]]:
    """Two endpoints whose clouds do not answer, deleted at the end if nothing uses them any more."""
    made = [
        coriolis.table(
            "endpoint", "create", "--name", f"{name}-{uuid.uuid4()}", "--provider", "libvirt", "--skip-validation",
            "--connection", json.dumps({**DETAILS, "username": name}),
        )["id"]
        for name in ("origin", "destination")
    ]  # fmt: skip
    yield made[0], made[1]
    for each in made:
        coriolis.do("endpoint", "delete", each)


def _create(coriolis: Coriolis, endpoints: tuple[str, str], instance: str = "web") -> str:
    transfer = coriolis.table(
        "transfer", "create", "--origin-endpoint", endpoints[0], "--destination-endpoint", endpoints[1],
        "--instance", instance, "--network-map", '{"lan": "net"}', "--scenario", "replica",
        "--destination-environment", '{"disk_bus": "sata"}', "--source-environment", '{"shutdown_timeout": 9}',
        "--default-storage-backend", "pool",
    )  # fmt: skip
    return str(transfer["id"])


def test_a_transfers_whole_life(coriolis: Coriolis, endpoints: tuple[str, str]) -> None:
    transfer = _create(coriolis, endpoints)
    try:
        assert transfer in [row["ID"] for row in coriolis.table("transfer", "list")]
        execution = coriolis.table("transfer", "execute", transfer)["id"]
        assert "execution" in coriolis.refused("transfer", "execute", transfer)
        assert execution in json.dumps(coriolis.table("transfer", "show", transfer))
        _cancel(coriolis, transfer, execution)
        listed = coriolis.table("transfer", "execution", "list", transfer)
        assert [row["ID"] for row in listed] == [execution]
        coriolis.do("transfer", "execution", "delete", transfer, execution)
        assert coriolis.table("transfer", "execution", "list", transfer) == []
    finally:
        coriolis.do("transfer", "delete", transfer)
    assert transfer not in [row["ID"] for row in coriolis.table("transfer", "list")]


def test_a_deployments_whole_life(coriolis: Coriolis, endpoints: tuple[str, str]) -> None:
    transfer = _create(coriolis, endpoints)
    try:
        assert "force" in coriolis.refused("deployment", "create", transfer)
        deployment = coriolis.table("deployment", "create", transfer, "--force")["id"]
        assert deployment in [row["ID"] for row in coriolis.table("deployment", "list")]
        coriolis.run("deployment", "cancel", "--force", deployment)
        _wait(lambda: coriolis.table("deployment", "show", deployment)["status"] in {"ERROR", "CANCELED"})
        coriolis.do("deployment", "delete", deployment)
    finally:
        coriolis.do("transfer", "delete", transfer)


def test_a_silent_cloud_is_an_answer_of_validation(coriolis: Coriolis, endpoints: tuple[str, str]) -> None:
    said = coriolis.refused("endpoint", "validate", "connection", endpoints[0])
    assert "127.0.0.1" in said
    assert DETAILS["password"] not in said


def test_providers_and_schemas(coriolis: Coriolis) -> None:
    assert "libvirt" in [row["Platform"] for row in coriolis.table("provider", "list")]
    assert "uri" in coriolis.run("provider", "schema", "list", "libvirt", "connection").stdout


def test_bad_input_is_explained_to_the_clients_user(coriolis: Coriolis, endpoints: tuple[str, str]) -> None:
    bad = json.dumps({**DETAILS, "pasword": "x"})
    create = ("endpoint", "create", "--name", "bad", "--skip-validation", "--connection", bad, "--provider")
    assert "known are" in coriolis.refused(*create, "libvirt")
    assert "libvirt" in coriolis.refused(*create, "atlantis")
    assert "cannot be the same" in coriolis.refused(
        "transfer", "create", "--origin-endpoint", endpoints[0], "--destination-endpoint", endpoints[0],
        "--instance", "web", "--network-map", '{"a": "b"}',
        "--destination-environment", '{"disk_bus": "sata"}', "--source-environment", '{"shutdown_timeout": 9}',
    )  # fmt: skip


def _cancel(coriolis: Coriolis, transfer: str, execution: str) -> None:
    """Cancel an execution by force and wait until it has ended: its clouds do not answer."""
    coriolis.run("transfer", "execution", "cancel", "--force", transfer, execution)
    _wait(
        lambda: coriolis.table("transfer", "execution", "show", transfer, execution)["status"] in {"ERROR", "CANCELED"}
    )


def _wait(ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ended():
        assert time.monotonic() < deadline
        time.sleep(0.5)
