"""Share instances: where shares' bytes lie. For administrators."""

from typing import Any

from sqlalchemy import select

from isthmus.control.errors import NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.lists import narrowed, paged
from isthmus.shares.api.queries import flag, page_of
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Route, choose_action, renamed
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View, next_link
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import instances, jobs, results, shares
from isthmus.shares.store.instances import INSTANCE, SHARE
from isthmus.shares.store.moving import force
from isthmus.shares.tables import ExportRow, InstanceRow

_VIEW = View(
    (
        *map(Field, ("id", "share_id", "availability_zone", "created_at", "host")),
        *map(Field, ("share_network_id", "share_server_id")),
        Field(
            "status",
            lambda row: Status.CREATING if row["status"] == Status.CREATING_FROM_SNAPSHOT else row["status"],
            until=since(53),
        ),
        Field("status", since=since(54)),
        Field("export_location", lambda row: next(iter(row["export_locations"]), None), until=since(8)),
        Field("export_locations", until=since(8)),
        Field("access_rules_status", since=since(10)),
        Field("replica_state", since=since(11)),
        Field("share_type_id", since=since(22)),
        Field("cast_rules_to_readonly", since=since(30)),
        Field("progress", since=since(54)),
        Field("updated_at", since=since(71)),
    )
)
_FILTERS = {name: INSTANCE.c[name] for name in ("share_server_id", "status", "share_network_id", "share_type_id")}


def index(call: Call) -> dict[str, Any]:
    """List the instances of all shares."""
    call.allow("share_instance:index")
    page = page_of(call)
    statement = instances.rows_of_instances()
    if call.version >= since(35):
        statement = narrowed(statement, call, _FILTERS)
        for name, column in (("export_location_id", ExportRow.id), ("export_location_path", ExportRow.path)):
            if call.query.get(name):
                exports = select(ExportRow.id).where(ExportRow.instance_id == INSTANCE.c.id, column == call.query[name])
                statement = statement.where(exports.exists())
        host = call.query.get("host")
        if host:
            in_pool = INSTANCE.c.host.startswith(f"{host}#", autoescape=True)
            statement = statement.where((INSTANCE.c.host == host) | in_pool)
    in_bin = call.version >= since(69) and flag(call, "is_soft_deleted")
    statement = statement.where(SHARE.c.is_soft_deleted.is_(in_bin))
    asked = paged(statement.order_by(INSTANCE.c.created_at, INSTANCE.c.id), page)
    found: list[Row] = [dict(row) for row in call.session.execute(asked).mappings()]
    return _listed(call, found) | next_link(call, "share_instances", page, len(found))


def index_of_share(call: Call, share_id: str) -> dict[str, Any]:
    """List the instances of one share."""
    call.allow("share_instance:index")
    visible_share(call, share_id)
    asked = instances.rows_of_instances().where(INSTANCE.c.share_id == share_id)
    return _listed(call, [dict(row) for row in call.session.execute(asked).mappings()])


def show(call: Call, instance_id: str) -> dict[str, Any]:
    """Show one instance."""
    call.allow("share_instance:show")
    return {"share_instance": _listed(call, [_find(call, instance_id)])["share_instances"][0]}


def reset_status(call: Call, instance_id: str, argument: Any) -> Answer:
    """Set an instance's status."""
    call.allow("share_instance:reset_status")
    status = asked_status(argument)
    _find(call, instance_id)
    force(call.session, InstanceRow, instance_id, to=status, now=call.now)
    return Answer(202)


def force_delete(call: Call, instance_id: str, argument: Any) -> Answer:
    """Delete an instance whatever its status; with its last one, the share goes."""
    del argument
    call.allow("share_instance:force_delete")
    instance = _find(call, instance_id)
    force(call.session, InstanceRow, instance_id, to=Status.DELETING, now=call.now)
    if not instance["host"]:
        results.forget_share(call.session, instance_id)
        return Answer(202)
    jobs.enqueue(
        call.session,
        host=instance["host"],
        kind=Kind.DELETE_SHARE,
        subject=instance["share_id"],
        argument={"instance_id": instance_id, "force": True},
        project_id=instance["project_id"],
        request_id=call.request_id,
        now=call.now,
    )
    return Answer(202)


def _find(call: Call, instance_id: str) -> Row:
    found = instances.read(call.session, instance_id)
    if found is None:
        raise NotFound(f"Share instance {instance_id} could not be found.")
    return found


def _listed(call: Call, found: list[Row]) -> dict[str, Any]:
    view = _VIEW.at(call.version, admin=call.is_admin)
    if call.version <= since(8):
        with_instance = [{**row, "instance_id": row["id"]} for row in found]
        shares.note_paths(call.session, with_instance, admin=True)
        return {"share_instances": [view(row) for row in with_instance]}
    return {"share_instances": [view(row) for row in found]}


_ACTIONS = (
    *renamed("reset_status", reset_status),
    *renamed("force_delete", force_delete),
)
_SINCE = since(3)
ROUTES = (
    Route("GET", "/share_instances", index, since=_SINCE),
    Route("GET", "/share_instances/{instance_id}", show, since=_SINCE),
    Route("POST", "/share_instances/{instance_id}/action", choose_action(_ACTIONS), since=_SINCE),
    Route("GET", "/shares/{share_id}/instances", index_of_share, since=_SINCE),
)
