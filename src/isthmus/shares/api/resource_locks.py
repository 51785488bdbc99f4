"""Resource locks (2.81): list, show, create, update, delete.

A lock made by a user can be taken away by the same user and by administrators; one made by a service by services and
administrators; one made by an administrator by administrators alone.
"""

from collections.abc import Mapping
from typing import Any

from oslo_utils.uuidutils import is_uuid_like
from sqlalchemy import delete, func, select, update

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.lists import first, narrowed, ordered, paged, rows, since_and_before
from isthmus.shares.api.queries import Order, flag, order_of, page_of
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View, links, next_link
from isthmus.shares.store import locks
from isthmus.shares.store.locks import ACTIONS, DELETE, GOING_RULES, GOING_SHARES, RULE, SHARE, SHOW, Lock
from isthmus.shares.tables import LockRow, RuleRow, ShareRow

SINCE = since(81)
LONGEST_REASON = 1023
_TABLE = LockRow.__table__
_NAMES = ("id", "user_id", "resource_id", "resource_type", "lock_context", "resource_action", "lock_reason")
_FILTERS = {**{name: _TABLE.c[name] for name in _NAMES}, "lock_reason~": _TABLE.c.lock_reason}
_SORT_KEYS = {name: _TABLE.c[name] for name in (*_NAMES, "project_id", "created_at", "updated_at")}
_VIEW = View(
    Field(name)
    for name in (
        *("id", "user_id", "project_id", "lock_context", "resource_type", "resource_id", "resource_action"),
        *("lock_reason", "created_at", "updated_at"),
    )
)


def index(call: Call) -> dict[str, Any]:
    """List the project's locks, or with `all_projects` those of all."""
    call.allow("resource_lock:get_all")
    page, order = page_of(call), order_of(call, _SORT_KEYS, Order("created_at"))
    statement = since_and_before(narrowed(select(_TABLE), call, _FILTERS), call, _TABLE.c.created_at)
    project = _project_to_list(call)
    if project is not None:
        statement = statement.where(_TABLE.c.project_id == project)
    asked = paged(ordered(statement, _SORT_KEYS, order, _TABLE.c.id), page)
    shown = [_shown(call, row) for row in rows(call.session, asked)]
    answer: dict[str, Any] = {"resource_locks": shown}
    if flag(call, "with_count"):
        # Manila leaves a count of nothing out.
        counted = call.session.scalar(select(func.count()).select_from(statement.subquery()))
        answer |= {"count": counted} if counted else {}
    return answer | next_link(call, "resource_locks", page, len(shown))


def _project_to_list(call: Call) -> str | None:
    asked = call.query.get("project_id")
    everywhere = flag(call, "all_projects") or flag(call, "all_tenants")
    if everywhere and not call.may("resource_lock:get_all_projects"):
        return call.project_id
    if asked is None:
        return None if everywhere else call.project_id
    if asked != call.project_id and not call.is_admin:
        raise NotAllowed("Not authorized.")
    return asked


def show(call: Call, lock_id: str) -> dict[str, Any]:
    """Show one lock."""
    call.allow("resource_lock:get")
    return {"resource_lock": _shown(call, _lock(call, lock_id))}


def create(call: Call) -> dict[str, Any]:
    """Make a lock on a share or an access rule."""
    call.allow("resource_lock:create")
    data = _checked(call, {"resource_id", "resource_type", "resource_action", "lock_reason"})
    kind = data.get("resource_type") or SHARE
    if not isinstance(kind, str) or kind not in ACTIONS:
        raise InvalidInput(f"'resource_type' is required and must be one of {tuple(ACTIONS)}")
    action = _action(data, kind)
    identity = data.get("resource_id")
    if not isinstance(identity, str) or not is_uuid_like(identity):
        raise InvalidInput("Resource ID is required and must be in uuid format.")
    lock_id = place(call, identity, kind, action, data.get("lock_reason"))
    return {"resource_lock": _shown(call, _lock(call, lock_id))}


def place(call: Call, resource_id: str, kind: str, action: str, reason: str | None) -> str:
    """Make a lock for the caller and return its id.

    Raises `InvalidInput` if there is no such resource, `NotAllowed` for another project's, `Conflict` if its status
    makes a lock pointless, or if somebody has locked its visibility already.
    """
    call.allow("resource_lock:create", {"project_id": _project_of(call, resource_id, kind)})
    _hold(call, resource_id, kind, action)
    if action == SHOW and locks.locks_on(call.session, resource_id, SHOW):
        raise Conflict("Resource's visibility is already locked by other user.")
    return locks.make(
        call.session,
        user_id=call.caller.user_id,
        project_id=call.project_id,
        context=_context(call),
        resource_id=resource_id,
        resource_type=kind,
        action=action,
        reason=reason,
        now=call.now,
    )


def change(call: Call, lock_id: str) -> dict[str, Any]:
    """Change a lock's action or reason."""
    call.allow("resource_lock:get")
    lock = _lock(call, lock_id)
    data = _checked(call, {"resource_action", "lock_reason"})
    call.allow("resource_lock:update", lock)
    _refuse_others(call, lock["lock_context"])
    values: dict[str, Any] = {"updated_at": call.now}
    if "lock_reason" in data:
        values["lock_reason"] = data["lock_reason"]
    if data.get("resource_action") is not None:
        values["resource_action"] = _changed_action(call, lock, data)
    call.session.execute(update(LockRow).where(LockRow.id == lock_id).values(**values))
    return {"resource_lock": _shown(call, lock | values)}


def _changed_action(call: Call, lock: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    action = _action(data, lock["resource_type"])
    try:
        _hold(call, lock["resource_id"], lock["resource_type"], action)
    except Conflict as error:
        raise InvalidInput(error.message) from None
    becomes_hidden = action == SHOW and lock["resource_action"] != SHOW
    if becomes_hidden and locks.locks_on(call.session, lock["resource_id"], SHOW):
        raise InvalidInput("Invalid input received: The resource already has a visibility lock.")
    return action


def remove(call: Call, lock_id: str) -> Answer:
    """Delete a lock."""
    lock = _lock(call, lock_id)
    call.allow("resource_lock:delete", lock)
    _refuse_others(call, lock["lock_context"])
    call.session.execute(delete(LockRow).where(LockRow.id == lock_id))
    return Answer(204)


def may_remove(call: Call, lock: Lock) -> bool:
    """Say whether the caller may take this lock away."""
    target = {"user_id": lock.user_id, "project_id": lock.project_id}
    return _stands_above(call, lock.context) and call.may("resource_lock:delete", target)


def may_look_behind(call: Call, lock: Lock) -> bool:
    """Say whether the caller may see what this visibility lock hides."""
    target = {"user_id": lock.user_id, "project_id": lock.project_id}
    return _stands_above(call, lock.context) and call.may("resource_lock:bypass_locked_show_action", target)


def _context(call: Call) -> str:
    if "service" in call.caller.roles:
        return "service"
    return "admin" if call.is_admin else "user"


def _stands_above(call: Call, made_by: str) -> bool:
    asking = _context(call)
    return not (made_by == "admin" and asking != "admin") and not (made_by == "service" and asking == "user")


def _refuse_others(call: Call, made_by: str) -> None:
    if not _stands_above(call, made_by):
        raise NotAllowed("Resource lock cannot be manipulated by user. Please contact the administrator.")


def _project_of(call: Call, resource_id: str, kind: str) -> str:
    statement = select(ShareRow.project_id).where(ShareRow.id == resource_id)
    if kind == RULE:
        statement = (
            select(ShareRow.project_id).join(RuleRow, RuleRow.share_id == ShareRow.id).where(RuleRow.id == resource_id)
        )
    project = call.session.scalar(statement)
    if project is None:
        raise InvalidInput("No such resource found.")
    return project


def _hold(call: Call, resource_id: str, kind: str, action: str) -> None:
    is_fit = (
        locks.hold_share(call.session, resource_id, but=GOING_SHARES)
        if kind == SHARE
        else locks.hold_rule(call.session, resource_id, but=GOING_RULES)
    )
    if action == DELETE and not is_fit:
        raise Conflict("Invalid input received: Resource status not suitable for locking.")
    if kind == SHARE and call.session.scalar(select(ShareRow.is_soft_deleted).where(ShareRow.id == resource_id)):
        raise Conflict("Invalid input received: Resource cannot be locked since it has been soft deleted.")


def _checked(call: Call, known: set[str]) -> dict[str, Any]:
    data = call.body().get("resource_lock")
    if not isinstance(data, dict):
        raise InvalidInput("Malformed request body.")
    if set(data) - known:
        if "resource_id" not in known:
            raise InvalidInput("Only 'resource_action' and 'lock_reason' can be updated.")
        raise InvalidInput(f"Additional properties are not allowed: {', '.join(sorted(set(data) - known))}")
    reason = data.get("lock_reason")
    if reason is not None and not isinstance(reason, str):
        raise InvalidInput("'lock_reason' must be a string.")
    if len(reason or "") > LONGEST_REASON:
        raise InvalidInput(f"'lock_reason' can contain a maximum of {LONGEST_REASON} characters.")
    return data


def _action(data: Mapping[str, Any], kind: str) -> str:
    action = data.get("resource_action") or DELETE
    if not isinstance(action, str) or action not in ACTIONS[kind]:
        raise InvalidInput(f"'resource_action' can only be one of {list(ACTIONS[kind])}")
    return action


def _lock(call: Call, lock_id: str) -> dict[str, Any]:
    row = first(call.session, select(_TABLE).where(_TABLE.c.id == lock_id))
    if row is None or not (call.is_admin or row["project_id"] == call.project_id):
        raise NotFound(f"Resource lock {lock_id} could not be found.")
    return dict(row)


def _shown(call: Call, row: Row) -> dict[str, Any]:
    return _VIEW.at(call.version, admin=False)(row) | {"links": links(call, "resource-locks", row["id"])}


ROUTES = (
    Route("GET", "/resource-locks", index, since=SINCE),
    Route("POST", "/resource-locks", create, since=SINCE),
    Route("GET", "/resource-locks/{lock_id}", show, since=SINCE),
    Route("PUT", "/resource-locks/{lock_id}", change, since=SINCE),
    Route("DELETE", "/resource-locks/{lock_id}", remove, since=SINCE),
)
