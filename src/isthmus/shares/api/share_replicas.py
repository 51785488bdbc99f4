"""Share replicas, as Manila answers where no back end replicates: there are none, and none can be made."""

from typing import Any

from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.queries import page_of
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.versions import since

_SINCE, _EXPERIMENTAL_UNTIL = since(11), since(55)
_ACTIONS = {
    "promote": "share_replica:promote",
    "resync": "share_replica:resync",
    "reset_status": "share_replica:reset_status",
    "reset_replica_state": "share_replica:reset_replica_state",
    "force_delete": "share_replica:force_delete",
}


def index(call: Call) -> dict[str, Any]:
    """List the replicas: there are none."""
    call.allow("share_replica:get_all")
    page_of(call)
    return {"share_replicas": []}


def show(call: Call, replica_id: str) -> dict[str, Any]:
    """Show one replica: there is none."""
    call.allow("share_replica:show")
    raise NotFound(f"Replica {replica_id} not found.")


def create(call: Call) -> Answer:
    """Refuse a replica of a share: its back end keeps none."""
    call.allow("share_replica:create")
    data = call.body().get("share_replica")
    if not isinstance(data, dict):
        raise Unprocessable("Body does not contain 'share_replica' information.")
    share_id = data.get("share_id")
    if not share_id or not isinstance(share_id, str):
        raise InvalidInput("Must provide Share ID to add replica.")
    try:
        share = visible_share(call, share_id, to_change=True)
    except NotFound:
        raise NotFound(f"No share exists with ID {share_id}.") from None
    if share["is_soft_deleted"]:
        raise NotAllowed(f"Replica cannot be created for share '{share_id}' since it has been soft deleted.")
    if not share["replication_type"]:
        raise InvalidInput(f"Replication not supported for share {share_id}.")
    raise InvalidInput(
        f"Unable to perform a replication action: Share {share_id} does not have any active replica in "
        "available state.."
    )


def delete(call: Call, replica_id: str) -> Answer:
    """Delete a replica: there is none."""
    call.allow("share_replica:delete")
    raise NotFound(f"No replica exists with ID {replica_id}.")


def act(call: Call, replica_id: str) -> Answer:
    """Do something with a replica: there is none."""
    body = call.body()
    rule = _ACTIONS.get(next(iter(body), "").removeprefix("os-")) if len(body) == 1 else None
    if rule is None:
        raise InvalidInput("There is no such action.")
    call.allow(rule)
    raise NotFound(f"No replica exists with ID {replica_id}.")


def exports(call: Call, replica_id: str, **_: str) -> dict[str, Any]:
    """Show how a replica is mounted: there is none."""
    call.allow("share_replica_export_location:index")
    raise NotFound(f"Share replica '{replica_id}' not found.")


def _routes() -> tuple[Route, ...]:
    one = "/share-replicas/{replica_id}"
    found = (
        ("GET", "/share-replicas", index),
        ("GET", "/share-replicas/detail", index),
        ("POST", "/share-replicas", create),
        ("GET", one, show),
        ("DELETE", one, delete),
        ("POST", f"{one}/action", act),
    )
    return (
        *(
            Route(method, path, handler, since=_SINCE, experimental_until=_EXPERIMENTAL_UNTIL)
            for method, path, handler in found
        ),
        Route("GET", f"{one}/export-locations", exports, since=since(47), experimental_until=_EXPERIMENTAL_UNTIL),
        Route(
            "GET",
            f"{one}/export-locations/{{export_id}}",
            exports,
            since=since(47),
            experimental_until=_EXPERIMENTAL_UNTIL,
        ),
    )


ROUTES = _routes()
