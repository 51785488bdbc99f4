"""Facts as JSON text and back, for the store's columns."""

import json
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from isthmus.networking.model import (
    Bandwidth,
    FixedIp,
    Key,
    Label,
    Network,
    Owner,
    Port,
    Route,
    Subnet,
    Target,
    TargetKind,
    Wish,
)

Fact = TypeVar("Fact")


def write(fact: object) -> str | None:
    """Return a frozen dataclass of the model as JSON; None stays None."""
    return None if fact is None else json.dumps(asdict(fact), default=_plain)  # type: ignore[call-overload]


def read(parse: Callable[[dict[str, Any]], Fact], text: str | None) -> Fact | None:
    """Return what `write` wrote, parsed by one of the functions below."""
    return None if text is None else parse(json.loads(text))


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def to_port(found: dict[str, Any]) -> Port:
    """Return a port."""
    fixed = tuple(FixedIp(each["subnet_id"], ip_address(each["address"])) for each in found.pop("fixed_ips"))
    groups, tags = tuple(found.pop("security_groups")), frozenset(found.pop("tags"))
    pairs = frozenset(found.pop("address_pairs", ()))
    return Port(**found, fixed_ips=fixed, security_groups=groups, address_pairs=pairs, tags=tags)


def to_network(found: dict[str, Any]) -> Network:
    """Return a network with its subnets."""
    subnets, tags = tuple(map(_to_subnet, found.pop("subnets"))), frozenset(found.pop("tags"))
    return Network(**found, subnets=subnets, tags=tags)


def _to_subnet(found: dict[str, Any]) -> Subnet:
    gateway = found.pop("gateway")
    return Subnet(
        cidr=ip_network(found.pop("cidr")),
        gateway=ip_address(gateway) if gateway else None,
        name_servers=tuple(map(ip_address, found.pop("name_servers"))),
        routes=tuple(map(_to_route, found.pop("routes"))),
        tags=frozenset(found.pop("tags")),
        **found,
    )


def _to_route(found: dict[str, Any]) -> Route:
    hop = found["next_hop"]
    return Route(ip_network(found["destination"]), ip_address(hop) if hop else None)


def to_wish(found: dict[str, Any]) -> Wish:
    """Return a wish."""
    key = found.pop("key")
    label = found.pop("label")
    groups = found.pop("security_groups")
    limits = found.pop("bandwidth", None)
    return Wish(
        key=Key(Owner(key["owner"]), key["id"]),
        subnet_ids=tuple(found.pop("subnet_ids")),
        addresses=tuple(map(ip_address, found.pop("addresses"))),
        security_groups=None if groups is None else tuple(groups),
        bandwidth=Bandwidth(**limits) if limits else None,
        label=Label(**{**label, "tags": frozenset(label["tags"])}) if label else None,
        **found,
    )


def to_target(found: dict[str, Any]) -> Target:
    """Return a target."""
    return Target(**{**found, "kind": TargetKind(found["kind"])})
