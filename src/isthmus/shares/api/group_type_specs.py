"""Group specs of a group type, read and changed one by one."""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api import extra_specs
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.store import group_types, types

_LONGEST = 255


def index(call: Call, type_id: str) -> dict[str, Any]:
    """Show all."""
    call.allow("share_group_types_spec:index")
    return {"group_specs": _specs(call, type_id)}


def create(call: Call, type_id: str) -> dict[str, Any]:
    """Set what is sent; keep the rest."""
    call.allow("share_group_types_spec:create")
    given = call.entity("group_specs")
    _specs(call, type_id)
    kept = _checked(given)
    extra_specs.check_names(given)
    types.write_specs(call.session, type_id, kept)
    return {"group_specs": given}


def show(call: Call, type_id: str, key: str) -> dict[str, Any]:
    """Show one."""
    call.allow("share_group_types_spec:show")
    specs = _specs(call, type_id)
    if key not in specs:
        raise _missing(type_id, key)
    return {key: specs[key]}


def update(call: Call, type_id: str, key: str) -> dict[str, Any]:
    """Set the spec that both the path and the body name."""
    call.allow("share_group_types_spec:update")
    given = call.body()
    if not given:
        raise InvalidInput("Request body empty.")
    _specs(call, type_id)
    if key not in given:
        raise InvalidInput("Request body and URI mismatch.")
    if len(given) > 1:
        raise InvalidInput("Request body contains too many items.")
    types.write_specs(call.session, type_id, _checked(given))
    return given


def delete(call: Call, type_id: str, key: str) -> Answer:
    """Remove one."""
    call.allow("share_group_types_spec:delete")
    _specs(call, type_id)
    if not types.drop_spec(call.session, type_id, key):
        raise _missing(type_id, key)
    return Answer(204)


def _specs(call: Call, type_id: str) -> dict[str, str]:
    found = group_types.find(call.session, type_id)
    if found is None:
        raise NotFound(f"Share group type {type_id} could not be found.")
    specs: dict[str, str] = found["group_specs"]
    return specs


def _checked(given: Mapping[str, Any]) -> dict[str, str]:
    for key, value in given.items():
        is_text = isinstance(value, bool) or (isinstance(value, str) and 1 <= len(value) <= _LONGEST)
        if not is_text or not 1 <= len(key) <= _LONGEST:
            raise InvalidInput(f"Invalid extra_spec: {key}: {value}")
    return {key: str(value) for key, value in given.items()}


def _missing(type_id: str, key: str) -> NotFound:
    return NotFound(f"Share group type {type_id} has no group specs with key {key}.")


ROUTES = (
    ("GET", "/{type_id}/group-specs", index),
    ("POST", "/{type_id}/group-specs", create),
    ("GET", "/{type_id}/group-specs/{key}", show),
    ("PUT", "/{type_id}/group-specs/{key}", update),
    ("DELETE", "/{type_id}/group-specs/{key}", delete),
)
