"""Who may do what, by role."""

import pytest

from isthmus.control import configuration
from isthmus.control.errors import NotAllowed
from isthmus.control.identity import Caller
from isthmus.control.policy import Policy
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
