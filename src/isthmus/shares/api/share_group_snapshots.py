"""Snapshots of share groups (2.31, experimental until 2.54), with a member for each share."""

from collections.abc import Iterable, Mapping
from typing import Any

from oslo_utils.uuidutils import is_uuid_like
from sqlalchemy import select, update

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.group_lists import listed
from isthmus.shares.api.lists import first, paged, rows
from isthmus.shares.api.queries import MOST, Page, page_of
from isthmus.shares.api.quota_faults import take_quota
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, choose_action
from isthmus.shares.api.share_groups import changed_group_texts, group_route
from isthmus.shares.api.texts import text_of
from isthmus.shares.api.views import Row, links, next_link
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import group_snapshots, jobs, usage
from isthmus.shares.store.group_snapshots import NewGroupSnapshot
from isthmus.shares.store.moving import force, hold, move
from isthmus.shares.tables import GroupRow, GroupSnapshotRow, InstanceRow, ShareRow, SnapshotInstanceRow

_TABLE = GroupSnapshotRow.__table__
_MEMBERS = SnapshotInstanceRow.__table__
_FILTERS = {column.name: column for column in _TABLE.columns}
_FIELDS = ("id", "name", "created_at", "status", "description", "project_id", "share_group_id")


def index(call: Call) -> dict[str, Any]:
    """List snapshots in short."""
    call.allow("share_group_snapshot:get_all")
    found, page = listed(call, _TABLE, _FILTERS, "Share group snapshots")
    seen = [{"id": row["id"], "name": row["name"], "links": _links(call, row)} for row in found]
    return {"share_group_snapshots": seen, **next_link(call, "share_group_snapshot", page, len(seen))}


def detail(call: Call) -> dict[str, Any]:
    """List snapshots in full."""
    call.allow("share_group_snapshot:get_all")
    found, page = listed(call, _TABLE, _FILTERS, "Share group snapshots")
    seen = _detailed(call, found)
    return {"share_group_snapshots": seen, **next_link(call, "share_group_snapshot", page, len(seen))}


def show(call: Call, group_snapshot_id: str) -> dict[str, Any]:
    """Show one snapshot with its members."""
    call.allow("share_group_snapshot:get")
    return _shown(call, group_snapshot_id)


def members(call: Call, group_snapshot_id: str) -> dict[str, Any]:
    """List the members of a snapshot; of one that the caller may not see, none."""
    call.allow("share_group_snapshot:get")
    page = page_of(call)
    page = Page(page.limit or MOST, page.offset, page.asked_limit)
    statement = select(_MEMBERS).where(_MEMBERS.c.group_snapshot_id == group_snapshot_id)
    if not call.is_admin:
        statement = statement.where(_MEMBERS.c.project_id == call.project_id)
    found = rows(call.session, paged(statement.order_by(_MEMBERS.c.created_at, _MEMBERS.c.id), page))
    seen = [
        {
            "id": row["id"],
            "created_at": row["created_at"],
            "size": row["size"],
            "share_protocol": row["share_protocol"],
            "project_id": row["project_id"],
            "share_group_snapshot_id": row["group_snapshot_id"],
            "share_id": row["share_id"],
        }
        for row in found
    ]
    return {
        "share_group_snapshot_members": seen,
        **next_link(call, "share_group_snapshot_members", page, len(seen)),
    }


def create(call: Call) -> Answer:
    """Take a snapshot of all shares of a group."""
    call.allow("share_group_snapshot:create")
    data = _entity(call)
    group_id = data.get("share_group_id")
    if not group_id:
        raise InvalidInput("Must supply 'share_group_id' attribute.")
    if not is_uuid_like(group_id):
        raise InvalidInput("The 'share_group_id' attribute must be a uuid.")
    group = call.session.execute(
        select(GroupRow.id, GroupRow.project_id, GroupRow.host).where(GroupRow.id == str(group_id))
    ).first()
    if group is None or not (call.is_admin or group.project_id == call.project_id):
        raise InvalidInput(f"Share group {group_id} could not be found.")
    new = _new(call, group.id, data)
    take_quota(call, usage.Owner(call.project_id, call.caller.user_id), {"share_group_snapshots": 1})
    identity = group_snapshots.make(call.session, new, call.now)
    argument = {"group_snapshot_id": identity}
    _enqueue(call, Kind.CREATE_GROUP_SNAPSHOT, group.id, group.host or "", argument)
    return Answer(202, _shown(call, identity))


def _new(call: Call, group_id: str, data: Mapping[str, Any]) -> NewGroupSnapshot:
    """Hold the group and all its shares, which must be available."""
    if not hold(call.session, GroupRow, group_id, of=[Status.AVAILABLE]):
        raise Conflict(f"Invalid share group: Share group status must be {Status.AVAILABLE}")
    shares = group_snapshots.shares_of(call.session, group_id)
    for share in shares:
        if not hold(call.session, InstanceRow, share.instance_id, of=[Status.AVAILABLE]):
            raise Conflict(
                f"Invalid share group: Share {share.share_id} in share group must have status of {Status.AVAILABLE} "
                "in order to create a group snapshot"
            )
        # Looked at when it is held: nobody puts it into the recycle bin from here on.
        if call.session.scalar(select(ShareRow.is_soft_deleted).where(ShareRow.id == share.share_id)):
            raise Conflict(
                f"Invalid share group: Share {share.share_id} in share group has been soft deleted; restore it, or "
                "delete it, to create a group snapshot"
            )
    name, description = text_of(data, "name"), text_of(data, "description")
    return NewGroupSnapshot(group_id, call.project_id, call.caller.user_id, name, description, shares)


def change(call: Call, group_snapshot_id: str) -> dict[str, Any]:
    """Change a snapshot's name and description."""
    call.allow("share_group_snapshot:update")
    values = changed_group_texts(_entity(call))
    _find(call, group_snapshot_id)
    call.session.execute(
        update(GroupSnapshotRow).where(GroupSnapshotRow.id == group_snapshot_id).values(updated_at=call.now, **values)
    )
    return _shown(call, group_snapshot_id)


def remove(call: Call, group_snapshot_id: str) -> Answer:
    """Delete a snapshot with its members."""
    call.allow("share_group_snapshot:delete")
    row = _find(call, group_snapshot_id)
    deletable = (Status.AVAILABLE, Status.ERROR)
    if not move(call.session, GroupSnapshotRow, group_snapshot_id, of=deletable, to=Status.DELETING, now=call.now):
        raise Conflict(
            "Invalid share group snapshot: Share group snapshot status must be one of "
            f"{tuple(str(status) for status in deletable)}"
        )
    made_from_it = group_snapshots.share_in_the_making(call.session, group_snapshot_id)
    if made_from_it is not None:
        raise Conflict(
            f"Share {made_from_it} is just being made from share group snapshot {group_snapshot_id}; wait until it is."
        )
    _have_deleted(call, row, {"group_snapshot_id": group_snapshot_id})
    return Answer(202)


def force_delete(call: Call, group_snapshot_id: str, argument: Any) -> Answer:
    """Delete a snapshot whatever its status, and whatever the back end says."""
    del argument
    call.allow("share_group_snapshot:force_delete")
    row = _find(call, group_snapshot_id)
    force(call.session, GroupSnapshotRow, group_snapshot_id, to=Status.DELETING, now=call.now)
    _have_deleted(call, row, {"group_snapshot_id": group_snapshot_id, "force": True})
    return Answer(202)


def reset_status(call: Call, group_snapshot_id: str, argument: Any) -> Answer:
    """Set a snapshot's status as an administrator says."""
    call.allow("share_group_snapshot:reset_status")
    status = asked_status(argument)
    _find(call, group_snapshot_id)
    force(call.session, GroupSnapshotRow, group_snapshot_id, to=status, now=call.now)
    return Answer(202)


def _have_deleted(call: Call, row: Row, argument: Mapping[str, Any]) -> None:
    host = call.session.scalar(select(GroupRow.host).where(GroupRow.id == row["share_group_id"]))
    _enqueue(call, Kind.DELETE_GROUP_SNAPSHOT, row["share_group_id"], host or "", argument)


def _enqueue(call: Call, kind: Kind, group_id: str, host: str, argument: Mapping[str, Any]) -> None:
    jobs.enqueue(
        call.session,
        host=host,
        kind=kind,
        subject=group_id,
        argument=argument,
        now=call.now,
        project_id=call.project_id,
        request_id=call.request_id,
    )


def _entity(call: Call) -> dict[str, Any]:
    data = call.body().get("share_group_snapshot")
    if not isinstance(data, dict):
        raise InvalidInput("'share_group_snapshot' is missing from the request body.")
    return data


def _find(call: Call, group_snapshot_id: str) -> Row:
    row = first(call.session, select(_TABLE).where(_TABLE.c.id == group_snapshot_id))
    if row is None or not (call.is_admin or row["project_id"] == call.project_id):
        raise NotFound(f"Share group snapshot {group_snapshot_id} not found.")
    return row


def _shown(call: Call, group_snapshot_id: str) -> dict[str, Any]:
    return {"share_group_snapshot": _detailed(call, [_find(call, group_snapshot_id)])[0]}


def _detailed(call: Call, found: Iterable[Row]) -> list[dict[str, Any]]:
    """Return snapshots in full; the members of all are read at once."""
    snapshots = list(found)
    held: dict[str, list[dict[str, Any]]] = {row["id"]: [] for row in snapshots}
    if held:
        columns = (_MEMBERS.c.id, _MEMBERS.c.size, _MEMBERS.c.share_id, _MEMBERS.c.group_snapshot_id)
        statement = select(*columns).where(_MEMBERS.c.group_snapshot_id.in_(held))
        for member in rows(call.session, statement.order_by(_MEMBERS.c.created_at, _MEMBERS.c.id)):
            shown = {name: member[name] for name in ("id", "size", "share_id")}
            held[member["group_snapshot_id"]].append(shown)
    return [
        {name: row[name] for name in _FIELDS} | {"members": held[row["id"]], "links": _links(call, row)}
        for row in snapshots
    ]


def _links(call: Call, row: Row) -> list[dict[str, str]]:
    return links(call, "share-group-snapshots", row["id"])


_ACTIONS = (Action("reset_status", reset_status), Action("force_delete", force_delete))
_ONE = "/share-group-snapshots/{group_snapshot_id}"

ROUTES = (
    group_route("GET", "/share-group-snapshots", index),
    group_route("GET", "/share-group-snapshots/detail", detail),
    group_route("POST", "/share-group-snapshots", create),
    group_route("GET", _ONE, show),
    group_route("PUT", _ONE, change),
    group_route("DELETE", _ONE, remove),
    group_route("GET", f"{_ONE}/members", members),
    group_route("POST", f"{_ONE}/action", choose_action(_ACTIONS)),
)
