"""Share types: what administrators offer. Both `share_type` and `volume_type` name one in bodies, as in Manila."""

from typing import Any
from uuid import uuid4

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api import extra_specs, type_access, type_specs
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.extra_specs import REQUIRED, SNAPSHOT_SUPPORT, ZONES
from isthmus.shares.api.queries import boolean, literal_pairs
from isthmus.shares.api.routing import Action, Route, choose_action
from isthmus.shares.api.share_type_views import listed, one
from isthmus.shares.api.versions import since
from isthmus.shares.store import share_types as store

_LONGEST = 255


def index(call: Call) -> dict[str, Any]:
    """List types."""
    call.allow("share_type:index")
    rows = store.listed(call.session, is_public=shown_publicity(call), project_id=call.project_id)
    return listed(call, [row for row in rows if _has(row["extra_specs"], _wanted_specs(call))])


def show(call: Call, type_id: str) -> dict[str, Any]:
    """Show one type."""
    call.allow("share_type:show")
    row = store.find(call.session, type_id)
    if row is None:
        raise NotFound(f"Share type not found: {type_id}")
    return one(call, row)


def default(call: Call) -> dict[str, Any]:
    """Show the type of shares that name none."""
    call.allow("share_type:default")
    name = call.conf.shares.default_share_type
    row = store.find_named(call.session, name) if name else None
    if row is None:
        raise NotFound("Default share type not found")
    return one(call, row)


def create(call: Call) -> dict[str, Any]:
    """Make a type; before 2.24 it supports snapshots unless it says otherwise."""
    call.allow("share_type:create")
    wanted = _entity(call)
    name, description = wanted.get("name"), wanted.get("description")
    if not _is_text(name, least=1) or (description is not None and not _is_text(description, least=0)):
        raise InvalidInput("Type name or description is not valid.")
    if description and call.version < since(41):
        raise InvalidInput(
            "'description' key is not supported by this microversion. Use 2.41 or greater microversion to be able to "
            "use 'description' in share type."
        )
    specs = wanted.get("extra_specs", {})
    if call.version < since(24) and isinstance(specs, dict):
        specs = {SNAPSHOT_SUPPORT: True, **specs}
    kept = extra_specs.checked_new(specs)
    is_public = wanted.get("os-share-type-access:is_public", wanted.get("share_type_access:is_public", True))
    row = {
        "id": str(uuid4()),
        "name": name,
        "description": description,
        "is_public": boolean(is_public, "share_type_access:is_public"),
        "created_at": call.now,
    }
    store.add(call.session, row, kept)
    return one(call, {**row, "extra_specs": kept}, required={REQUIRED: specs[REQUIRED]})


def update(call: Call, type_id: str) -> dict[str, Any]:
    """Change the name, the description or whether all may use it."""
    call.allow("share_type:update")
    values = _changes(_entity(call))
    if store.find(call.session, type_id) is None:
        raise NotFound(f"ShareTypeNotFound: Share type {type_id} could not be found.")
    store.change(call.session, type_id, values, call.now)
    row = store.find(call.session, type_id)
    if row is None:
        raise NotFound(f"ShareTypeNotFound: Share type {type_id} could not be found.")
    return one(call, row)


def delete(call: Call, type_id: str) -> Answer:
    """Delete a type that nothing uses."""
    call.allow("share_type:delete")
    if store.find(call.session, type_id) is None:
        raise NotFound(f"Share type {type_id} could not be found.")
    if not store.remove(call.session, type_id):
        raise InvalidInput(f"Target share type is still in use. Delete the shares and group types of {type_id} first.")
    return Answer(202)


def shown_publicity(call: Call) -> bool | None:
    """Return what `is_public` asks for: only administrators may ask for other than the public ones; None is all."""
    asked = call.query.get("is_public")
    if asked is None or not call.is_admin:
        return True
    if asked.lower() == "all":
        return None
    try:
        return boolean(asked, "is_public")
    except InvalidInput:
        raise InvalidInput(f"Invalid is_public filter [{asked}]") from None


def _entity(call: Call) -> dict[str, Any]:
    return call.entity("share_type" if isinstance(call.body().get("share_type"), dict) else "volume_type")


def _is_text(value: object, *, least: int) -> bool:
    return isinstance(value, str) and least <= len(value) <= _LONGEST


def _changes(wanted: dict[str, Any]) -> dict[str, Any]:
    name, description = wanted.get("name"), wanted.get("description")
    is_public = wanted.get("share_type_access:is_public")
    values: dict[str, Any] = {}
    if name is not None:
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput("Share type name cannot be empty.")
        if len(name) > _LONGEST:
            raise InvalidInput("Share type name cannot be greater than 255 characters in length.")
        values["name"] = name
    if description is not None:
        if not _is_text(description, least=0):
            raise InvalidInput("Share type description cannot be greater than 255 characters in length.")
        values["description"] = description or None
    if is_public is not None:
        try:
            values["is_public"] = boolean(is_public, "share_type_access:is_public")
        except InvalidInput:
            raise InvalidInput("share_type_access:is_public has a non-boolean value.") from None
    if not values:
        raise InvalidInput(
            "Specify share type name, description, share_type_access:is_public or a combination thereof."
        )
    return values


def _wanted_specs(call: Call) -> dict[str, str]:
    text = call.query.get("extra_specs")
    if not text:
        return {}
    if call.version < since(43):
        raise InvalidInput(
            "Filter by 'extra_specs' is not supported by this microversion. Use 2.43 or greater microversion to be "
            "able to use filter search by 'extra_specs."
        )
    return literal_object(text, "extra_specs")


def literal_object(text: str, name: str) -> dict[str, str]:
    """Return an object that a query holds as clients of Manila write it, as Python: `{'key': 'value'}`."""
    found = literal_pairs(text)
    if found is None:
        raise InvalidInput(f"Invalid value for {name}: it must be an object of keys and values")
    return found


def _has(specs: dict[str, str], wanted: dict[str, str]) -> bool:
    asked = dict(wanted)
    zones = {zone.strip() for zone in asked.pop(ZONES, "").split(",") if zone.strip()}
    own = {zone for zone in specs.get(ZONES, "").split(",") if zone}
    return all(specs.get(key) == value for key, value in asked.items()) and (not own or zones <= own)


_ACCESS = type_access.Access(
    noun="share type",
    rules="share_type",
    listing="share_type_access",
    member="share_type_id",
    find=store.find,
)
_ACTIONS = choose_action([Action("addProjectAccess", _ACCESS.add), Action("removeProjectAccess", _ACCESS.remove)])

ROUTES = (
    Route("GET", "/types", index),
    Route("POST", "/types", create),
    Route("GET", "/types/default", default),
    Route("GET", "/types/{type_id}", show),
    Route("PUT", "/types/{type_id}", update, since(50)),
    Route("DELETE", "/types/{type_id}", delete),
    Route("POST", "/types/{type_id}/action", _ACTIONS),
    Route("GET", "/types/{type_id}/os-share-type-access", _ACCESS.index),
    Route("GET", "/types/{type_id}/share_type_access", _ACCESS.index),
    *type_specs.ROUTES,
)
