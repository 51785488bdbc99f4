"""Extra specs of a share type, read and changed one by one."""

from typing import Any

from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.shares.api import extra_specs
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.extra_specs import REQUIRED, SNAPSHOT_SUPPORT
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.store import share_types, types


def index(call: Call, type_id: str) -> dict[str, Any]:
    """Show all."""
    call.allow("share_types_extra_spec:index")
    return {"extra_specs": _specs(call, type_id)}


def create(call: Call, type_id: str) -> dict[str, Any]:
    """Set what is sent; keep the rest."""
    call.allow("share_types_extra_spec:create")
    given = call.entity("extra_specs")
    _specs(call, type_id)
    kept = extra_specs.checked_changes(given)
    extra_specs.check_names(given)
    types.write_specs(call.session, type_id, kept)
    return {"extra_specs": kept}


def show(call: Call, type_id: str, key: str) -> dict[str, Any]:
    """Show one."""
    call.allow("share_types_extra_spec:show")
    specs = _specs(call, type_id)
    if key not in specs:
        raise _missing(type_id, key)
    return {key: specs[key]}


def update(call: Call, type_id: str, key: str) -> dict[str, Any]:
    """Set the spec that both the path and the body name."""
    call.allow("share_types_extra_spec:update")
    given = call.body()
    if not given:
        raise InvalidInput("Request body empty")
    _specs(call, type_id)
    if key not in given:
        raise InvalidInput("Request body and URI mismatch")
    if len(given) > 1:
        raise InvalidInput("Request body contains too many items")
    kept = extra_specs.checked_changes(given)
    types.write_specs(call.session, type_id, kept)
    return kept


def delete(call: Call, type_id: str, key: str) -> Answer:
    """Remove one; those that must be there stay (before 2.24 also `snapshot_support`)."""
    call.allow("share_types_extra_spec:delete")
    _specs(call, type_id)
    if key == REQUIRED or (key == SNAPSHOT_SUPPORT and call.version < since(24)):
        raise NotAllowed(f"Extra spec '{key}' can't be deleted.")
    if not types.drop_spec(call.session, type_id, key):
        raise _missing(type_id, key)
    return Answer(202)


def _specs(call: Call, type_id: str) -> dict[str, str]:
    found = share_types.find(call.session, type_id)
    if found is None:
        raise NotFound(f"Share type {type_id} could not be found.")
    specs: dict[str, str] = found["extra_specs"]
    return specs


def _missing(type_id: str, key: str) -> NotFound:
    return NotFound(f"Share Type {type_id} has no extra specs with key {key}.")


ROUTES = (
    Route("GET", "/types/{type_id}/extra_specs", index),
    Route("POST", "/types/{type_id}/extra_specs", create),
    Route("GET", "/types/{type_id}/extra_specs/{key}", show),
    Route("PUT", "/types/{type_id}/extra_specs/{key}", update),
    Route("DELETE", "/types/{type_id}/extra_specs/{key}", delete),
)
