"""Who may do what, by role."""

import os
from pathlib import Path

import pytest

from isthmus.control import configuration
from isthmus.control.errors import NotAllowed
from isthmus.control.identity import Caller
from isthmus.control.policy import REMEMBERED_SECONDS, Policy
from isthmus.migration.api.policies import list_rules, migration_rules

READS = ("endpoints:list", "endpoints:list_instances", "transfers:show", "deployments:list", "providers:list")
WRITES = ("endpoints:create", "endpoints:validate_connection", "transfers:delete_disks", "deployments:cancel",
          "transfer_executions:create")  # fmt: skip


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(configuration.load([]), migration_rules())


@pytest.mark.parametrize("roles", [("admin",), ("member",), ("manager",), ("owner",), ("member", "reader")])
def test_members_may_do_all(policy: Policy, roles: tuple[str, ...]) -> None:
    for rule in READS + WRITES:
        policy.check(Caller("u", "p", roles), f"migration:{rule}")


def test_readers_may_only_look(policy: Policy) -> None:
    reader = Caller("u", "p", ("reader",))
    for rule in READS:
        policy.check(reader, f"migration:{rule}")
    for rule in WRITES:
        with pytest.raises(NotAllowed, match=f"migration:{rule}"):
            policy.check(reader, f"migration:{rule}")


def test_other_roles_may_nothing(policy: Policy) -> None:
    for rule in READS + WRITES:
        with pytest.raises(NotAllowed, match="role member"):
            policy.check(Caller("u", "p", ("stranger",)), f"migration:{rule}")


def test_rules_are_about_the_callers_own_project(policy: Policy) -> None:
    with pytest.raises(NotAllowed):
        policy.check(Caller("u", "p", ("member",)), "migration:transfers:create", {"project_id": "q"})
    policy.check(Caller("u", "p", ("admin",)), "migration:transfers:create", {"project_id": "q"})


def test_every_rule_is_named_as_coriolis_names_it() -> None:
    names = [rule.name for rule in list_rules()]
    assert len(names) == len(set(names))
    assert {"migration:transfer_executions:cancel", "migration:endpoints:validate_connection"} <= set(names)


def test_a_token_is_not_in_a_callers_text() -> None:
    assert "hush" not in repr(Caller("u", "p", (), token="hush"))


def test_a_changed_file_is_seen_within_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, now = tmp_path / "policy.yaml", 100.0
    monkeypatch.setattr("isthmus.control.policy.time.monotonic", lambda: now)
    file.write_text('"migration:transfers:show": "role:reader"')
    (tmp_path / "isthmus.conf").write_text(f"[oslo_policy]\npolicy_file = {file}\n")
    conf = configuration.load(["--config-file", str(tmp_path / "isthmus.conf")])
    policy, reader = Policy(conf, migration_rules()), Caller("u", "p", ("reader",))
    policy.check(reader, "migration:transfers:show")
    file.write_text('"migration:transfers:show": "role:nobody"')
    os.utime(file, (2_000_000_000, 2_000_000_000))
    policy.check(reader, "migration:transfers:show")
    now += 2 * REMEMBERED_SECONDS
    with pytest.raises(NotAllowed):
        policy.check(reader, "migration:transfers:show")


def test_decisions_about_different_targets_are_different(policy: Policy) -> None:
    member = Caller("u", "p", ("member",))
    for _ in range(2):
        policy.check(member, "migration:transfers:create", {"project_id": "p"})
        with pytest.raises(NotAllowed):
            policy.check(member, "migration:transfers:create", {"project_id": "q"})
