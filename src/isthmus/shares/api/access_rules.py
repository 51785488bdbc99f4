"""Access rules of shares: who may mount them. Shown and changed here; a share manager brings them to the back end."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, select

from isthmus.control.errors import InvalidInput, IsthmusError, NotAllowed, NotFound
from isthmus.shares.api import resource_locks
from isthmus.shares.api.access_targets import check_target, is_same_client
from isthmus.shares.api.access_views import may_see_keys, shown, shown_list
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.metadata import checked
from isthmus.shares.api.queries import boolean, literal_pairs
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_lookup import held_share, refuse_soft_deleted, visible_share
from isthmus.shares.api.versions import since
from isthmus.shares.model import TRANSITIONAL, RulesStatus, RuleState, Status
from isthmus.shares.store import access_rules as store
from isthmus.shares.store import locks, metadata
from isthmus.shares.store.access_rules import RULE, Row
from isthmus.shares.store.moving import hold
from isthmus.shares.tables import InstanceRow, LockRow, MetadataRow

LEVELS = ("rw", "ro")
TYPES = ("ip", "user", "cert", "cephx")
_SETTLED = frozenset(Status) - TRANSITIONAL
_SHARE_LOCK_REASON = "Locked by access lock: {}"
_ALLOW_REFUSED, _DENY_REFUSED = "Cannot allow access for share", "Cannot deny access for share"
_GOING = (RuleState.QUEUED_TO_DENY, RuleState.DENYING)


def allow(call: Call, share_id: str, argument: Any) -> dict[str, Any]:
    """Add a rule."""
    call.allow("share:allow_access")
    data = _object(argument, "allow_access")
    share = visible_share(call, share_id, to_change=True)
    refuse_soft_deleted(share, _ALLOW_REFUSED)
    if call.version < since(28) and share["access_rules_status"] == RulesStatus.ERROR:
        raise InvalidInput(
            "Access rules cannot be added while the share or any of its replicas or migration copies has its "
            "access_rules_status set to error. Deny any rules in error state and try again."
        )
    guards = _Guards(call, data)
    access_type, access_to = _client(call, data)
    level = data.get("access_level")
    if level not in (*LEVELS, None):
        raise InvalidInput(f"Invalid access rule: Invalid share access level: {level}.")
    items = checked(data.get("metadata")) if call.version >= since(45) else {}
    # Held before the look at what is there, so of two calls for one client the second finds the first's rule.
    is_fit = _hold(call, share, with_error=call.version >= since(74))
    share = held_share(call, share, _ALLOW_REFUSED)
    known = store.clients_of(call.session, share_id, access_type)
    if any(is_same_client(access_type, access_to, each) for each in known):
        raise InvalidInput(f"Share access {access_type}:{access_to} exists.")
    if not is_fit:
        raise InvalidInput(_REFUSED.format("New access rules cannot be applied", "share or"))
    rule_id = store.add(
        call.session, share, access_type=access_type, access_to=access_to, access_level=level or "rw", now=call.now
    )
    metadata.write(call.session, rule_id, items)
    guards.lock(share_id, rule_id)
    store.queue(call.session, share, call.now, call.request_id)
    return shown(call, _rule(call, rule_id))


def deny(call: Call, share_id: str, argument: Any) -> Answer:
    """Take a rule away."""
    call.allow("share:deny_access")
    data = _object(argument, "deny_access")
    rule_id = data.get("access_id")
    if not isinstance(rule_id, str):
        raise InvalidInput("Missing 'access_id' of the rule to deny.")
    freed = _locks_to_lift(call, share_id, rule_id, unrestrict=boolean(data.get("unrestrict", False), "unrestrict"))
    share = visible_share(call, share_id, to_change=True)
    refuse_soft_deleted(share, _DENY_REFUSED)
    call.allow("share:access_get")
    rule = store.one(call.session, rule_id)
    if rule is None or rule["share_id"] != share_id:
        raise NotFound(f"Share access rule {rule_id} not found.")
    if not _hold(call, share, with_error=call.version >= since(74)):
        raise InvalidInput(_REFUSED.format("Access rules cannot be denied", "share,"))
    share = held_share(call, share, _DENY_REFUSED)
    _lift(call, freed)
    store.set_state(call.session, rule_id, RuleState.QUEUED_TO_DENY, call.now)
    store.queue(call.session, share, call.now, call.request_id)
    return Answer(202)


def list_of_share(call: Call, share_id: str, argument: Any) -> dict[str, Any]:
    """List a share's rules (an action until 2.44)."""
    del argument
    share = visible_share(call, share_id)
    call.allow("share:access_get_all")
    return shown_list(call, store.read(call.session, store.rows_of_rules().where(RULE.c.share_id == share["id"])))


def index(call: Call) -> dict[str, Any]:
    """List the rules of the share that the query names."""
    call.allow("share_access_rule:index")
    share_id = call.query.get("share_id")
    if share_id is None:
        raise InvalidInput("The field 'share_id' has to be specified.")
    if call.version >= since(82):
        _check_filters(call)
    try:
        share = visible_share(call, share_id)
    except NotFound:
        raise InvalidInput(f"Share {share_id} not found.") from None
    call.allow("share:access_get_all")
    statement = store.rows_of_rules().where(RULE.c.share_id == share_id)
    for name in ("id", "access_type", "access_key", "access_to", "access_level"):
        if name in call.query:
            statement = statement.where(RULE.c[name] == call.query[name])
    for key, value in _wanted_metadata(call).items():
        has = select(MetadataRow.key).where(
            MetadataRow.object_id == RULE.c.id, MetadataRow.key == key, MetadataRow.value == value
        )
        statement = statement.where(has.exists())
    if "access_key" in call.query and not may_see_keys(call, share):
        return {"access_list": []}
    by_secret = "access_to" in call.query or "access_key" in call.query
    return shown_list(call, store.read(call.session, statement), leave_out_hidden=by_secret)


def show(call: Call, rule_id: str) -> dict[str, Any]:
    """Show one rule."""
    call.allow("share_access_rule:get")
    return shown(call, _visible_rule(call, rule_id))


def change(call: Call, rule_id: str) -> dict[str, Any]:
    """Change what a rule lets its client do."""
    call.allow("share_access_rule:update")
    data = _object(call.body().get("update_access"), "update_access")
    level = data.get("access_level")
    if not level:
        raise InvalidInput("Invalid input. Missing 'access_level' in update request.")
    if level not in LEVELS:
        raise InvalidInput(f"Invalid or unsupported share access level: {level}.")
    rule = _visible_rule(call, rule_id)
    share = visible_share(call, rule["share_id"], to_change=True)
    if level == rule["access_level"]:
        return shown(call, rule)
    if not _hold(call, share, with_error=True):
        raise InvalidInput(_REFUSED.format("Access rules cannot be updated", "share,"))
    if _rule(call, rule_id)["state"] in _GOING:
        raise InvalidInput(f"Share access rule {rule_id} is being denied.")
    store.set_level(call.session, rule_id, level, call.now)
    store.queue(call.session, share, call.now, call.request_id)
    return shown(call, _rule(call, rule_id))


def change_metadata(call: Call, rule_id: str) -> dict[str, Any]:
    """Set what is sent; keep the rest."""
    call.allow("share_access_metadata:update")
    items = checked(call.entity("metadata"))
    _visible_rule(call, rule_id, to_change=True)
    metadata.write(call.session, rule_id, items)
    return {"metadata": items}


def remove_metadata(call: Call, rule_id: str, key: str) -> None:
    """Remove one key."""
    call.allow("share_access_metadata:delete")
    _visible_rule(call, rule_id, to_change=True)
    if not metadata.drop(call.session, rule_id, [key]):
        raise NotFound("Share access rule metadata does not exist.")


_REFUSED = "{} while the {} any of its replicas or migration copies lacks a valid host or is in an invalid state."


class _Guards:
    """The locks that a new rule is asked to get (2.82)."""

    def __init__(self, call: Call, data: Mapping[str, Any]) -> None:
        known = call.version >= since(82)
        self._call = call
        self._deletion = known and boolean(data.get("lock_deletion", False), "lock_deletion")
        self._visibility = known and boolean(data.get("lock_visibility", False), "lock_visibility")
        self._reason = data.get("lock_reason") if known else None
        if self._reason is not None and not isinstance(self._reason, str):
            raise InvalidInput("'lock_reason' must be a string.")
        if self._reason and not (self._deletion or self._visibility):
            raise InvalidInput(
                "Lock reason can only be specified when locking the visibility or the deletion of an access rule."
            )

    def lock(self, share_id: str, rule_id: str) -> None:
        """Lock the rule as asked; while its deletion is locked, so is the share's."""
        if self._deletion:
            lock_id = self._place(rule_id, locks.RULE, locks.DELETE, self._reason)
            self._place(share_id, locks.SHARE, locks.DELETE, _SHARE_LOCK_REASON.format(lock_id))
        if self._visibility:
            self._place(rule_id, locks.RULE, locks.SHOW, self._reason)

    def _place(self, resource_id: str, kind: str, action: str, reason: str | None) -> str:
        try:
            return resource_locks.place(self._call, resource_id, kind, action, reason)
        except IsthmusError:
            what = "visibility" if action == locks.SHOW else "deletion"
            kind = kind.replace("_", " ")
            raise InvalidInput(f"Failed to lock the {what} of the {kind} {resource_id}.") from None


def _locks_to_lift(call: Call, share_id: str, rule_id: str, *, unrestrict: bool) -> Collection[str]:
    """Return the locks that the caller lifts by denying the rule; `NotAllowed` if there are others."""
    found = locks.locks_on(call.session, rule_id, locks.DELETE)
    if found and not unrestrict:
        raise NotAllowed(
            f"Cannot deny access for share '{share_id}' since it has been locked. Please remove the locks and retry "
            "the operation"
        )
    if not all(resource_locks.may_remove(call, lock) for lock in found):
        raise NotAllowed("Unable to drop access rule restrictions that are not placed by you.")
    return [lock.id for lock in found]


def _lift(call: Call, lock_ids: Collection[str]) -> None:
    reasons = [_SHARE_LOCK_REASON.format(lock_id) for lock_id in lock_ids]
    if lock_ids:
        call.session.execute(delete(LockRow).where(LockRow.lock_reason.in_(reasons)))
        call.session.execute(delete(LockRow).where(LockRow.id.in_(list(lock_ids))))


def _hold(call: Call, share: Row, *, with_error: bool) -> bool:
    """Hold all instances; say whether rules of all of them may change now."""
    fit = _SETTLED if with_error else _SETTLED - {Status.ERROR}
    instances = store.instances_of(call.session, share["id"])
    held = [hold(call.session, InstanceRow, each["id"], of=fit) and bool(each["host"]) for each in instances]
    return all(held)


def _client(call: Call, data: Mapping[str, Any]) -> tuple[str, str]:
    access_type, access_to = data.get("access_type"), data.get("access_to")
    if not isinstance(access_type, str) or not isinstance(access_to, str):
        raise InvalidInput("An access rule needs 'access_type' and 'access_to', both text.")
    check_target(access_type, access_to, cephx=call.version >= since(13), ipv6=call.version >= since(38))
    if len(access_to) > 255:
        raise InvalidInput("'access_to' can only be 255 characters long.")
    return access_type, access_to


def _check_filters(call: Call) -> None:
    access_type, access_to = call.query.get("access_type"), call.query.get("access_to")
    level = call.query.get("access_level")
    if access_type and access_type not in TYPES:
        raise InvalidInput(f"Invalid or unsupported share access type: {access_type}.")
    if access_to and not access_type:
        raise InvalidInput(
            "Invalid input received: 'access_type' parameter must be provided when specifying 'access_to'.."
        )
    if access_type and access_to:
        check_target(access_type, access_to, cephx=True, ipv6=True)
    if level and level not in LEVELS:
        raise InvalidInput(f"Invalid or unsupported share access level: {level}.")


def _wanted_metadata(call: Call) -> dict[str, str]:
    text = call.query.get("metadata")
    if text is None:
        return {}
    found = literal_pairs(text)
    if found is None:
        raise InvalidInput(f"Invalid input received: Wrong metadata filter provided: {text}.")
    return found


def _visible_rule(call: Call, rule_id: str, *, to_change: bool = False) -> dict[str, Any]:
    call.allow("share:access_get")
    rule = store.one(call.session, rule_id)
    missing = NotFound(f"Share access rule {rule_id} not found.")
    if rule is None:
        raise missing
    try:
        visible_share(call, rule["share_id"], to_change=to_change)
    except NotFound:
        raise missing from None
    return rule


def _rule(call: Call, rule_id: str) -> dict[str, Any]:
    rule = store.one(call.session, rule_id)
    if rule is None:
        raise NotFound(f"Share access rule {rule_id} not found.")
    return rule


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"Malformed request body: '{name}' must be an object.")
    return value


_SINCE = since(45)
ROUTES = (
    Route("GET", "/share-access-rules", index, since=_SINCE),
    Route("GET", "/share-access-rules/{rule_id}", show, since=_SINCE),
    Route("PUT", "/share-access-rules/{rule_id}", change, since=since(88)),
    Route("PUT", "/share-access-rules/{rule_id}/metadata", change_metadata, since=_SINCE),
    Route("DELETE", "/share-access-rules/{rule_id}/metadata/{key}", remove_metadata, since=_SINCE),
)
