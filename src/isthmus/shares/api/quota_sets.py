"""Quota sets: the limits of a project, of a user in it, or of a share type in it.

A user's or type's limit stands within the project's; a limit cannot be set below what is in use or was promised
further down, unless with `force`. -1 is no limit.
"""

from typing import Any

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.queries import TRUE
from isthmus.shares.api.quota_views import NOT_OF_TYPES, SINCE, shown
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.store import quotas, share_type_facts, usage
from isthmus.shares.store.quotas import Scope

_NO_RESOURCES = frozenset({"tenant_id", "id", "force", "share_type"})
_LARGEST = 2**31 - 1


def show(call: Call, project_id: str) -> dict[str, Any]:
    """Show the limits."""
    call.allow("quota_set:show", {"project_id": project_id})
    scope = _scope(call, project_id)
    return {"quota_set": _view(call, scope, _limits(call, scope), project_id)}


def detail(call: Call, project_id: str) -> dict[str, Any]:
    """Show the limits and what is in use."""
    call.allow("quota_set:show", {"project_id": project_id})
    scope = _scope(call, project_id)
    used = _used(call, scope)
    detailed = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in _limits(call, scope).items()
    }
    return {"quota_set": _view(call, scope, detailed, project_id)}


def defaults(call: Call, project_id: str) -> dict[str, Any]:
    """Show the limits of projects that were given none."""
    call.allow("quota_set:show")
    limits = usage.default_limits(call.session, call.conf)
    return {"quota_set": shown(limits, call.version, identity=project_id)}


def update(call: Call, project_id: str) -> dict[str, Any]:
    """Set limits."""
    call.allow("quota_set:update")
    given = call.body().get("quota_set") or {}
    if not isinstance(given, dict) or all(given.get(name) is None for name in SINCE):
        raise InvalidInput("Must supply at least one quota field to update.")
    scope = _scope(call, project_id)
    wanted = _wanted(call, given, scope)
    if str(given.get("force", "")).strip().lower() not in TRUE:
        _check(call, scope, wanted)
    quotas.set_limits(call.session, scope, wanted)
    return {"quota_set": _view(call, scope, _limits(call, scope), None)}


def delete(call: Call, project_id: str) -> Answer:
    """Go back to the limits that hold without any set here."""
    call.allow("quota_set:delete")
    quotas.drop_limits(call.session, _scope(call, project_id))
    return Answer(202)


def _scope(call: Call, project_id: str) -> Scope:
    user_id, name = call.query.get("user_id") or None, call.query.get("share_type") or None
    if name and call.version < since(39):
        raise InvalidInput(
            "'share_type' key is not supported by this microversion. Use 2.39 or greater microversion to be able to "
            "use 'share_type' quotas."
        )
    if user_id and name:
        raise InvalidInput("'user_id' and 'share_type' values are mutually exclusive")
    if not name:
        return Scope(project_id, user_id)
    found = share_type_facts.usable(call.session, name, None)
    if found is None:
        raise NotFound(f"Share type with name or id '{name}' not found.")
    return Scope(project_id, None, found.id)


def _limits(call: Call, scope: Scope) -> dict[str, int]:
    limits = usage.project_limits(call.session, call.conf, scope.project_id)
    if scope.user_id:
        return limits | usage.user_limits(call.session, scope.project_id, scope.user_id)
    if scope.share_type_id:
        return limits | usage.type_limits(call.session, scope.project_id, scope.share_type_id)
    return limits


def _used(call: Call, scope: Scope) -> dict[str, int]:
    return usage.in_use(call.session, scope.project_id, scope.user_id or "", scope.share_type_id or "")


def _view(call: Call, scope: Scope, limits: dict[str, Any], identity: str | None) -> dict[str, Any]:
    return shown(limits, call.version, identity=identity, of_type=scope.share_type_id is not None)


def _wanted(call: Call, given: dict[str, Any], scope: Scope) -> dict[str, int]:
    unknown = [name for name in given if name not in SINCE and name not in _NO_RESOURCES]
    if unknown:
        raise InvalidInput(f"Bad key(s) {','.join(unknown)} in quota_set.")
    for name, first in SINCE.items():
        if given.get(name) and call.version < first:
            raise InvalidInput(
                f"'{name}' key is not supported by this microversion. Use {first} or greater microversion to be able "
                f"to use '{name}' quotas."
            )
    if scope.share_type_id:
        _refuse_not_of_types(given)
    return {
        name: _limit(name, value)
        for name, value in given.items()
        if name in SINCE and value is not None and value != ""
    }


def _refuse_not_of_types(given: dict[str, Any]) -> None:
    if given.get("share_groups") or given.get("share_group_snapshots"):
        raise InvalidInput("Share type quotas cannot constrain share groups and share group snapshots.")
    if NOT_OF_TYPES & given.keys():
        raise InvalidInput(
            "'share_networks' quota cannot be set for share type. It can be set only for project or user."
        )


def _limit(name: str, value: object) -> int:
    try:
        limit = int(str(value))
    except ValueError:
        raise InvalidInput(f"Quota '{value}' for {name} should be integer.") from None
    if limit < -1:
        raise InvalidInput("Quota limit must be -1 or greater.")
    if limit > _LARGEST:
        raise InvalidInput(f"Quota limit of {name} must be at most {_LARGEST}; use -1 for no limit.")
    return limit


def _check(call: Call, scope: Scope, wanted: dict[str, int]) -> None:
    used, limits = _used(call, scope), _limits(call, scope)
    is_part = scope.user_id is not None or scope.share_type_id is not None
    bounds = usage.project_limits(call.session, call.conf, scope.project_id) if is_part else {}
    promised = {} if is_part else quotas.promised_to_users(call.session, scope.project_id)
    for name, limit in wanted.items():
        if 0 <= limit < used.get(name, 0) and limits[name] >= 0:
            raise InvalidInput(
                f"Quota value {limit} for {name} is smaller than already used and reserved {used[name]}."
            )
        least, most = max(used.get(name, 0), promised.get(name, 0)), bounds.get(name, -1)
        if limit < least and not (limit == -1 and most == -1):
            raise InvalidInput(f"Quota limit must be greater than {least}.")
        if limit > most != -1:
            raise InvalidInput(f"Quota limit must be less than {most}.")


def _routes(collection: str, **versions: Any) -> tuple[Route, ...]:
    one = f"/{collection}/{{project_id}}"
    return (
        Route("GET", one, show, **versions),
        Route("PUT", one, update, **versions),
        Route("DELETE", one, delete, **versions),
        Route("GET", f"{one}/defaults", defaults, **versions),
    )


ROUTES = (
    *_routes("os-quota-sets", until=since(6)),
    *_routes("quota-sets", since=since(7)),
    Route("GET", "/quota-sets/{project_id}/detail", detail, since(25)),
)
