"""Finding a share network that the caller may see: another project's does not exist but for administrators."""

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.views import Row
from isthmus.shares.store import networks

ACTIVE = "active"


def find_network(call: Call, network_id: str) -> Row:
    """Return the row; `NotFound` if there is none for this caller."""
    return _seen(call, networks.find(call.session, network_id), network_id)


def claim_network(call: Call, network_id: str) -> Row:
    """Return the row, held until the call ends: what depends on a network's parts changes one call at a time."""
    return _seen(call, networks.find(call.session, network_id, hold=True), network_id)


def refuse_inactive(network: Row) -> None:
    """Raise `InvalidInput` if the network is not to be changed now."""
    if network["status"] != ACTIVE:
        raise InvalidInput(
            f"The share network {network['id']} used isn't in an 'active' state. Current status is "
            f"{network['status']}. The action may be retried after the share network has changed its state."
        )


def _seen(call: Call, network: Row | None, network_id: str) -> Row:
    if network is None or (network["project_id"] != call.project_id and not call.is_admin):
        raise NotFound(f"Share network {network_id} could not be found.")
    return network
