"""The commands about shares, against the run's control plane with its own back end."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.control_plane import ISTHMUS


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, parsed."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(environment_of: Callable[[str], dict[str, str]]) -> Run:
    return runner(environment_of("demo"))


def runner(environment: dict[str, str]) -> Run:
    def run(*words: str) -> Answer:
        done = subprocess.run(
            [ISTHMUS, "share", *words], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def share(run: Run) -> Iterator[str]:
    """Return the name of a share of 1 GiB."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    assert run("create", "1", "--name", name).code == 0
    yield name
    assert run("delete", name).code == 0


def test_a_share_can_be_mounted_when_create_returns(run: Run) -> None:
    made = run("create", "1", "--name", f"cli-{uuid.uuid4().hex[:8]}", "--client", "198.51.100.0/24", "-f", "json").json

    assert (made["status"], made["size"], made["protocol"]) == ("available", "1 GiB", "NFS")
    assert made["mount"].startswith("127.0.0.1:/")
    assert made["clients"] == "198.51.100.0/24 (rw, active)"
    assert run("delete", made["id"]).code == 0
    assert made["id"] not in {each["ID"] for each in run("list", "-f", "json").json}


def test_a_share_grows(run: Run, share: str) -> None:
    assert run("extend", share, "2", "-f", "json").json["size"] == "2 GiB"
    assert {(each["Name"], each["Size"]) for each in run("list", "-f", "json").json} >= {(share, "2 GiB")}


def test_clients_are_let_in_and_shut_out(run: Run, share: str) -> None:
    rule = run("allow", share, "198.51.100.4", "--read-only", "-f", "json").json
    assert (rule["access_type"], rule["access_level"], rule["state"]) == ("ip", "ro", "active")
    assert run("show", share, "-f", "json").json["clients"] == "198.51.100.4 (ro, active)"

    assert run("deny", share, "198.51.100.4").code == 0

    assert run("show", share, "-f", "json").json["clients"] == ""
    again = run("deny", share, "198.51.100.4")
    assert again.code == 1
    assert "isthmus share show" in again.err


def test_a_rule_that_cannot_hold_says_why(run: Run) -> None:
    made = run("create", "1", "--protocol", "CIFS", "-f", "json").json

    refused = run("allow", made["id"], "unknown-to-samba")

    assert refused.code == 1
    assert "rule for unknown-to-samba is in status error" in refused.err
    assert run("delete", made["id"]).code == 0


def test_a_share_is_made_from_a_snapshot(run: Run, share: str) -> None:
    snapshot = run("snapshot", "create", share, "--name", f"{share}-kept", "-f", "json").json
    assert snapshot["status"] == "available"
    assert [each["Name"] for each in run("snapshot", "list", "--share", share, "-f", "json").json] == [f"{share}-kept"]

    copy = run("create", "1", "--snapshot", f"{share}-kept", "-f", "json").json

    assert (copy["status"], copy["snapshot"]) == ("available", snapshot["id"])
    assert run("delete", copy["id"]).code == 0
    assert run("snapshot", "delete", f"{share}-kept").code == 0
    assert run("snapshot", "list", "--share", share, "-f", "json").json == []


def test_what_is_not_there_is_named(run: Run) -> None:
    unknown = run("show", "no-such-share")
    assert unknown.code == 1
    assert "there is no share 'no-such-share'" in unknown.err


def test_a_quota_is_told(run: Run) -> None:
    too_large = run("create", "100000")
    assert too_large.code == 1
    assert "quota" in too_large.err


def test_two_shares_of_a_name_want_an_id(run: Run, share: str) -> None:
    other = run("create", "1", "--name", share, "-f", "json").json

    ambiguous = run("show", share)

    assert ambiguous.code == 1
    assert other["id"] in ambiguous.err
    assert run("delete", other["id"]).code == 0


def test_back_ends_are_shown_to_administrators(run: Run, environment_of: Callable[[str], dict[str, str]]) -> None:
    (local,) = runner(environment_of("admin"))("service", "list", "-f", "json").json
    assert local["Back end"].endswith("@local")
    assert (local["Status"], local["Manager"], local["Storage"]) == ("enabled", "up", "answers")

    refused = run("service", "list")

    assert refused.code == 1
    assert "service:index" in refused.err
