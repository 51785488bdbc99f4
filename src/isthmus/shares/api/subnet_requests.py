"""What a body may say of a subnet: a zone that is known, Neutron's ids, both or none, and the network's addressing.

Ids and addressing are kept as they are given: who connects a share server to them asks Neutron about them.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.shares.api.call import Call
from isthmus.shares.store import networks

_LONGEST_ID = 36
_TEXTS: Mapping[str, int] = {"network_type": 32, "cidr": 64, "gateway": 64}
"""Fields of addressing that are text, with their most characters."""
_NUMBERS = ("segmentation_id", "ip_version", "mtu")


def neutron_ids(wanted: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the two ids; `InvalidInput` for one without the other, or for what is no id."""
    if ("neutron_net_id" in wanted) != ("neutron_subnet_id" in wanted):
        raise InvalidInput(
            "When creating a new share network subnet you need to specify both neutron_net_id and neutron_subnet_id "
            "or none of them."
        )
    return {name: _identity(wanted.get(name), name) for name in ("neutron_net_id", "neutron_subnet_id")}


def addressing(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids and all else that tells where the subnet lies; `InvalidInput` for what cannot be."""
    found: dict[str, Any] = {name: wanted[name] for name in (*_TEXTS, *_NUMBERS) if wanted.get(name) is not None}
    for name, most in _TEXTS.items():
        if name in found and (not isinstance(found[name], str) or len(found[name]) > most):
            raise InvalidInput(f"Invalid input received: {name} must be text of at most {most} characters.")
    for name in _NUMBERS:
        if name in found and not 0 <= _number(found[name]) < 2**31:
            raise InvalidInput(f"Invalid input received: {name} must be a whole number.")
    return {**neutron_ids(wanted), **found}


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def wanted_zone(call: Call, wanted: Mapping[str, Any]) -> str | None:
    """Return the name of the zone that the body names by name or id; None is all zones."""
    asked = wanted.get("availability_zone")
    if not asked:
        return None
    zone = networks.zone_named(call.session, str(asked))
    if zone is None:
        raise InvalidInput(f"The provided availability zone {asked} does not exist.")
    return zone


def refuse_second(call: Call, network_id: str, zone: str | None) -> None:
    """Raise `Conflict` if the network has a subnet for the zone already; only several from 2.70 on are fine."""
    if networks.subnets_in(call.session, network_id, zone):
        raise Conflict(
            "Another share network subnet was found in the specified availability zone. Only one share network subnet "
            f"is allowed per availability zone for share network {network_id}."
        )


def _identity(value: object, name: str) -> str | None:
    if value is None or (isinstance(value, str) and 1 <= len(value) <= _LONGEST_ID):
        return value
    raise InvalidInput(f"Invalid input received: {name} must be an id of at most {_LONGEST_ID} characters.")
