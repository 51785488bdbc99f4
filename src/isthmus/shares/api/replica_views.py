"""How replicas are shown."""

from collections.abc import Sequence
from typing import Any

from isthmus.shares.api.call import Call
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View
from isthmus.shares.store import metadata

_SHORT = tuple(map(Field, ("id", "share_id", "status", "replica_state")))
_SUMMARY = View(_SHORT)
_DETAIL = View(
    (
        *_SHORT,
        *map(Field, ("availability_zone", "created_at", "share_network_id", "updated_at")),
        Field("share_server_id", admin=True),
        Field("host", admin=True),
        Field("cast_rules_to_readonly", since=since(30), admin=True),
    )
)
METADATA_SINCE = since(95)


def summed_up(call: Call, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return replicas in short."""
    view = _SUMMARY.at(call.version, admin=call.is_admin)
    return [view(row) for row in rows]


def detailed(call: Call, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return replicas in full; `rows` are those of `store.instances`."""
    view = _DETAIL.at(call.version, admin=call.is_admin)
    shown = [view(row) for row in rows]
    if call.version >= METADATA_SINCE:
        items = metadata.read_many(call.session, [row["id"] for row in rows])
        for each in shown:
            each["metadata"] = items[each["id"]]
    return shown
