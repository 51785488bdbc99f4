"""The keys of the environments with the values that a cloud offers now."""

from collections.abc import Sequence
from typing import Any

from isthmus.migration.machine import EnvironmentOption
from isthmus.migration.providers.openstack import inventory, schemas
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import translated


def source_options() -> Sequence[EnvironmentOption]:
    """Return the source environment's keys."""
    return [_from_schema(name, schema) for name, schema in schemas.SOURCE["properties"].items()]


def destination_options(cloud: Cloud) -> Sequence[EnvironmentOption]:
    """Return the destination environment's keys with flavors, volume types, networks, keys, groups and zones."""
    backends, default = inventory.list_storage(cloud)
    networks = [network.name for network in inventory.list_networks(cloud)]
    with translated(f"choices of {cloud.label}"):
        values: dict[str, tuple[Sequence[object], object | None]] = {
            "flavor": (sorted(each.name for each in cloud.compute.flavors()), None),
            "storage_pool": (
                [each.name for each in backends],
                next((each.name for each in backends if each.id == default), None),
            ),
            "network": (networks, networks[0] if len(networks) == 1 else None),
            "key_name": (sorted(each.name for each in cloud.compute.keypairs()), None),
            "security_groups": (sorted(each.name for each in cloud.network.security_groups()), None),
            "availability_zone": (sorted(each.name for each in cloud.compute.availability_zones()), None),
        }
    offered = {name: EnvironmentOption(name, tuple(possible), chosen) for name, (possible, chosen) in values.items()}
    properties = schemas.DESTINATION["properties"].items()
    return [offered.get(name) or _from_schema(name, schema) for name, schema in properties]


def _from_schema(name: str, schema: dict[str, Any]) -> EnvironmentOption:
    values = schema.get("enum") or ([True, False] if schema.get("type") == "boolean" else [])
    return EnvironmentOption(name, tuple(values), schema.get("default"))
