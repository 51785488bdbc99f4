"""Snapshots as a caller may see them: looked up, and shown."""

from collections.abc import Iterable, Mapping
from typing import Any

from isthmus.control.errors import NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.lists import first
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View, links
from isthmus.shares.store import metadata, snapshots
from isthmus.shares.store.snapshots import SELECTED

METADATA_SINCE = since(73)
_DETAILS = View(
    [
        Field("id"),
        Field("share_id"),
        Field("share_size"),
        Field("created_at"),
        Field("status"),
        Field("name"),
        Field("description"),
        # A snapshot that is being taken under management has none yet.
        Field("size", lambda row: row["size"] or None),
        Field("share_proto"),
        Field("provider_location", since=since(12), admin=True),
        Field("user_id", since=since(17)),
        Field("project_id", since=since(17)),
    ]
)


def find(call: Call, snapshot_id: str) -> Row:
    """Return a snapshot with its instance; `NotFound` for one that is not there, or not the caller's to see."""
    row = first(call.session, snapshots.selected().where(SELECTED["id"] == snapshot_id))
    if row is None or not call.may("share_snapshot:get_snapshot", {"project_id": row["project_id"]}):
        raise NotFound(f"Snapshot {snapshot_id} could not be found.")
    return snapshots.with_status(call.session, [row])[0]


def detailed(call: Call, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return snapshots in full; their metadata is read at once."""
    found = snapshots.with_status(call.session, list(rows))
    view = _DETAILS.at(call.version, admin=call.is_admin)
    shown = [view(row) | {"links": links(call, "snapshots", row["id"])} for row in found]
    if call.version >= METADATA_SINCE:
        items: Mapping[str, dict[str, str]] = metadata.read_many(call.session, [row["id"] for row in found])
        for each in shown:
            each["metadata"] = items[each["id"]]
    return shown


def summed_up(call: Call, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return snapshots in short."""
    return [{"id": row["id"], "name": row["name"], "links": links(call, "snapshots", row["id"])} for row in rows]


def shown(call: Call, snapshot_id: str) -> dict[str, Any]:
    """Return one snapshot as answers show it."""
    return {"snapshot": detailed(call, [find(call, snapshot_id)])[0]}
