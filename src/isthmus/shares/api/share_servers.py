"""Share servers: there are none, since no back end makes any yet; the routes answer as Manila's do without one."""

from typing import Any

from sqlalchemy import select

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.call import Call, Handler
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.networks_lookup import refuse_inactive
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, Route, choose_action
from isthmus.shares.api.versions import since
from isthmus.shares.store import networks
from isthmus.shares.tables import ServiceRow

STATUSES = (
    "active",
    "error",
    "deleting",
    "creating",
    "manage_starting",
    "manage_error",
    "unmanage_starting",
    "unmanage_error",
    "inactive",
    "server_migrating",
    "server_migrating_to",
    "network_change",
)
_TASKS = (
    "migration_cancel_in_progress",
    "migration_cancelled",
    "migration_driver_in_progress",
    "migration_driver_phase1_done",
    "migration_error",
    "migration_in_progress",
    "migration_starting",
    "migration_success",
)


def index(call: Call) -> dict[str, Any]:
    """List none."""
    call.allow("share_server:index")
    return {"share_servers": []}


def _absent(rule: str) -> Handler:
    """Return a handler that says that the server is not there to those who may know."""

    def answer(call: Call, server_id: str, argument: object = None) -> dict[str, Any]:
        del argument
        call.allow(f"share_server:{rule}")
        raise NotFound(f"Share server {server_id} could not be found.")

    return answer


def _reset_status(call: Call, server_id: str, argument: object) -> dict[str, Any]:
    asked_status(argument, STATUSES)
    call.allow("share_server:reset_status")
    raise NotFound(f"Share server {server_id} could not be found.")


def _reset_task_state(call: Call, server_id: str, argument: object) -> dict[str, Any]:
    call.allow("share_server:share_server_reset_task_state")
    state = argument.get("task_state") if isinstance(argument, dict) else None
    if state is not None and state not in _TASKS:
        raise InvalidInput(f"Invalid state. Valid states: {', '.join(_TASKS)}.")
    raise NotFound(f"Share server {server_id} could not be found.")


def manage(call: Call) -> dict[str, Any]:
    """Refuse to take a server under management: no back end here handles share servers."""
    call.allow("share_server:manage_share_server")
    wanted = call.body().get("share_server")
    if not isinstance(wanted, dict):
        raise Unprocessable("Share Server entity not found in request body")
    for name in ("host", "share_network_id", "identifier"):
        if name not in wanted:
            raise InvalidInput(f"Required parameter {name} not found")
        if not wanted[name]:
            raise InvalidInput(f"Required parameter {name} is empty")
    _check_subnet(call, wanted)
    host = str(wanted["host"])
    if "#" in host:
        raise InvalidInput("Host parameter should not contain pool.")
    if call.session.scalar(select(ServiceRow.id).where(ServiceRow.host == host)) is None:
        raise InvalidInput(f"Service {host} could not be found.")
    raise InvalidInput(f"Invalid input received: The back end {host} does not handle share servers.")


def _check_subnet(call: Call, wanted: dict[str, Any]) -> None:
    network_id, subnet_id = str(wanted["share_network_id"]), wanted.get("share_network_subnet_id")
    if subnet_id and call.version >= since(51):
        if networks.find_subnet(call.session, network_id, str(subnet_id)) is None:
            raise InvalidInput(f"The share network subnet {subnet_id} does not exist.")
    elif not networks.subnets_in(call.session, network_id, None):
        raise InvalidInput(
            f"The share network {network_id} does have a default subnet. Create one or use a specific subnet to "
            "manage this share server with API version >= 2.51."
        )
    network = networks.find(call.session, network_id)
    if network is not None:
        refuse_inactive(network)


_MIGRATION = ("check", "start", "complete", "cancel", "get_progress")
_ACTIONS = choose_action(
    [
        Action("reset_status", _reset_status, since(49)),
        Action("unmanage", _absent("unmanage_share_server"), since(49)),
        Action("reset_task_state", _reset_task_state, since(57), experimental_until=since(99)),
        *(
            Action(
                f"migration_{step}",
                _absent(f"share_server_migration_{step}"),
                since(57),
                experimental_until=since(99),
            )
            for step in _MIGRATION
        ),
    ]
)

ROUTES = (
    Route("GET", "/share-servers", index),
    Route("POST", "/share-servers/manage", manage, since(49)),
    Route("GET", "/share-servers/{server_id}", _absent("show")),
    Route("GET", "/share-servers/{server_id}/details", _absent("details")),
    Route("DELETE", "/share-servers/{server_id}", _absent("delete")),
    Route("POST", "/share-servers/{server_id}/action", _ACTIONS),
)
