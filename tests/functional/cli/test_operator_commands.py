"""The commands about schedules, pools, regions and services, against the run's control plane."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab.control_plane import ISTHMUS

AWAY = "uri=qemu+tcp://127.0.0.1:1/system"
Run = Callable[..., str]


@pytest.fixture
def run(environment_of: Callable[[str], dict[str, str]]) -> Run:
    """Return a function that runs `isthmus` as an administrator and returns what it prints."""

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [ISTHMUS, *words], env=environment_of("admin"), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    return run


def _json(run: Run, *words: str) -> Any:
    return json.loads(run(*words, "-f", "json"))


@pytest.fixture
def ends(run: Run) -> Iterator[tuple[str, str]]:
    made = [
        _json(run, "endpoint", "create", "--provider", "libvirt", "--name", name, "--skip-validation",
              "--connection", AWAY, "--connection", f"username={name}", "--connection", "password=x")["id"]
        for name in ("operator-a", "operator-b")
    ]  # fmt: skip
    yield made[0], made[1]
    for each in made:
        run("endpoint", "delete", each)


def test_a_schedules_whole_life(run: Run, ends: tuple[str, str]) -> None:
    words = ("transfer", "create", "web", "--from", ends[0], "--to", ends[1], "--network", "lan=net")
    transfer = _json(run, *words)["id"]
    try:
        made = _json(run, "schedule", "create", transfer, "--hour", "2", "--minute", "30", "--dow", "0-4",
                     "--time-zone", "Europe/Bucharest", "--shutdown-instances")  # fmt: skip
        assert made["schedule"] == {"hour": 2, "minute": 30, "dow": "0-4", "time_zone": "Europe/Bucharest"}
        assert [row["ID"] for row in _json(run, "schedule", "list", transfer)] == [made["id"]]
        changed = _json(run, "schedule", "update", transfer, made["id"], "--no-enabled")
        assert (changed["enabled"], changed["next_due_at"], changed["shutdown_instances"]) == (False, "", True)
        assert _json(run, "schedule", "show", transfer, made["id"]) == changed
        assert "never fires" in run("schedule", "create", transfer, "--dom", "31", "--month", "2", code=1)
        assert "--hour" in run("schedule", "create", transfer, code=1)
        run("schedule", "delete", transfer, made["id"])
        assert _json(run, "schedule", "list", transfer) == []
        assert "nothing to change" in run("transfer", "update", transfer, code=1)
        updated = _json(run, "transfer", "update", transfer, "--notes", "new")
        assert updated["status"] == "RUNNING"
        run("execution", "cancel", "--force", transfer, updated["execution"])
        run("execution", "watch", transfer, updated["execution"], code=1)
    finally:
        run("transfer", "delete", transfer)


def test_a_pools_whole_life(run: Run, ends: tuple[str, str]) -> None:
    made = _json(run, "pool", "create", "--name", "slots", "--endpoint", ends[0], "--side", "source", "--maximum", "4",
                 "--skip-allocation")  # fmt: skip
    pool = made["id"]
    assert (made["status"], made["machines"]) == ("DEALLOCATED", "1 to 4")
    assert _json(run, "pool", "update", pool, "--minimum", "2")["machines"] == "2 to 4"
    assert _json(run, "pool", "allocate", pool)["status"] == "VALIDATING_INPUTS"
    # Its cloud does not answer: it is still being allocated, or has failed by now.
    assert pool in run("pool", "refresh", pool, code=1)
    assert _json(run, "pool", "deallocate", pool, "--force")["status"] == "DEALLOCATED"
    assert pool in [row["ID"] for row in _json(run, "pool", "list")]
    assert "by force" in _json(run, "pool", "show", pool)["events"]
    run("pool", "delete", pool)
    assert pool in run("pool", "show", pool, code=1)


def test_regions_services_and_diagnostics(run: Run) -> None:
    region = _json(run, "region", "create", "operators", "--description", "d")["id"]
    assert _json(run, "region", "update", region, "--no-enabled")["enabled"] is False
    assert region in [row["ID"] for row in _json(run, "region", "list")]
    assert _json(run, "region", "show", region)["description"] == "d"
    run("region", "delete", region)
    deadline = time.monotonic() + 60
    while not (found := _json(run, "service", "list")):
        assert time.monotonic() < deadline
    service = found[0]
    assert (service["Binary"], service["Status"]) == ("isthmus-worker", "UP")
    assert service["Workers"].endswith("up")
    shown = _json(run, "service", "show", service["ID"])
    assert "libvirt" in shown["providers"]
    assert "UP, heard of" in shown["workers"]
    assert _json(run, "service", "update", service["ID"], "--enabled")["enabled"] is True
    assert "already" in run("service", "create", service["Host"], code=1)
    made = _json(run, "service", "create", service["Host"], "--binary", "other")["id"]
    run("service", "delete", made)
    records = json.loads(run("diagnostics"))
    assert {each["application"] for each in records} >= {"isthmus-api", "isthmus-conductor", "isthmus-worker"}
