"""Share groups (2.31, experimental until 2.54): list, show, create, change, delete. Members are shares of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.shares.api import share_group_creation
from isthmus.shares.api.call import Answer, Call, Handler
from isthmus.shares.api.group_lists import listed
from isthmus.shares.api.lists import first
from isthmus.shares.api.queries import Page
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, Route, choose_action
from isthmus.shares.api.texts import changed_texts
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View, links, next_link
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import groups, jobs
from isthmus.shares.store.moving import force, move
from isthmus.shares.tables import GroupRow, InstanceRow, ShareRow

SINCE = since(31)
EXPERIMENTAL_UNTIL = since(54)
_SINCE_PARTS = since(36)
_TABLE = GroupRow.__table__
_FILTERS = {
    **{column.name: column for column in _TABLE.columns},
    "group_type_id": _TABLE.c.share_group_type_id,
    "name~": _TABLE.c.name,
    "description~": _TABLE.c.description,
}
_VIEW = View(
    [
        *(
            Field(name)
            for name in (
                *("id", "name", "created_at", "status", "description", "project_id", "host", "share_group_type_id"),
                *("source_share_group_snapshot_id", "share_network_id"),
            )
        ),
        Field("availability_zone", since=since(34)),
        Field("consistent_snapshot_support", since=since(34)),
        Field("share_server_id", admin=True),
    ]
)


def index(call: Call) -> dict[str, Any]:
    """List groups in short."""
    found, page = _listed(call)
    shown = [{"id": row["id"], "name": row["name"], "links": links(call, "share-groups", row["id"])} for row in found]
    return {"share_groups": shown, **next_link(call, "share_groups", page, len(shown))}


def detail(call: Call) -> dict[str, Any]:
    """List groups in full."""
    found, page = _listed(call)
    return {"share_groups": _detailed(call, found), **next_link(call, "share_groups", page, len(found))}


def _listed(call: Call) -> tuple[list[Row], Page]:
    call.allow("share_group:get_all")
    if call.version < _SINCE_PARTS:
        # Older clients' parts of names are left unheeded, not refused.
        call = _without_parts(call)
    return listed(call, _TABLE, _FILTERS, "Share groups")


def _without_parts(call: Call) -> Call:
    query = {name: value for name, value in call.query.items() if not name.endswith("~")}
    return replace(call, query=query)


def show(call: Call, group_id: str) -> dict[str, Any]:
    """Show one group."""
    call.allow("share_group:get")
    return _shown(call, group_id)


def create(call: Call) -> Answer:
    """Create a group."""
    call.allow("share_group:create")
    return Answer(202, _shown(call, share_group_creation.create(call, _entity(call))))


def change(call: Call, group_id: str) -> dict[str, Any]:
    """Change a group's name and description."""
    call.allow("share_group:update")
    values = changed_group_texts(_entity(call))
    _find(call, group_id)
    call.session.execute(update(GroupRow).where(GroupRow.id == group_id).values(updated_at=call.now, **values))
    return _shown(call, group_id)


def changed_group_texts(data: Mapping[str, Any]) -> dict[str, str | None]:
    """Return a changed name and description; `InvalidInput` if anything else shall be changed."""
    unknown = data.keys() - {"name", "description"}
    if unknown:
        raise InvalidInput(f"The fields {unknown} are invalid or not allowed to be updated.")
    return changed_texts(data, {"name": "name", "description": "description"})


def remove(call: Call, group_id: str) -> Answer:
    """Delete an empty group."""
    call.allow("share_group:delete")
    group = _find(call, group_id)
    deletable = (Status.AVAILABLE, Status.ERROR)
    if not move(call.session, GroupRow, group_id, of=deletable, to=Status.DELETING, now=call.now):
        raise Conflict(
            f"Invalid share group: Share group status must be one of {tuple(str(status) for status in deletable)}"
        )
    if groups.has_snapshots(call.session, group_id):
        raise Conflict("Invalid share group: Cannot delete a share group with snapshots")
    if groups.has_shares(call.session, group_id):
        raise Conflict("Invalid share group: Cannot delete a share group with shares")
    _have_deleted(call, group, {"group_id": group_id})
    return Answer(202)


def force_delete(call: Call, group_id: str, argument: Any) -> Answer:
    """Delete a group with its snapshots and shares, whatever their status, and whatever the back end says."""
    del argument
    call.allow("share_group:force_delete")
    group = _find(call, group_id)
    force(call.session, GroupRow, group_id, to=Status.DELETING, now=call.now)
    members = select(InstanceRow.id).join(ShareRow, ShareRow.id == InstanceRow.share_id)
    for instance_id in call.session.scalars(members.where(ShareRow.share_group_id == group_id)).all():
        force(call.session, InstanceRow, instance_id, to=Status.DELETING, now=call.now)
    _have_deleted(call, group, {"group_id": group_id, "force": True})
    return Answer(202)


def _have_deleted(call: Call, group: Row, argument: Mapping[str, Any]) -> None:
    if not group["host"]:
        # No back end has ever heard of it.
        groups.forget(call.session, group["id"])
        return
    jobs.enqueue(
        call.session,
        host=group["host"],
        kind=Kind.DELETE_GROUP,
        subject=group["id"],
        argument=argument,
        now=call.now,
        project_id=call.project_id,
        request_id=call.request_id,
    )


def reset_status(call: Call, group_id: str, argument: Any) -> Answer:
    """Set a group's status as an administrator says."""
    call.allow("share_group:reset_status")
    status = asked_status(argument)
    _find(call, group_id)
    force(call.session, GroupRow, group_id, to=status, now=call.now)
    return Answer(202)


def _entity(call: Call) -> dict[str, Any]:
    data = call.body().get("share_group")
    if not isinstance(data, dict):
        raise InvalidInput("'share_group' is missing from the request body.")
    return data


def _find(call: Call, group_id: str) -> Row:
    row = first(call.session, select(_TABLE).where(_TABLE.c.id == group_id))
    if row is None or not (call.is_admin or row["project_id"] == call.project_id):
        raise NotFound(f"Share group {group_id} not found.")
    return row


def _shown(call: Call, group_id: str) -> dict[str, Any]:
    return {"share_group": _detailed(call, [_find(call, group_id)])[0]}


def _detailed(call: Call, found: Iterable[Row]) -> list[dict[str, Any]]:
    rows = list(found)
    held = groups.share_types_of(call.session, [row["id"] for row in rows])
    view = _VIEW.at(call.version, admin=call.is_admin)
    return [
        view(row) | {"share_types": held[row["id"]], "links": links(call, "share-groups", row["id"])} for row in rows
    ]


def group_route(method: str, path: str, handler: Handler) -> Route:
    """Return a route of groups or their snapshots: since 2.31, experimental until 2.54."""
    return Route(method, path, handler, since=SINCE, experimental_until=EXPERIMENTAL_UNTIL)


_ACTIONS = (Action("reset_status", reset_status), Action("force_delete", force_delete))

ROUTES = (
    group_route("GET", "/share-groups", index),
    group_route("GET", "/share-groups/detail", detail),
    group_route("POST", "/share-groups", create),
    group_route("GET", "/share-groups/{group_id}", show),
    group_route("PUT", "/share-groups/{group_id}", change),
    group_route("DELETE", "/share-groups/{group_id}", remove),
    group_route("POST", "/share-groups/{group_id}/action", choose_action(_ACTIONS)),
)
