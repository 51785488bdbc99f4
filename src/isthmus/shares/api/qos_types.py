"""QoS types: what quality of service administrators name, for back ends that can give one. From 2.94 on."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api import extra_specs, lists
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.queries import Order, order_of, page_of
from isthmus.shares.api.routing import Route
from isthmus.shares.api.texts import changed_texts
from isthmus.shares.api.versions import since
from isthmus.shares.store import qos_types as store
from isthmus.shares.store import types

_LONGEST = 255
_SORTED = {name: store.TABLE[name] for name in ("id", "name", "description", "created_at", "updated_at")}
_FILTERS = {f"{name}{mark}": store.TABLE[name] for name in ("name", "description") for mark in ("", "~")}


def index(call: Call) -> dict[str, Any]:
    """List types."""
    call.allow("qos_type:index")
    statement = lists.narrowed(select(*store.TABLE), call, _FILTERS)
    order = order_of(call, _SORTED, Order("created_at"))
    statement = lists.paged(lists.ordered(statement, _SORTED, order, store.TABLE.id), page_of(call))
    return {"qos_types": [_view(row) for row in store.all_of(call.session, statement)]}


def show(call: Call, type_id: str) -> dict[str, Any]:
    """Show one."""
    call.allow("qos_type:show")
    return {"qos_type": _view(_found(call, type_id))}


def create(call: Call) -> dict[str, Any]:
    """Make one."""
    call.allow("qos_type:create")
    wanted = _entity(call)
    texts = changed_texts(wanted, {"name": "name", "description": "description"})
    if not texts.get("name"):
        raise InvalidInput(
            "QoS Type must have name. Name will be used as template by backend drivers to create QoS policy name."
        )
    specs = wanted.get("specs") or {}
    if not isinstance(specs, dict):
        raise InvalidInput("Malformed request body: specs must be an object of keys and values")
    row = {"id": str(uuid4()), "description": None, **texts, "created_at": call.now}
    store.add(call.session, row, _checked(specs))
    return {"qos_type": _view(_found(call, str(row["id"])))}


def update(call: Call, type_id: str) -> dict[str, Any]:
    """Change the description."""
    call.allow("qos_type:update")
    texts = changed_texts(_entity(call), {"description": "description"})
    _found(call, type_id)
    if texts:
        store.describe(call.session, type_id, texts["description"], call.now)
    return {"qos_type": _view(_found(call, type_id))}


def delete(call: Call, type_id: str) -> Answer:
    """Delete one."""
    call.allow("qos_type:delete")
    _found(call, type_id)
    store.remove(call.session, type_id)
    return Answer(204)


def index_specs(call: Call, type_id: str) -> dict[str, Any]:
    """Show all specs."""
    call.allow("qos_type_specs:index")
    return {"specs": _found(call, type_id)["specs"]}


def show_spec(call: Call, type_id: str, key: str) -> dict[str, Any]:
    """Show one spec."""
    call.allow("qos_type_specs:show")
    specs = _found(call, type_id)["specs"]
    if key not in specs:
        raise _missing(type_id, key)
    return {key: specs[key]}


def create_specs(call: Call, type_id: str) -> dict[str, Any]:
    """Set what is sent; keep the rest."""
    call.allow("qos_type_specs:create")
    given = call.entity("specs")
    _found(call, type_id)
    kept = _checked(given)
    extra_specs.check_names(given)
    types.write_specs(call.session, type_id, kept)
    return {"specs": given}


def update_spec(call: Call, type_id: str, key: str) -> dict[str, Any]:
    """Set the spec that both the path and the body name."""
    call.allow("qos_type_specs:update")
    given = call.body()
    if not given:
        raise InvalidInput("Request body empty")
    _found(call, type_id)
    if key not in given:
        raise InvalidInput("Request body and URI mismatch")
    if len(given) > 1:
        raise InvalidInput("Request body contains too many items")
    types.write_specs(call.session, type_id, _checked(given))
    return given


def delete_spec(call: Call, type_id: str, key: str) -> Answer:
    """Remove one spec."""
    call.allow("qos_type_specs:delete")
    _found(call, type_id)
    if not types.drop_spec(call.session, type_id, key):
        raise _missing(type_id, key)
    return Answer(204)


def _entity(call: Call) -> dict[str, Any]:
    wanted = call.body().get("qos_type")
    if not isinstance(wanted, dict):
        raise Unprocessable("Body does not contain 'qos_type' information.")
    return wanted


def _found(call: Call, type_id: str) -> dict[str, Any]:
    row = store.find(call.session, type_id)
    if row is None:
        raise NotFound(f"No QoS Type exists with ID {type_id}.")
    return row


def _checked(specs: Mapping[str, Any]) -> dict[str, str]:
    for key, value in specs.items():
        is_text = isinstance(value, bool) or (isinstance(value, str) and 1 <= len(value) <= _LONGEST)
        if not is_text or not 1 <= len(key) <= _LONGEST:
            raise InvalidInput(f"Invalid spec: {key}: {value}")
    return {key: str(value) for key, value in specs.items()}


def _missing(type_id: str, key: str) -> NotFound:
    return NotFound(f"Qos Type {type_id} has no specs with key {key}.")


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "name", "description", "specs", "created_at", "updated_at")}


ROUTES = (
    Route("GET", "/qos-types", index, since(94)),
    Route("POST", "/qos-types", create, since(94)),
    Route("GET", "/qos-types/{type_id}", show, since(94)),
    Route("PUT", "/qos-types/{type_id}", update, since(94)),
    Route("DELETE", "/qos-types/{type_id}", delete, since(94)),
    Route("GET", "/qos-types/{type_id}/specs", index_specs, since(94)),
    Route("POST", "/qos-types/{type_id}/specs", create_specs, since(94)),
    Route("GET", "/qos-types/{type_id}/specs/{key}", show_spec, since(94)),
    Route("PUT", "/qos-types/{type_id}/specs/{key}", update_spec, since(94)),
    Route("DELETE", "/qos-types/{type_id}/specs/{key}", delete_spec, since(94)),
)
