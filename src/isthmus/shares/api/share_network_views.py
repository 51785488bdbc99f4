"""How share networks and subnets are shown: before 2.51 a network is its one default subnet.

A subnet's network type and segmentation id are for administrators (the policy `show_network_details`).
"""

from collections.abc import Sequence
from typing import Any

from isthmus.shares.api.call import Call
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View

SENSITIVE = ("network_type", "segmentation_id")
_ADDRESSING = ("neutron_net_id", "neutron_subnet_id", "network_type", "segmentation_id", "cidr", "ip_version")


def _moment(name: str) -> Field:
    # A time of creation that a caller gave has whole seconds; clients expect the fraction all the same.
    return Field(name, lambda row: None if row[name] is None else row[name].isoformat(timespec="microseconds"))


_SUMMARY = View([Field("id"), Field("name")])
_ALONE = View(
    [
        *(Field(name) for name in ("id", "name", "project_id", "description")),
        _moment("created_at"),
        _moment("updated_at"),
    ]
)
_LEGACY = View(
    [
        *(Field(name) for name in ("id", "name", "project_id")),
        _moment("created_at"),
        _moment("updated_at"),
        *(Field(name) for name in _ADDRESSING),
        Field("description"),
        Field("gateway", since=since(18)),
        Field("mtu", since=since(20)),
        Field("nova_net_id", until=since(25)),
    ]
)
_ADDED = View(
    [
        Field("share_network_subnets"),
        Field("status", since=since(63)),
        Field("security_service_update_support", since=since(63)),
        Field("network_allocation_update_support", since=since(70)),
    ]
)
_SUBNET = View(
    [
        *(Field(name) for name in ("id", "availability_zone", "created_at", "updated_at")),
        *(Field(name) for name in _ADDRESSING),
        Field("mtu"),
        Field("gateway"),
        Field("metadata", since=since(78)),
    ]
)


def summary(call: Call, network: Row) -> dict[str, Any]:
    """Return a network in short."""
    return _SUMMARY.at(call.version, admin=False)(network)


def detail(call: Call, network: Row, subnets: Sequence[Row], *, sees_all: bool) -> dict[str, Any]:
    """Return a network with its subnets; `sees_all` is what the policy says of the sensitive fields."""
    shown = [_redacted(subnet, sees_all) for subnet in subnets]
    if call.version < since(51):
        default = [subnet for subnet in shown if subnet["availability_zone"] is None]
        facts = {**dict.fromkeys((*_ADDRESSING, "gateway", "mtu", "nova_net_id")), **(default[-1] if default else {})}
        return _LEGACY.at(call.version, admin=False)({**facts, **network})
    view = _SUBNET.at(call.version, admin=False)
    added = {
        **network,
        "share_network_subnets": [view(subnet) for subnet in shown],
        # There is no share server on it that could not do these.
        "security_service_update_support": True,
        "network_allocation_update_support": True,
    }
    return {**_ALONE.at(call.version, admin=False)(network), **_ADDED.at(call.version, admin=False)(added)}


def subnet_detail(call: Call, network: Row, subnet: Row, *, sees_all: bool) -> dict[str, Any]:
    """Return a subnet on its own."""
    shown = _SUBNET.at(call.version, admin=False)(_redacted(subnet, sees_all))
    return {**shown, "share_network_id": network["id"], "share_network_name": network["name"]}


def _redacted(subnet: Row, sees_all: bool) -> Row:
    return subnet if sees_all else {**subnet, **dict.fromkeys(SENSITIVE)}
