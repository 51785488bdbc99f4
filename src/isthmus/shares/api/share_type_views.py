"""How a share type is shown: administrators see all extra specs, tenants those that say how shares behave."""

from collections.abc import Iterable, Mapping
from typing import Any

from isthmus.shares.api import extra_specs
from isthmus.shares.api.call import Call
from isthmus.shares.api.extra_specs import REQUIRED, VISIBLE
from isthmus.shares.api.versions import since


def one(call: Call, row: Mapping[str, Any], *, required: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a type under both of its names. `required` is what a new one was given, as it was given."""
    shown = _view(call, row, call.is_admin, required)
    return {"volume_type": shown, "share_type": shown}


def listed(call: Call, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return types under both of their names."""
    is_admin = call.is_admin
    shown = [_view(call, row, is_admin, None) for row in rows]
    return {"volume_types": shown, "share_types": shown}


def _view(call: Call, row: Mapping[str, Any], is_admin: bool, required: Mapping[str, Any] | None) -> dict[str, Any]:
    specs = row["extra_specs"]
    if required is None:
        required = {REQUIRED: specs[REQUIRED]} if extra_specs.is_truth(specs.get(REQUIRED)) else {}
    access = "share_type_access" if call.version >= since(7) else "os-share-type-access"
    shown = {
        "id": row["id"],
        "name": row["name"],
        "extra_specs": specs if is_admin else _tenants(call, specs),
        "required_extra_specs": dict(required),
        f"{access}:is_public": row["is_public"],
    }
    if call.version >= since(41):
        shown["description"] = row["description"]
    if call.version >= since(46):
        shown["is_default"] = row["name"] == call.conf.shares.default_share_type
    return shown


def _tenants(call: Call, specs: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in specs.items() if key in VISIBLE}
    if call.version >= since(24):
        shown = {**dict.fromkeys(extra_specs.INFERRED, False), **shown}
    if call.version >= since(99):
        shown.setdefault(extra_specs.INFERRED_LATER, False)
    return shown
