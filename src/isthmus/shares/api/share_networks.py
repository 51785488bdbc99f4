"""Share networks: where in a tenant's networks share servers may stand."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.shares.api import share_network_actions, share_network_lists
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.metadata import checked
from isthmus.shares.api.networks_lookup import ACTIVE, claim_network, find_network
from isthmus.shares.api.quota_faults import take_quota
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_network_views import detail as detailed
from isthmus.shares.api.share_network_views import summary
from isthmus.shares.api.subnet_requests import addressing, neutron_ids, wanted_zone
from isthmus.shares.api.texts import changed_texts
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row
from isthmus.shares.store import networks as store
from isthmus.shares.store import security_services, usage
from isthmus.shares.store.usage import Owner

_TEXTS = {"name": "name", "description": "description"}
_NEUTRON = ("neutron_net_id", "neutron_subnet_id")


def index(call: Call) -> dict[str, Any]:
    """List networks in short."""
    call.allow("share_network:index")
    return {"share_networks": [summary(call, row) for row in share_network_lists.rows(call)]}


def detail(call: Call) -> dict[str, Any]:
    """List networks with their subnets."""
    call.allow("share_network:detail")
    rows = share_network_lists.rows(call)
    subnets = store.subnets_of(call.session, [row["id"] for row in rows])
    sees_all = call.may("share_network:show_network_details")
    return {"share_networks": [detailed(call, row, subnets[row["id"]], sees_all=sees_all) for row in rows]}


def show(call: Call, network_id: str) -> dict[str, Any]:
    """Show one."""
    call.allow("share_network:show")
    return shown(call, find_network(call, network_id))


def create(call: Call) -> dict[str, Any]:
    """Make a network with one subnet."""
    call.allow("share_network:create")
    wanted = _entity(call)
    zone = wanted_zone(call, wanted) if call.version >= since(51) else None
    place = addressing(wanted)
    carried = checked(wanted.get("metadata")) if call.version >= since(78) else {}
    take_quota(call, Owner(call.project_id, call.caller.user_id), {"share_networks": 1})
    row = {
        "id": str(uuid4()),
        "project_id": call.project_id,
        "user_id": call.caller.user_id,
        "name": None,
        "description": None,
        **changed_texts(wanted, _TEXTS),
        "status": ACTIVE,
        "created_at": _created_at(call, wanted),
    }
    subnet = {"id": str(uuid4()), "share_network_id": row["id"], "availability_zone": zone, "created_at": call.now}
    store.add(call.session, row)
    store.add_subnet(call.session, {**subnet, **place}, carried)
    return shown(call, find_network(call, str(row["id"])))


def update(call: Call, network_id: str) -> dict[str, Any]:
    """Change the name, the description, or the one default subnet's Neutron ids."""
    call.allow("share_network:update")
    wanted = _entity(call)
    network = claim_network(call, network_id)
    ids: dict[str, Any] = {name: wanted[name] for name in _NEUTRON if name in wanted}
    if ids:
        _change_default_subnet(call, network_id, ids)
    store.change(call.session, network["id"], changed_texts(wanted, _TEXTS), call.now)
    return shown(call, find_network(call, network_id))


def delete(call: Call, network_id: str) -> Answer:
    """Delete a network that nothing lies on and that has one subnet at most."""
    call.allow("share_network:delete")
    network = claim_network(call, network_id)
    _refuse_in_use(call, network_id)
    subnets = store.subnets_of(call.session, [network_id])[network_id]
    if len(subnets) > 1:
        raise Conflict(
            f"The share network {network_id} has more than one subnet attached. Please remove the subnets untill you "
            "have one or no subnets remaining."
        )
    for subnet in subnets:
        store.remove_subnet(call.session, subnet["id"])
    security_services.leave(call.session, network_id)
    store.remove(call.session, network_id)
    usage.give_back(call.session, Owner(network["project_id"], network["user_id"]), {"share_networks": 1})
    return Answer(202)


def shown(call: Call, network: Row) -> dict[str, Any]:
    """Return the answer that shows a network."""
    subnets = store.subnets_of(call.session, [network["id"]])[network["id"]]
    sees_all = call.may("share_network:show_network_details")
    return {"share_network": detailed(call, network, subnets, sees_all=sees_all)}


def _entity(call: Call) -> dict[str, Any]:
    wanted = call.body().get("share_network")
    if not isinstance(wanted, dict):
        raise Unprocessable("Unable to process the contained instructions: share_network is missing")
    if "nova_net_id" in wanted:
        raise InvalidInput("nova networking is not supported starting in Ocata.")
    return wanted


def _created_at(call: Call, wanted: Mapping[str, Any]) -> datetime:
    """Return the time of creation: as in Manila, who takes over records of networks may say when they were made."""
    text = wanted.get("created_at")
    if text is None:
        return call.now
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise InvalidInput("Invalid input received: created_at must be a time, as 2002-02-02T00:00:00.") from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _refuse_in_use(call: Call, network_id: str) -> None:
    shares = store.count_shares(call.session, network_id)
    if shares:
        raise Conflict(f"Can not delete share network {network_id}, it has {shares} share(s).")
    groups = store.count_groups(call.session, network_id)
    if groups:
        raise Conflict(f"Can not delete share network {network_id}, it has {groups} share group(s).")


def _change_default_subnet(call: Call, network_id: str, ids: Mapping[str, Any]) -> None:
    defaults = store.subnets_in(call.session, network_id, None)
    if len(defaults) != 1:
        kind = "an unique" if defaults else "a"
        raise InvalidInput(
            f"The share network {network_id} does not have {kind} 'default' subnet that serves all availability zones, "
            "so subnet details ('neutron_net_id', 'neutron_subnet_id') cannot be updated."
        )
    (subnet,) = defaults
    is_empty = subnet["neutron_net_id"] is None and subnet["neutron_subnet_id"] is None
    if is_empty and None in (ids.get("neutron_net_id"), ids.get("neutron_subnet_id")):
        raise InvalidInput(
            f"To update the share network {network_id} you need to specify both 'neutron_net_id' and "
            "'neutron_subnet_id'."
        )
    merged = {**{name: subnet[name] for name in _NEUTRON}, **ids}
    store.change_subnet(call.session, subnet["id"], neutron_ids(merged), call.now)


ROUTES = (
    Route("GET", "/share-networks", index),
    Route("POST", "/share-networks", create),
    Route("GET", "/share-networks/detail", detail),
    Route("GET", "/share-networks/{network_id}", show),
    Route("PUT", "/share-networks/{network_id}", update),
    Route("DELETE", "/share-networks/{network_id}", delete),
    Route("POST", "/share-networks/{network_id}/action", share_network_actions.action(shown)),
)
