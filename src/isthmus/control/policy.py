"""Who may do what: oslo.policy rules, changed by an operator's `policy.yaml`.

`admin` may do everything, `writer` is a member, manager or owner of the project, `reader` may look.
"""

import time
from collections.abc import Hashable, Mapping
from typing import Any

from oslo_config.cfg import ConfigOpts
from oslo_policy import policy

from isthmus.control.errors import NotAllowed
from isthmus.control.identity import Caller

BASE_RULES = [
    policy.RuleDefault("admin", "is_admin:True or role:admin", "May do everything."),
    policy.RuleDefault(
        "writer",
        "rule:admin or (project_id:%(project_id)s and (role:member or role:manager or role:owner))",
        "May change what belongs to its own project.",
    ),
    policy.RuleDefault(
        "reader",
        "rule:writer or (project_id:%(project_id)s and role:reader)",
        "May look at what belongs to its own project.",
    ),
]

REMEMBERED_SECONDS = 1.0
"""How long a decision holds. oslo.policy looks for changed files at each one, which costs as much as small answers."""


class Policy:
    """The rules in force: the services' defaults, overridden by `[oslo_policy] policy_file`."""

    def __init__(self, conf: ConfigOpts, rules: list[policy.RuleDefault]) -> None:
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults([*BASE_RULES, *rules])
        self._enforcer.load_rules()
        self._decided: dict[Hashable, bool] = {}
        self._decided_until = 0.0

    def check(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Return if the caller may; raise `NotAllowed` naming the rule if not. The target is the caller's project."""
        if not self._decide(caller, rule, target or {"project_id": caller.project_id}):
            raise NotAllowed(
                f"the policy {rule} does not allow this to your roles ({', '.join(caller.roles) or 'none'}); "
                "ask the cloud's administrator for the role member in this project"
            )

    def _decide(self, caller: Caller, rule: str, target: Mapping[str, Any]) -> bool:
        """Return a decision, made at most `REMEMBERED_SECONDS` ago: changes of the policy file are seen by then."""
        now = time.monotonic()
        if now > self._decided_until:
            self._decided, self._decided_until = {}, now + REMEMBERED_SECONDS
        decided, key = self._decided, (rule, caller.user_id, caller.project_id, caller.roles, caller.is_admin)
        asked = (*key, *sorted(target.items()))
        known = decided.get(asked)
        if known is None:
            credentials = {
                "user_id": caller.user_id,
                "project_id": caller.project_id,
                "roles": list(caller.roles),
                "is_admin": caller.is_admin,
            }
            known = decided[asked] = bool(self._enforcer.authorize(rule, dict(target), credentials))
        return known
