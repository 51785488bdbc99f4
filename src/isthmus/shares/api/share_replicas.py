"""Share replicas: shown, added, promoted, removed. Replicas are a share's instances; their back ends do the work.

Each call first holds, or moves, the primary instance or the replica, then looks at the others: of a replica's creation
and a snapshot, an extension or the share's deletion at the same moment, the later call sees the earlier's work.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.shares.api import replica_creation
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.export_locations import exports_of_replica
from isthmus.shares.api.metadata import Carrier, Touch, metadata_routes
from isthmus.shares.api.queries import page_of
from isthmus.shares.api.replica_views import detailed, summed_up
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, Route, choose_action
from isthmus.shares.api.share_lookup import target_of, visible_share
from isthmus.shares.api.share_requests import whole
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row, next_link
from isthmus.shares.model import Kind, ReplicaState, Status
from isthmus.shares.store import instances, jobs, replicas, results
from isthmus.shares.store.instances import INSTANCE, SHARE
from isthmus.shares.store.moving import force, hold, move
from isthmus.shares.tables import InstanceRow

_SINCE, _EXPERIMENTAL_UNTIL = since(11), since(55)
_CHANGING = frozenset({Status.DELETING, Status.REPLICATION_CHANGE})
_GIVES_WAY = (
    *(Status.AVAILABLE, Status.ERROR, Status.EXTENDING_ERROR, Status.SHRINKING_ERROR),
    Status.REVERTING_ERROR,
)
"""What the active replica's status may be when another is promoted: nothing may be under way with it."""
_STAYING = frozenset(Status) - {Status.DELETING}
_NO_EXPORTS = "Share replica '{}' not found."


def index(call: Call) -> dict[str, Any]:
    """List replicas in short."""
    return _listed(call, detail=False)


def detail(call: Call) -> dict[str, Any]:
    """List replicas in full."""
    return _listed(call, detail=True)


def _listed(call: Call, *, detail: bool) -> dict[str, Any]:
    call.allow("share_replica:get_all")
    page, share_id = page_of(call), call.query.get("share_id")
    asked = instances.rows_of_instances().where(INSTANCE.c.replica_state.is_not(None))
    if share_id:
        if call.session.scalar(select(SHARE.c.id).where(SHARE.c.id == share_id)) is not None:
            visible_share(call, share_id)
        asked = asked.where(INSTANCE.c.share_id == share_id)
    elif not call.is_admin:
        asked = asked.where(SHARE.c.project_id == call.project_id)
    asked = asked.order_by(INSTANCE.c.created_at, INSTANCE.c.id).limit(page.limit).offset(page.offset)
    found: list[Row] = [dict(row) for row in call.session.execute(asked).mappings()]
    shown = detailed(call, found) if detail else summed_up(call, found)
    return {"share_replicas": shown} | next_link(call, "share_replica", page, len(found))


def show(call: Call, replica_id: str) -> dict[str, Any]:
    """Show one replica."""
    call.allow("share_replica:show")
    return {"share_replica": detailed(call, [_find(call, replica_id, "Replica {} not found.")])[0]}


def delete(call: Call, replica_id: str) -> Answer:
    """Delete a replica; the last active one goes with its share only."""
    call.allow("share_replica:delete")
    return _delete(call, _find(call, replica_id), forced=False)


def force_delete(call: Call, replica_id: str, argument: object) -> Answer:
    """Delete a replica whatever its back end says."""
    del argument
    call.allow("share_replica:force_delete")
    return _delete(call, _find(call, replica_id), forced=True)


def _delete(call: Call, replica: Row, *, forced: bool) -> Answer:
    but = () if forced else _CHANGING
    now = call.now
    moved = force(call.session, InstanceRow, replica["id"], to=Status.DELETING, now=now, but=but, terminated_at=now)
    # All are held: of two calls that delete the last two active ones, the second sees what the first did.
    found = [each for each in replicas.instances_of(call.session, replica["share_id"]) if each["id"] != replica["id"]]
    others = [each for each in replicas.active_of(found) if hold(call.session, InstanceRow, each["id"], of=_STAYING)]
    if replica["replica_state"] == ReplicaState.ACTIVE and not others:
        raise _refused("Cannot delete last active replica.")
    if not moved:
        if _status_of(call, replica["id"]) == Status.REPLICATION_CHANGE:
            raise _refused(f"Replica {replica['id']} is being promoted, or another of its share in its place.")
        return Answer(202)
    if not replica["host"]:
        results.forget_replica(call.session, replica["id"])
        return Answer(202)
    _enqueue(call, replica, Kind.DELETE_REPLICA, {"force": True} if forced else {})
    return Answer(202)


def promote(call: Call, replica_id: str, argument: Any) -> Answer:
    """Make a replica the active one; the active one so far follows it."""
    call.allow("share_replica:promote")
    replica = _find(call, replica_id)
    if replica["replica_state"] == ReplicaState.ACTIVE:
        return Answer(200)
    wait = _quiesce_wait(call, argument)
    if not move(
        call.session,
        InstanceRow,
        replica_id,
        of=[Status.AVAILABLE],
        to=Status.REPLICATION_CHANGE,
        now=call.now,
    ):
        raise _refused(f"Replica {replica_id} must be in {Status.AVAILABLE} state to be promoted.")
    state = replica["replica_state"]
    if state in {ReplicaState.OUT_OF_SYNC, ReplicaState.ERROR} and not call.is_admin:
        raise NotAllowed(f"Promoting a replica with 'replica_state': {state} requires administrator privileges.")
    was = _give_way(call, replica)
    _enqueue(call, replica, Kind.PROMOTE_REPLICA, {"quiesce_wait_seconds": wait, "was": was})
    return Answer(202, {"share_replica": detailed(call, [_find(call, replica_id)])[0]})


def _give_way(call: Call, replica: Row) -> dict[str, str]:
    """Move the active replicas too, so nothing else begins with the share; return their statuses until now, by id."""
    active = replicas.active_of(replicas.instances_of(call.session, replica["share_id"]))
    if not active:
        raise _refused(f"Share {replica['share_id']} has no replica with 'replica_state' set to active.")
    for each in active:
        if not move(call.session, InstanceRow, each["id"], of=_GIVES_WAY, to=Status.REPLICATION_CHANGE, now=call.now):
            raise _refused(
                f"The active replica {each['id']} is {each['status']}: wait until that is done, or have an "
                "administrator reset its status."
            )
    return {each["id"]: each["status"] for each in active}


def _quiesce_wait(call: Call, argument: Any) -> int | None:
    given = argument.get("quiesce_wait_time") if isinstance(argument, dict) else None
    if call.version < since(75) or not given:
        return None
    number = whole(given)
    if number is None or number <= 0:
        raise InvalidInput("quiesce_wait_time must be an integer and greater than 0.")
    return number


def resync(call: Call, replica_id: str, argument: object) -> Answer:
    """Have a replica's back end look how it stands, and mend it."""
    del argument
    call.allow("share_replica:resync")
    replica = _find(call, replica_id)
    if replica["replica_state"] == ReplicaState.ACTIVE:
        return Answer(200)
    if not replica["host"]:
        raise InvalidInput("Invalid host: Share replica does not have a valid host..")
    _enqueue(call, replica, Kind.UPDATE_REPLICA, {})
    return Answer(202)


def reset_status(call: Call, replica_id: str, argument: Any) -> Answer:
    """Set a replica's status as an administrator says."""
    call.allow("share_replica:reset_status")
    status = asked_status(argument)
    _find(call, replica_id)
    force(call.session, InstanceRow, replica_id, to=status, now=call.now)
    return Answer(202)


def reset_replica_state(call: Call, replica_id: str, argument: Any) -> Answer:
    """Set a replica's replica state as an administrator says."""
    call.allow("share_replica:reset_replica_state")
    if not isinstance(argument, dict) or "replica_state" not in argument:
        raise InvalidInput("Must specify 'replica_state'")
    state = argument["replica_state"]
    if not isinstance(state, str) or state not in tuple(ReplicaState):
        raise InvalidInput(f"Invalid state. Valid states: {', '.join(ReplicaState)}.")
    _find(call, replica_id)
    replicas.set_state(call.session, replica_id, call.now, replica_state=state)
    return Answer(202)


def exports(call: Call, replica_id: str) -> dict[str, Any]:
    """Show how a replica is mounted."""
    call.allow("share_replica_export_location:index")
    return exports_of_replica(call, _find(call, replica_id, _NO_EXPORTS))


def export(call: Call, replica_id: str, export_id: str) -> dict[str, Any]:
    """Show one way to mount a replica."""
    call.allow("share_replica_export_location:show")
    return exports_of_replica(call, _find(call, replica_id, _NO_EXPORTS), export_id)


def _find(call: Call, replica_id: str, missing: str = "No replica exists with ID {}.") -> Row:
    found = instances.read(call.session, replica_id)
    visible = found is not None and call.may("share_replica:show", target_of(found))
    if found is None or found["replica_state"] is None or not visible:
        raise NotFound(missing.format(replica_id))
    return found


def _status_of(call: Call, replica_id: str) -> str | None:
    return call.session.scalar(select(InstanceRow.status).where(InstanceRow.id == replica_id))


def _refused(why: str) -> InvalidInput:
    return InvalidInput(f"Unable to perform a replication action: {why}.")


def _enqueue(call: Call, replica: Row, kind: Kind, argument: Mapping[str, Any]) -> None:
    jobs.enqueue(
        call.session,
        host=replica["host"],
        kind=kind,
        subject=replica["share_id"],
        argument={"instance_id": replica["id"], **argument},
        project_id=replica["project_id"],
        request_id=call.request_id,
        now=call.now,
    )


_RULES = {
    Touch.READ: "share_replica:get_metadata",
    Touch.CHANGE: "share_replica:update_metadata",
    Touch.REMOVE: "share_replica:delete_metadata",
}


def _carrier(call: Call, variables: Mapping[str, str], touch: Touch) -> str:
    call.allow(_RULES[touch])
    return str(_find(call, variables["replica_id"], "Replica {} not found.")["id"])


_ACTIONS = choose_action(
    Action(name, handler, since=_SINCE, experimental_until=_EXPERIMENTAL_UNTIL)
    for name, handler in (
        ("promote", promote),
        ("resync", resync),
        ("reset_status", reset_status),
        ("reset_replica_state", reset_replica_state),
        ("force_delete", force_delete),
    )
)
_ONE = "/share-replicas/{replica_id}"
_EXPORTS_SINCE = since(47)
ROUTES = (
    *(
        Route(method, path, handler, since=first, experimental_until=_EXPERIMENTAL_UNTIL)
        for method, path, handler, first in (
            ("GET", "/share-replicas", index, _SINCE),
            ("GET", "/share-replicas/detail", detail, _SINCE),
            ("POST", "/share-replicas", replica_creation.create, _SINCE),
            ("GET", _ONE, show, _SINCE),
            ("DELETE", _ONE, delete, _SINCE),
            ("POST", f"{_ONE}/action", _ACTIONS, _SINCE),
            ("GET", f"{_ONE}/export-locations", exports, _EXPORTS_SINCE),
            ("GET", f"{_ONE}/export-locations/{{export_id}}", export, _EXPORTS_SINCE),
        )
    ),
    *metadata_routes(f"{_ONE}/metadata", Carrier(find=_carrier), since=since(95)),
)
