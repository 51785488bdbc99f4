"""How shares are shown."""

from collections.abc import Sequence
from typing import Any

from isthmus.shares.api.call import Call
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, View, links
from isthmus.shares.model import RulesStatus, Status
from isthmus.shares.store import replicas, shares
from isthmus.shares.store.shares import Row


def _status(row: Row) -> Any:
    return Status.CREATING if row["status"] == Status.CREATING_FROM_SNAPSHOT else row["status"]


def _old_rules_status(row: Row) -> Any:
    return "out_of_sync" if row["access_rules_status"] == RulesStatus.SYNCING else row["access_rules_status"]


def _first_path(row: Row) -> str | None:
    paths: list[str] = row["export_locations"]
    return paths[0] if paths else None


_DETAIL = View(
    (
        *map(Field, ("id", "size", "availability_zone", "created_at", "name", "description", "project_id")),
        *map(Field, ("snapshot_id", "share_network_id", "metadata", "is_public")),
        Field("status", _status, until=since(53)),
        Field("status", since=since(54)),
        Field("share_proto", "protocol"),
        # The type's name until 2.5, then its id with the name beside it.
        Field("share_type", "share_type_name", until=since(5)),
        Field("share_type", "share_type_id", since=since(6)),
        Field("share_type_name", since=since(6)),
        Field("volume_type", lambda row: row["share_type_name"] or row["share_type_id"]),
        Field("export_location", _first_path, until=since(8)),
        Field("export_locations", until=since(8)),
        Field("snapshot_support", since=since(2)),
        Field("task_state", since=since(5)),
        Field("access_rules_status", _old_rules_status, since=since(10), until=since(27)),
        Field("access_rules_status", since=since(28)),
        Field("replication_type", since=since(11)),
        Field("has_replicas", since=since(11)),
        Field("user_id", since=since(16)),
        Field("create_share_from_snapshot_support", since=since(24)),
        Field("revert_to_snapshot_support", since=since(27)),
        Field("share_group_id", since=since(31)),
        Field("source_share_group_snapshot_member_id", since=since(31)),
        Field("mount_snapshot_support", since=since(32)),
        Field("progress", since=since(54)),
        Field("is_soft_deleted", since=since(69)),
        Field("scheduled_to_be_deleted_at", since=since(69)),
        Field("source_backup_id", since=since(80)),
        Field("encryption_key_ref", since=since(90)),
        Field("snapshot_inherit_share_access_support", since=since(99)),
        Field("share_server_id", admin=True),
        Field("host", admin=True),
    )
)
_PATHS_UNTIL = since(8)


def summaries(call: Call, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return shares as a plain list shows them."""
    return [{"id": row["id"], "name": row["name"], "links": links(call, "shares", row["id"])} for row in rows]


def details(call: Call, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return shares with all that their callers may see; `rows` are those of `store.shares`, and get more keys here."""
    admin = call.may("context_is_host_admin")
    shares.note_metadata(call.session, rows)
    _note_replicas(call, rows)
    if call.version <= _PATHS_UNTIL:
        shares.note_paths(call.session, rows, admin=call.is_admin)
    view = _DETAIL.at(call.version, admin=admin)
    shown = [view(row) for row in rows]
    for each in shown:
        each["links"] = links(call, "shares", each["id"])
    return shown


def _note_replicas(call: Call, rows: Sequence[dict[str, Any]]) -> None:
    """Note in shares whether they have replicas, and of those that have the worst `access_rules_status` of all."""
    replicated = [row["id"] for row in rows if row["replication_type"]]
    found = replicas.together(call.session, replicated)
    for row in rows:
        known = found.get(row["id"])
        row["has_replicas"] = known is not None and known.count > 1
        if known is not None:
            row["access_rules_status"] = known.rules_status


def detail(call: Call, share_id: str) -> dict[str, Any]:
    """Return the answer that shows one share as it is now; it must be there."""
    row = shares.read(call.session, share_id)
    if row is None:
        raise AssertionError(f"share {share_id} is shown and not there")
    return {"share": details(call, [row])[0]}
