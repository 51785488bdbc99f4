"""How access rules are shown: who they are for is hidden where a lock says so.

The keys of a public share's rules are shown to its own project alone: with a key, anybody may mount.
"""

from collections.abc import Sequence
from typing import Any

from isthmus.shares.api import resource_locks
from isthmus.shares.api.call import Call
from isthmus.shares.api.share_lookup import target_of, visible_share
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, View
from isthmus.shares.model import RulesStatus
from isthmus.shares.store import access_rules as store
from isthmus.shares.store import locks
from isthmus.shares.store.access_rules import Row
from isthmus.shares.store.shares import Row as ShareOfRules

_KEYS_SINCE = since(21)
_RULE = View(
    (
        *map(Field, ("id", "access_level", "access_to", "access_type", "state")),
        Field("access_key", since=_KEYS_SINCE),
        Field("created_at", since=since(33)),
        Field("updated_at", since=since(33)),
        Field("metadata", since=since(45)),
    )
)
_STATES_SINCE = since(28)


def shown(call: Call, rule: Row) -> dict[str, Any]:
    """Return the answer that shows one rule."""
    (view,) = _views(call, [rule], leave_out_hidden=False)
    return {"access": {"share_id": rule["share_id"], **view}}


def shown_list(call: Call, rules: Sequence[Row], *, leave_out_hidden: bool = False) -> dict[str, Any]:
    """Return the answer that lists rules of one share.

    A list that was asked for by what is hidden leaves the hidden out.
    """
    return {"access_list": _views(call, rules, leave_out_hidden=leave_out_hidden)}


def _views(call: Call, rules: Sequence[Row], *, leave_out_hidden: bool) -> list[dict[str, Any]]:
    if not rules:
        return []
    found = locks.first_locks(call.session, [rule["id"] for rule in rules], locks.SHOW)
    hidden = {rule_id for rule_id, lock in found.items() if not resource_locks.may_look_behind(call, lock)}
    view = _RULE.at(call.version, admin=False)
    share = visible_share(call, rules[0]["share_id"])
    keys = {} if may_see_keys(call, share) or not call.version >= _KEYS_SINCE else {"access_key": _HIDDEN}
    # Rules had no states of their own before 2.28.
    common = {} if call.version >= _STATES_SINCE else {"state": _old_state(call, rules[0]["share_id"])}
    return [
        view(rule) | keys | common | (_NOTHING if rule["id"] in hidden else {})
        for rule in rules
        if not (leave_out_hidden and rule["id"] in hidden)
    ]


def _old_state(call: Call, share_id: str) -> str:
    status = store.rules_status_of(call.session, share_id)
    return "new" if status == RulesStatus.SYNCING else status


def may_see_keys(call: Call, share: ShareOfRules) -> bool:
    """Say whether the caller may see the keys of a share's rules: a share's being public does not permit it."""
    return call.may("share:get", target_of(share))


_HIDDEN = "******"
_NOTHING = dict.fromkeys(("access_key", "access_to"), _HIDDEN)
