"""Neutron's JSON as our facts."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from isthmus.networking.model import FixedIp, Network, Port, Route, Subnet, SubnetPool

Json = Mapping[str, Any]


def parse_subnet(found: Json) -> Subnet:
    """Return a subnet."""
    return Subnet(
        id=found["id"],
        name=found.get("name") or "",
        project_id=_project(found),
        network_id=found["network_id"],
        cidr=ip_network(found["cidr"]),
        gateway=ip_address(found["gateway_ip"]) if found.get("gateway_ip") else None,
        name_servers=tuple(ip_address(server) for server in found.get("dns_nameservers") or ()),
        routes=tuple(
            Route(ip_network(route["destination"], strict=False), ip_address(route["nexthop"]))
            for route in found.get("host_routes") or ()
        ),
        pool_id=found.get("subnetpool_id"),
        dhcp=bool(found.get("enable_dhcp", True)),
        tags=frozenset(found.get("tags") or ()),
    )


def parse_network(found: Json, subnets: Iterable[Subnet]) -> Network:
    """Return a network with these subnets, IPv4 first, else in the order of their CIDRs."""
    return Network(
        id=found["id"],
        name=found.get("name") or "",
        project_id=_project(found),
        mtu=int(found.get("mtu") or 1500),
        subnets=tuple(sorted(subnets, key=lambda each: (each.cidr.version, int(each.cidr.network_address), each.id))),
        shared=bool(found.get("shared")),
        external=bool(found.get("router:external")),
        dns_domain=(found.get("dns_domain") or "").rstrip("."),
        tags=frozenset(found.get("tags") or ()),
    )


def parse_subnet_pool(found: Json) -> SubnetPool:
    """Return a subnet pool."""
    return SubnetPool(
        id=found["id"],
        name=found.get("name") or "",
        project_id=_project(found),
        prefixes=tuple(ip_network(prefix) for prefix in found.get("prefixes") or ()),
        default_prefix_length=int(found["default_prefixlen"]),
        shared=bool(found.get("shared")),
        tags=frozenset(found.get("tags") or ()),
    )


def parse_port(found: Json) -> Port:
    """Return a port."""
    return Port(
        id=found["id"],
        name=found.get("name") or "",
        project_id=_project(found),
        network_id=found["network_id"],
        mac=found["mac_address"],
        fixed_ips=tuple(
            FixedIp(fixed["subnet_id"], ip_address(fixed["ip_address"])) for fixed in found.get("fixed_ips") or ()
        ),
        status=found.get("status") or "",
        device_owner=found.get("device_owner") or "",
        device_id=found.get("device_id") or "",
        host=found.get("binding:host_id") or "",
        vif_type=found.get("binding:vif_type") or "",
        vif_details=dict(found.get("binding:vif_details") or {}),
        security_groups=tuple(found.get("security_groups") or ()),
        qos_policy=found.get("qos_policy_id"),
        address_pairs=frozenset(
            f"{pair['ip_address']} {pair.get('mac_address') or ''}" for pair in found.get("allowed_address_pairs") or ()
        ),
        port_security=bool(found.get("port_security_enabled", True)),
        admin_up=bool(found.get("admin_state_up", True)),
        revision=int(found.get("revision_number") or 0),
        tags=frozenset(found.get("tags") or ()),
    )


def _project(found: Json) -> str:
    return str(found.get("project_id") or found.get("tenant_id") or "")
