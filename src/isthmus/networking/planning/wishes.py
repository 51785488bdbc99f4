"""What a wish asks of Neutron, and whether a port is what a wish asks for."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.networking.model import IpAddress, Label, Network, Port, Wish

WARM_NAME = "isthmus-warm"
_TAG_LENGTH = 60
_FAMILY = "ipv"
_DEFAULT_GROUPS = "default"


def is_warm(port: Port) -> bool:
    """Return whether a port is said to be nobody's yet, by Neutron."""
    return port.name == WARM_NAME and not port.device_id


def host_tag(host: str) -> str:
    """Return the tag of all ports that the agent of a host made; a long name is hashed (tags have 60 characters)."""
    tag = f"isthmus.host:{host}"
    return tag if len(tag) <= _TAG_LENGTH else f"isthmus.host:{hashlib.blake2s(host.encode()).hexdigest()[:32]}"


def label_of(wish: Wish) -> Label:
    """Return the wish's label, or one made from its key."""
    return wish.label or Label(name=f"{wish.key.owner}-{wish.key.id}"[:255], device_id=wish.key.id[:255])


def pool_of(wish: Wish, project: str, binder: str, network: Network) -> str | None:
    """Return the pool whose ports are right for a wish but for its addresses; None if only a port of its own is.

    Ports from before the network had a subnet of a further family are of another pool.
    """
    if wish.port_id or wish.mac or wish.qos_policy:
        return None
    subnets = wish.subnet_ids or families_of(network)
    return "/".join((project, wish.network_id, binder, ",".join(subnets), _groups(wish.security_groups)))


def families_of(network: Network) -> tuple[str, ...]:
    """Return the families of a network's subnets, as they stand in the name of a pool."""
    return tuple(f"{_FAMILY}{version}" for version in sorted({subnet.cidr.version for subnet in network.subnets}))


@dataclass(frozen=True)
class PoolKind:
    """What the name of a pool says. `families` are those of the network's subnets when no `subnet_ids` are named."""

    binder: str
    network_id: str
    subnet_ids: tuple[str, ...]
    families: tuple[str, ...]
    security_groups: tuple[str, ...] | None

    def is_outdated(self, network: Network) -> bool:
        """Return whether the network's subnets are of other families by now."""
        return not self.subnet_ids and self.families != families_of(network)


def kind_of_pool(pool: str) -> PoolKind:
    """Return what the name of a pool says."""
    _, network_id, binder, named, groups = pool.rsplit("/", 4)
    subnets = tuple(filter(None, named.split(",")))
    return PoolKind(
        binder,
        network_id,
        tuple(each for each in subnets if not each.startswith(_FAMILY)),
        tuple(each for each in subnets if each.startswith(_FAMILY)),
        None if groups == _DEFAULT_GROUPS else tuple(filter(None, groups.split(","))),
    )


def _groups(named: tuple[str, ...] | None) -> str:
    return _DEFAULT_GROUPS if named is None else ",".join(sorted(named))


def port_body(wish: Wish, network: Network, host: str | None) -> dict[str, Any]:
    """Return what a port of this wish is created with, without name and tags. `host` None leaves it unbound.

    Raises `InvalidInput` for addresses that the network does not have.
    """
    body: dict[str, Any] = {"network_id": network.id, "admin_state_up": True}
    if host is not None:
        body["binding:host_id"] = host
    if wish.mac:
        body["mac_address"] = wish.mac
    if wish.security_groups is not None:
        body["security_groups"] = list(wish.security_groups)
    if wish.qos_policy:
        body["qos_policy_id"] = wish.qos_policy
    fixed = fixed_ips(wish, network)
    return body | ({"fixed_ips": fixed} if fixed else {})


def fixed_ips(wish: Wish, network: Network) -> list[dict[str, str]]:
    """Return the addresses to ask for; empty leaves all to Neutron, which gives one of each family."""
    fixed: list[dict[str, str]] = []
    for address in wish.addresses:
        if not any(address in subnet.cidr for subnet in network.subnets):
            ranges = ", ".join(str(subnet.cidr) for subnet in network.subnets) or "no subnet"
            raise InvalidInput(f"network {network.name or network.id} has {ranges}, and {address} is not in it")
        subnet = next(subnet for subnet in network.subnets if address in subnet.cidr)
        fixed.append({"subnet_id": subnet.id, "ip_address": str(address)})
    if not wish.addresses and not wish.subnet_ids:
        return fixed
    families = {address.version for address in wish.addresses}
    for subnet in network.subnets:
        wanted = not wish.subnet_ids or subnet.id in wish.subnet_ids
        if wanted and subnet.cidr.version not in families:
            families.add(subnet.cidr.version)
            fixed.append({"subnet_id": subnet.id})
    unknown = set(wish.subnet_ids) - {subnet.id for subnet in network.subnets}
    if unknown:
        raise InvalidInput(f"network {network.name or network.id} has no subnet {', '.join(sorted(unknown))}")
    return fixed


def misfit(wish: Wish, port: Port) -> str | None:
    """Return in what a port is not what a wish demands, None if it is."""
    addresses: set[IpAddress] = {fixed.address for fixed in port.fixed_ips}
    if wish.network_id != port.network_id:
        return f"is on network {port.network_id}, not {wish.network_id}"
    if wish.port_id and wish.port_id != port.id:
        return f"is not {wish.port_id}"
    if not addresses.issuperset(wish.addresses):
        have = ", ".join(map(str, sorted(addresses, key=str)))
        return f"has {have}, not {', '.join(map(str, wish.addresses))}"
    if wish.mac and wish.mac.lower() != port.mac.lower():
        return f"has the MAC address {port.mac}, not {wish.mac}"
    return None


def differing_rules(wish: Wish, have: Wish) -> str | None:
    """Return in what the rules for a port that was wished before are not those of a wish, None if they are."""
    if _groups(wish.security_groups) != _groups(have.security_groups):
        return f"has the security groups {_groups(have.security_groups)}, not {_groups(wish.security_groups)}"
    if wish.qos_policy != have.qos_policy:
        return f"has {_policy(have)}, not {_policy(wish)}"
    return None


def _policy(wish: Wish) -> str:
    return f"QoS policy {wish.qos_policy}" if wish.qos_policy else "no QoS policy of its own"


def rules_of(port: Port) -> str:
    """Return all that applies to a port beside its addresses, to be compared: groups, QoS, pairs, port security."""
    facts = (
        sorted(port.security_groups),
        port.qos_policy,
        sorted(port.address_pairs),
        port.port_security,
        port.admin_up,
    )
    return json.dumps(facts)


def changes_for(wish: Wish, port: Port, network: Network) -> Mapping[str, Any]:
    """Return what must be changed of a port so that it is what a wish demands."""
    changes: dict[str, Any] = {}
    if not {fixed.address for fixed in port.fixed_ips}.issuperset(wish.addresses):
        families = {address.version for address in wish.addresses}
        kept = [fixed for fixed in port.fixed_ips if fixed.address.version not in families]
        changes["fixed_ips"] = [
            *(each for each in fixed_ips(wish, network) if "ip_address" in each),
            *({"subnet_id": fixed.subnet_id, "ip_address": str(fixed.address)} for fixed in kept),
        ]
    if wish.mac and wish.mac.lower() != port.mac.lower():
        changes["mac_address"] = wish.mac
    if wish.security_groups is not None and set(wish.security_groups) != set(port.security_groups):
        changes["security_groups"] = list(wish.security_groups)
    if wish.qos_policy and wish.qos_policy != port.qos_policy:
        changes["qos_policy_id"] = wish.qos_policy
    return changes
