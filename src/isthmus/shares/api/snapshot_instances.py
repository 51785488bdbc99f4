"""Snapshot instances (2.19), and how snapshots are mounted (2.32)."""

from typing import Any

from sqlalchemy import select

from isthmus.control.errors import NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.lists import first, paged, rows
from isthmus.shares.api.queries import page_of
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, Route, choose_action
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.snapshot_reading import find
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row, links
from isthmus.shares.model import Status
from isthmus.shares.store.moving import force
from isthmus.shares.tables import SnapshotExportRow, SnapshotInstanceRow

SINCE = since(19)
EXPORTS_SINCE = since(32)
_TABLE = SnapshotInstanceRow.__table__
_EXPORTS = SnapshotExportRow.__table__
_SHORT = ("id", "snapshot_id", "status")
_LONG = (
    *("id", "snapshot_id", "created_at", "updated_at", "status", "share_id"),
    *("progress", "provider_location"),
)


def index(call: Call) -> dict[str, Any]:
    """List instances in short."""
    call.allow("share_snapshot_instance:index")
    return {"snapshot_instances": [{name: row[name] for name in _SHORT} for row in _instances(call)]}


def detail(call: Call) -> dict[str, Any]:
    """List instances in full."""
    call.allow("share_snapshot_instance:detail")
    return {"snapshot_instances": [_detailed(row) for row in _instances(call)]}


def show(call: Call, snapshot_instance_id: str) -> dict[str, Any]:
    """Show one instance."""
    call.allow("share_snapshot_instance:show")
    return {"snapshot_instance": _detailed(_instance(call, snapshot_instance_id))}


def reset_status(call: Call, snapshot_instance_id: str, argument: Any) -> Answer:
    """Set an instance's status as an administrator says."""
    call.allow("share_snapshot_instance:reset_status")
    status = asked_status(argument)
    if not force(call.session, SnapshotInstanceRow, snapshot_instance_id, to=status, now=call.now):
        raise NotFound(f"Snapshot instance {snapshot_instance_id} could not be found.")
    return Answer(202)


def instance_exports(call: Call, snapshot_instance_id: str) -> dict[str, Any]:
    """List how a snapshot instance is mounted."""
    call.allow("share_snapshot_instance_export_location:index")
    _instance(call, snapshot_instance_id)
    return _exports(call, snapshot_instance_id)


def instance_export(call: Call, snapshot_instance_id: str, export_id: str) -> dict[str, Any]:
    """Show one way to mount a snapshot instance."""
    call.allow("share_snapshot_instance_export_location:show")
    _instance(call, snapshot_instance_id)
    return _export(call, snapshot_instance_id, export_id)


def exports(call: Call, snapshot_id: str) -> dict[str, Any]:
    """List how a snapshot is mounted."""
    call.allow("share_snapshot_export_location:index")
    row = _snapshot(call, snapshot_id)
    if row["status"] != Status.AVAILABLE:
        return {"share_snapshot_export_locations": []}
    return _exports(call, row["snapshot_instance_id"])


def export(call: Call, snapshot_id: str, export_id: str) -> dict[str, Any]:
    """Show one way to mount a snapshot."""
    call.allow("share_snapshot_export_location:show")
    return _export(call, _snapshot(call, snapshot_id)["snapshot_instance_id"], export_id)


def _snapshot(call: Call, snapshot_id: str) -> Row:
    row = find(call, snapshot_id)
    visible_share(call, row["share_id"])
    return row


def _instances(call: Call) -> list[Row]:
    statement = select(_TABLE).order_by(_TABLE.c.created_at, _TABLE.c.id)
    wanted = call.query.get("snapshot_id")
    if wanted:
        statement = statement.where(_TABLE.c.snapshot_id == wanted)
    # Manila gives all of them to who names no limit.
    if "limit" in call.query or "offset" in call.query:
        statement = paged(statement, page_of(call))
    return rows(call.session, statement)


def _instance(call: Call, identity: str) -> Row:
    row = first(call.session, select(_TABLE).where(_TABLE.c.id == identity))
    if row is None:
        raise NotFound(f"Snapshot instance {identity} not found.")
    return row


def _detailed(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _LONG} | {"share_instance_id": row["instance_id"]}


def _exports(call: Call, identity: str) -> dict[str, Any]:
    statement = select(_EXPORTS).where(_EXPORTS.c.snapshot_instance_id == identity)
    found = rows(call.session, statement.order_by(_EXPORTS.c.created_at, _EXPORTS.c.id))
    admin = call.is_admin
    seen = [_shown(call, row, admin=admin) for row in found if admin or not row["is_admin_only"]]
    return {"share_snapshot_export_locations": seen}


def _export(call: Call, identity: str, export_id: str) -> dict[str, Any]:
    statement = select(_EXPORTS).where(_EXPORTS.c.id == export_id, _EXPORTS.c.snapshot_instance_id == identity)
    row = first(call.session, statement)
    admin = call.is_admin
    if row is None or (row["is_admin_only"] and not admin):
        raise NotFound(f"Export location {export_id} could not be found.")
    seen = _shown(call, row, admin=admin) | {name: row[name] for name in ("created_at", "updated_at")}
    return {"share_snapshot_export_location": seen}


def _shown(call: Call, row: Row, *, admin: bool) -> dict[str, Any]:
    seen = {"id": row["id"], "path": row["path"], "links": links(call, "share_snapshot_export_locations", row["id"])}
    if admin:
        seen["share_snapshot_instance_id"] = row["snapshot_instance_id"]
        seen["is_admin_only"] = row["is_admin_only"]
    return seen


_INSTANCE = "/snapshot-instances/{snapshot_instance_id}"
_ACTIONS = (Action("reset_status", reset_status, since=SINCE),)

ROUTES = (
    Route("GET", "/snapshot-instances", index, since=SINCE),
    Route("GET", "/snapshot-instances/detail", detail, since=SINCE),
    Route("GET", _INSTANCE, show, since=SINCE),
    Route("POST", f"{_INSTANCE}/action", choose_action(_ACTIONS), since=SINCE),
    Route("GET", f"{_INSTANCE}/export-locations", instance_exports, since=EXPORTS_SINCE),
    Route("GET", f"{_INSTANCE}/export-locations/{{export_id}}", instance_export, since=EXPORTS_SINCE),
    Route("GET", "/snapshots/{snapshot_id}/export-locations", exports, since=EXPORTS_SINCE),
    Route("GET", "/snapshots/{snapshot_id}/export-locations/{export_id}", export, since=EXPORTS_SINCE),
)
