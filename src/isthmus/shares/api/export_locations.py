"""Export locations: how shares and their instances are mounted."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, update

from isthmus.control.errors import NotAllowed, NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.metadata import Carrier, Touch, metadata_routes
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View
from isthmus.shares.scheduling.extra_specs import truth
from isthmus.shares.store import exports, instances
from isthmus.shares.store.exports import EXPORT
from isthmus.shares.store.results import PREFERRED
from isthmus.shares.tables import ExportRow

_METADATA_SINCE = since(87)


def _plain_metadata(row: Row) -> dict[str, str]:
    # It has a field of its own.
    return {key: value for key, value in row["metadata"].items() if key != PREFERRED}


_FIELDS = (
    Field("id"),
    Field("path"),
    Field("preferred", since=since(14)),
    Field("metadata", _plain_metadata, since=_METADATA_SINCE),
    Field("share_instance_id", "instance_id", admin=True),
    Field("is_admin_only", admin=True),
)
_SUMMARY = View(_FIELDS)
_STAMPS = (Field("created_at"), Field("updated_at"))
_DETAIL = View((*_FIELDS, *_STAMPS))
_OF_REPLICA = ("replica_state", "availability_zone")
_REPLICA_SUMMARY = View((*_FIELDS, *map(Field, _OF_REPLICA)))
_REPLICA_DETAIL = View((*_FIELDS, *_STAMPS, *map(Field, _OF_REPLICA)))


def index(call: Call, share_id: str) -> dict[str, Any]:
    """List a share's export locations."""
    call.allow("share_export_location:index")
    visible_share(call, share_id)
    asked = _exports(call, share_id)
    if not call.is_admin:
        asked = asked.where(EXPORT.c.is_admin_only.is_(False))
    return _listed(call, exports.read(call.session, asked))


def show(call: Call, share_id: str, export_id: str) -> dict[str, Any]:
    """Show one export location of a share."""
    call.allow("share_export_location:show")
    return _shown(call, _of_share(call, share_id, export_id))


def index_of_instance(call: Call, instance_id: str) -> dict[str, Any]:
    """List a share instance's export locations."""
    call.allow("share_instance_export_location:index")
    _check_instance(call, instance_id)
    return _listed(call, exports.read(call.session, exports.of_instance(instance_id)))


def show_of_instance(call: Call, instance_id: str, export_id: str) -> dict[str, Any]:
    """Show one export location of a share instance."""
    call.allow("share_instance_export_location:show")
    _check_instance(call, instance_id)
    asked = exports.of_instance(instance_id).where(EXPORT.c.id == export_id)
    found = exports.read(call.session, asked)
    if not found:
        raise NotFound(f"Export location {export_id} could not be found.")
    return _shown(call, found[0])


def exports_of_replica(call: Call, replica: Row, export_id: str | None = None) -> dict[str, Any]:
    """Return the answer that lists a replica's export locations, or shows one; `NotFound` if there is no such one."""
    asked = exports.of_instance(replica["id"])
    if not call.is_admin:
        asked = asked.where(EXPORT.c.is_admin_only.is_(False))
    if export_id is not None:
        asked = asked.where(EXPORT.c.id == export_id)
    of_replica = {name: replica[name] for name in _OF_REPLICA}
    found = [{**row, **of_replica} for row in exports.read(call.session, asked)]
    if export_id is None:
        view = _REPLICA_SUMMARY.at(call.version, admin=call.is_admin)
        return {"export_locations": [view(row) for row in found]}
    if not found:
        raise NotFound(f"Export location {export_id} could not be found.")
    return {"export_location": _REPLICA_DETAIL.at(call.version, admin=call.is_admin)(found[0])}


def _of_share(call: Call, share_id: str, export_id: str, *, to_change: bool = False) -> Row:
    visible_share(call, share_id, to_change=to_change)
    found = exports.read(call.session, _exports(call, share_id).where(EXPORT.c.id == export_id))
    if not found:
        raise NotFound(f"Export location '{export_id}' not found.")
    if found[0]["is_admin_only"] and not call.is_admin:
        raise NotAllowed(f"Export location '{export_id}' is for administrators.")
    return found[0]


def _exports(call: Call, share_id: str) -> Select[Any]:
    """Return a share's export locations; from 2.47 on those of other replicas are with the replicas."""
    return exports.of_share(share_id, primary_only=call.version >= since(47))


def _check_instance(call: Call, instance_id: str) -> None:
    if instances.read(call.session, instance_id) is None:
        raise NotFound(f"Share instance '{instance_id}' not found.")


def _listed(call: Call, found: list[Row]) -> dict[str, Any]:
    view = _SUMMARY.at(call.version, admin=call.is_admin)
    return {"export_locations": [view(row) for row in found]}


def _shown(call: Call, row: Row) -> dict[str, Any]:
    return {"export_location": _DETAIL.at(call.version, admin=call.is_admin)(row)}


_RULES = {
    Touch.READ: "share_export_location:get_metadata",
    Touch.CHANGE: "share_export_location:update_metadata",
    Touch.REMOVE: "share_export_location:delete_metadata",
}


def _find(call: Call, variables: Mapping[str, str], touch: Touch) -> str:
    call.allow(_RULES[touch])
    found = _of_share(call, variables["share_id"], variables["export_id"], to_change=touch is not Touch.READ)
    return str(found["id"])


def _note_preferred(call: Call, export_id: str, items: Mapping[str, str]) -> None:
    if PREFERRED in items:
        values = {"preferred": truth(items[PREFERRED]), "updated_at": call.now}
        call.session.execute(update(ExportRow).where(ExportRow.id == export_id).values(**values))


_SINCE = since(9)
_OF_SHARE = "/shares/{share_id}/export_locations"
_OF_INSTANCE = "/share_instances/{instance_id}/export_locations"
ROUTES = (
    Route("GET", _OF_SHARE, index, since=_SINCE),
    Route("GET", f"{_OF_SHARE}/{{export_id}}", show, since=_SINCE),
    Route("GET", _OF_INSTANCE, index_of_instance, since=_SINCE),
    Route("GET", f"{_OF_INSTANCE}/{{export_id}}", show_of_instance, since=_SINCE),
    *metadata_routes(
        f"{_OF_SHARE}/{{export_id}}/metadata",
        Carrier(
            find=_find,
            admin_keys=lambda conf: conf.shares.admin_only_el_metadata,
            admin_rule="share_export_location:update_admin_only_metadata",
            shows_all=True,
            changed=_note_preferred,
        ),
        since=_METADATA_SINCE,
    ),
)
