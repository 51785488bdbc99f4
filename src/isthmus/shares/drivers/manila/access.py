"""Access rules through a Manila driver.

`update_access` and `snapshot_update_access` take all rules and the changes; with no changes they put the whole set
right. Older drivers know only `allow_access` and `deny_access`. A driver refuses a call for one rule of a kind that
it does not know; then rules are given one by one, so that the others hold and that one's refusal is told.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.shares.drivers.facts import AccessChange, AccessRule, AccessType, RuleOutcome
from isthmus.shares.drivers.manila.faults import Faults, is_a
from isthmus.shares.drivers.manila.rows import Row

_OF_ONE_RULE = ("InvalidShareAccess", "InvalidShareAccessLevel", "InvalidShareAccessType", "InvalidSnapshotAccess")

Rows = list[Row]
Call = Callable[[Rows, Rows, Rows, Rows], Any]
"""Takes rows of all rules, of those added, removed and changed; returns the driver's updates by rule id."""


@dataclass(frozen=True)
class Applying:
    """How rules reach one share or snapshot: `rows` makes rows of rules, `call` is the driver's method."""

    call: Call
    rows: Callable[[Sequence[AccessRule]], Rows]
    faults: Faults

    def apply(self, change: AccessChange) -> dict[str, RuleOutcome]:
        """Apply the change; return outcomes of rules that got a key or were refused."""
        try:
            return self._outcomes(change)
        except Exception as error:
            if not is_a(error, *_OF_ONE_RULE):
                raise
        return self._one_by_one(change)

    def _one_by_one(self, change: AccessChange) -> dict[str, RuleOutcome]:
        doubtful = (*change.added, *change.changed) or change.wanted
        held = tuple(rule for rule in change.wanted if rule not in doubtful)
        outcomes = self._outcomes(AccessChange(wanted=held, removed=change.removed)) if held or change.removed else {}
        for rule in doubtful:
            step = AccessChange(
                wanted=(*held, rule),
                added=() if rule in change.changed else (rule,),
                changed=(rule,) if rule in change.changed else (),
            )
            try:
                outcomes |= self._outcomes(step)
            except Exception as error:
                if not is_a(error, *_OF_ONE_RULE):
                    raise
                outcomes[rule.rule_id] = RuleOutcome(error=self.faults.said(error))
            else:
                held = (*held, rule)
        return outcomes

    def _outcomes(self, change: AccessChange) -> dict[str, RuleOutcome]:
        updates = self.call(
            self.rows(change.wanted), self.rows(change.added), self.rows(change.removed), self.rows(change.changed)
        )
        return {str(rule_id): _outcome(update) for rule_id, update in (updates or {}).items()}


def without_ipv6(change: AccessChange) -> AccessChange:
    """Return the change without IPv6 clients, for a driver that does not know IPv6.

    Such a driver is never told of them, as in Manila, and their rules count as applied: the back end has no IPv6
    address that these clients could reach.
    """
    return replace(
        change,
        wanted=_ipv4(change.wanted),
        added=_ipv4(change.added),
        removed=_ipv4(change.removed),
        changed=_ipv4(change.changed),
        gone=_ipv4(change.gone),
    )


def one_at_a_time(driver: Any, context: Any, share: Row, rules: tuple[Rows, Rows, Rows, Rows], gone: Rows) -> None:
    """Apply rules by the old methods, which only add and remove: with no changes named, all are added again.

    What shall not hold is removed first: a failure of another rule then leaves nobody in.
    """
    wanted, added, removed, changed = rules
    for rule in (*gone, *removed):
        driver.deny_access(context, share, rule, share_server=None)
    for rule in added:
        driver.allow_access(context, share, rule, share_server=None)
    for rule in changed:
        driver.deny_access(context, share, rule, share_server=None)
        driver.allow_access(context, share, rule, share_server=None)
    if not (added or removed or changed):
        for rule in wanted:
            _allow_again(driver, context, share, rule)


def _allow_again(driver: Any, context: Any, share: Row, rule: Row) -> None:
    try:
        driver.allow_access(context, share, rule, share_server=None)
    except Exception as error:
        if not is_a(error, "ShareAccessExists"):
            raise
        # It may hold with another level.
        driver.deny_access(context, share, rule, share_server=None)
        driver.allow_access(context, share, rule, share_server=None)


def _outcome(update: Mapping[str, Any]) -> RuleOutcome:
    failed = update.get("state") == "error"
    return RuleOutcome(key=update.get("access_key"), error="the back end could not apply this rule" if failed else None)


def _ipv4(rules: tuple[AccessRule, ...]) -> tuple[AccessRule, ...]:
    return tuple(rule for rule in rules if not _is_ipv6(rule))


def _is_ipv6(rule: AccessRule) -> bool:
    return rule.type is AccessType.IP and ipaddress.ip_network(rule.to, strict=False).version == 6
