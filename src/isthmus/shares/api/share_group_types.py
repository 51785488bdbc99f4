"""Group types: what groups of shares administrators offer, and of which share types. Experimental before 2.55."""

from typing import Any
from uuid import uuid4

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api import group_type_specs, type_access
from isthmus.shares.api.call import Answer, Call, Handler
from isthmus.shares.api.queries import boolean
from isthmus.shares.api.routing import Action, Route, choose_action
from isthmus.shares.api.share_types import literal_object, shown_publicity
from isthmus.shares.api.versions import since
from isthmus.shares.store import group_types as store
from isthmus.shares.store import share_type_facts

_LONGEST = 255


def index(call: Call) -> dict[str, Any]:
    """List types."""
    call.allow("share_group_type:index")
    rows = store.listed(call.session, is_public=shown_publicity(call), project_id=call.project_id)
    wanted = _wanted_specs(call)
    shown = [row for row in rows if all(row["group_specs"].get(key) == value for key, value in wanted.items())]
    return {"share_group_types": [_view(call, row) for row in shown]}


def show(call: Call, type_id: str) -> dict[str, Any]:
    """Show one type."""
    call.allow("share_group_type:show")
    row = store.find(call.session, type_id)
    if row is None:
        raise NotFound(f"Share group type with id {type_id} not found.")
    return {"share_group_type": _view(call, row)}


def default(call: Call) -> dict[str, Any]:
    """Show the type of groups that name none."""
    call.allow("share_group_type:default")
    name = call.conf.shares.default_share_group_type
    row = store.find_named(call.session, name) if name else None
    if row is None:
        raise NotFound("Default share group type not found.")
    return {"share_group_type": _view(call, row)}


def create(call: Call) -> dict[str, Any]:
    """Make a type."""
    call.allow("share_group_type:create")
    wanted = call.entity("share_group_type")
    named, name = wanted.get("share_types"), wanted.get("name")
    if not named or not isinstance(named, list):
        raise InvalidInput("Supported share types must be provided.")
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST:
        raise InvalidInput("Share group type name is not valid.")
    specs = _new_specs(wanted.get("group_specs"))
    row = {
        "id": str(uuid4()),
        "name": name,
        "is_public": boolean(wanted.get("is_public", True), "is_public"),
        "created_at": call.now,
    }
    held = list(dict.fromkeys(_share_type(call, each) for each in named))
    store.add(call.session, row, specs, held)
    return {"share_group_type": _view(call, {**row, "group_specs": specs, "share_types": held})}


def delete(call: Call, type_id: str) -> Answer:
    """Delete a type that no group has."""
    call.allow("share_group_type:delete")
    if store.find(call.session, type_id) is None:
        raise NotFound(f"Share group type {type_id} could not be found.")
    if not store.remove(call.session, type_id):
        raise InvalidInput(f"Target share group type with id {type_id} is still in use.")
    return Answer(204)


def _view(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in ("id", "name", "is_public", "group_specs", "share_types")}
    if call.version >= since(46):
        shown["is_default"] = row["name"] == call.conf.shares.default_share_group_type
    return shown


def _share_type(call: Call, name_or_id: object) -> str:
    found = share_type_facts.usable(call.session, str(name_or_id), None)
    if found is None:
        raise NotFound(f"Share Type {name_or_id} does not exist.")
    return found.id


def _new_specs(specs: object) -> dict[str, str]:
    if specs is None:
        return {}
    if not isinstance(specs, dict):
        raise InvalidInput("Group specs can be either of 'None' or 'dict' types.")
    if not all(isinstance(value, str) for value in specs.values()):
        raise InvalidInput("Group specs keys and values should be strings.")
    if any(len(text) > _LONGEST for text in (*specs, *specs.values())):
        raise InvalidInput(f"Group specs keys and values have at most {_LONGEST} characters.")
    return specs


def _wanted_specs(call: Call) -> dict[str, str]:
    text = call.query.get("group_specs")
    if not text:
        return {}
    if call.version < since(66):
        raise InvalidInput(
            "Filter by 'group_specs' is not supported by this microversion. Use 2.66 or greater microversion to be "
            "able to use filter search by 'group_specs."
        )
    return literal_object(text, "group_specs")


_ACCESS = type_access.Access(
    noun="share group type",
    rules="share_group_type",
    listing="share_group_type_access",
    member="share_group_type_id",
    find=store.find,
)


def _route(method: str, path: str, handler: Handler) -> Route:
    return Route(method, f"/share-group-types{path}", handler, since(31), experimental_until=since(54))


ROUTES = (
    _route("GET", "", index),
    _route("POST", "", create),
    _route("GET", "/default", default),
    _route("GET", "/{type_id}", show),
    _route("DELETE", "/{type_id}", delete),
    _route("GET", "/{type_id}/access", _ACCESS.index),
    _route(
        "POST",
        "/{type_id}/action",
        choose_action([Action("addProjectAccess", _ACCESS.add), Action("removeProjectAccess", _ACCESS.remove)]),
    ),
    *(_route(*route) for route in group_type_specs.ROUTES),
)
