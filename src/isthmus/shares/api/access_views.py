"""How access rules are shown: who they are for is hidden where a lock says so."""

from collections.abc import Sequence
from typing import Any

from isthmus.shares.api import resource_locks
from isthmus.shares.api.call import Call
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, View
from isthmus.shares.model import RulesStatus
from isthmus.shares.store import access_rules as store
from isthmus.shares.store import locks
from isthmus.shares.store.access_rules import Row

_RULE = View(
    (
        *map(Field, ("id", "access_level", "access_to", "access_type", "state")),
        Field("access_key", since=since(21)),
        Field("created_at", since=since(33)),
        Field("updated_at", since=since(33)),
        Field("metadata", since=since(45)),
    )
)
_STATES_SINCE = since(28)
HIDDEN = "******"


def shown(call: Call, rule: Row) -> dict[str, Any]:
    """Return the answer that shows one rule."""
    return {"access": {"share_id": rule["share_id"], **_view(call, rule, hidden=_is_hidden(call, rule["id"]))}}


def shown_list(call: Call, rules: Sequence[Row], *, leave_out_hidden: bool = False) -> dict[str, Any]:
    """Return the answer that lists rules; a list that was asked for by what is hidden leaves the hidden out."""
    listed = [(rule, _is_hidden(call, rule["id"])) for rule in rules]
    return {
        "access_list": [
            _view(call, rule, hidden=hidden) for rule, hidden in listed if not (hidden and leave_out_hidden)
        ]
    }


def _view(call: Call, rule: Row, *, hidden: bool) -> dict[str, Any]:
    found = _RULE.at(call.version, admin=False)(rule)
    if call.version < _STATES_SINCE:
        # Rules had no states of their own then.
        status = store.rules_status_of(call.session, rule["share_id"])
        found["state"] = "new" if status == RulesStatus.SYNCING else status
    if hidden:
        found |= dict.fromkeys(("access_key", "access_to"), HIDDEN)
    return found


def _is_hidden(call: Call, rule_id: str) -> bool:
    found = locks.locks_on(call.session, rule_id, locks.SHOW)
    return bool(found) and not resource_locks.may_look_behind(call, found[0])
