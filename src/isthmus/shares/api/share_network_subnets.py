"""Subnets of a share network: one for each availability zone, or one for all; several for a zone from 2.70 on."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.metadata import Carrier, Touch, checked, metadata_routes
from isthmus.shares.api.networks_lookup import claim_network, find_network
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_network_views import subnet_detail
from isthmus.shares.api.subnet_requests import addressing, refuse_second, wanted_zone
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row
from isthmus.shares.store import networks as store

_POLICIES = {
    Touch.READ: "share_network_subnet:get_metadata",
    Touch.CHANGE: "share_network_subnet:update_metadata",
    Touch.REMOVE: "share_network_subnet:delete_metadata",
}


def index(call: Call, network_id: str) -> dict[str, Any]:
    """List a network's subnets."""
    call.allow("share_network_subnet:index")
    network = find_network(call, network_id)
    subnets = store.subnets_of(call.session, [network_id])[network_id]
    sees_all = call.may("share_network:show_network_details")
    return {"share_network_subnets": [subnet_detail(call, network, row, sees_all=sees_all) for row in subnets]}


def show(call: Call, network_id: str, subnet_id: str) -> dict[str, Any]:
    """Show one."""
    call.allow("share_network_subnet:show")
    network = find_network(call, network_id)
    return _shown(call, network, _subnet(call, network_id, subnet_id))


def create(call: Call, network_id: str) -> dict[str, Any]:
    """Add one."""
    call.allow("share_network_subnet:create")
    wanted = call.body().get("share-network-subnet")
    if not isinstance(wanted, dict):
        raise InvalidInput("Share Network Subnet is missing from the request body.")
    carried = checked(wanted.get("metadata")) if call.version >= since(78) else {}
    place = addressing(wanted)
    network = claim_network(call, network_id)
    zone = wanted_zone(call, wanted)
    if call.version < since(70):
        refuse_second(call, network_id, zone)
    row = {"id": str(uuid4()), "share_network_id": network_id, "availability_zone": zone, "created_at": call.now}
    store.add_subnet(call.session, {**row, **place}, carried)
    return _shown(call, network, _subnet(call, network_id, str(row["id"])))


def delete(call: Call, network_id: str, subnet_id: str) -> Answer:
    """Remove one."""
    call.allow("share_network_subnet:delete")
    claim_network(call, network_id)
    store.remove_subnet(call.session, _subnet(call, network_id, subnet_id)["id"])
    return Answer(202)


def _subnet(call: Call, network_id: str, subnet_id: str) -> Row:
    found = store.find_subnet(call.session, network_id, subnet_id)
    if found is None:
        raise NotFound(f"Share network subnet {subnet_id} could not be found.")
    return found


def _shown(call: Call, network: Row, subnet: Row) -> dict[str, Any]:
    sees_all = call.may("share_network:show_network_details")
    return {"share_network_subnet": subnet_detail(call, network, subnet, sees_all=sees_all)}


def _find(call: Call, variables: Mapping[str, str], touch: Touch) -> str:
    call.allow(_POLICIES[touch])
    find_network(call, variables["network_id"])
    identity: str = _subnet(call, variables["network_id"], variables["subnet_id"])["id"]
    return identity


ROUTES = (
    Route("GET", "/share-networks/{network_id}/subnets", index, since(51)),
    Route("POST", "/share-networks/{network_id}/subnets", create, since(51)),
    Route("GET", "/share-networks/{network_id}/subnets/{subnet_id}", show, since(51)),
    Route("DELETE", "/share-networks/{network_id}/subnets/{subnet_id}", delete, since(51)),
    *metadata_routes("/share-networks/{network_id}/subnets/{subnet_id}/metadata", Carrier(find=_find), since=since(78)),
)
