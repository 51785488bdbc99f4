"""The keys of the environments with the values that a hypervisor offers now."""

from collections.abc import Sequence
from typing import Any

from isthmus.migration.machine import EnvironmentOption, Network
from isthmus.migration.providers.libvirt import inventory, schemas
from isthmus.migration.providers.libvirt.connection import Hypervisor


def source_options() -> Sequence[EnvironmentOption]:
    """Return the source environment's keys."""
    return [_from_schema(name, schema) for name, schema in schemas.SOURCE["properties"].items()]


def destination_options(hypervisor: Hypervisor, offered_networks: Sequence[Network]) -> Sequence[EnvironmentOption]:
    """Return the destination environment's keys; pools and networks are those of the hypervisor."""
    backends, default_pool = inventory.list_storage(hypervisor)
    networks = [network.name for network in offered_networks]
    offered = {
        "storage_pool": EnvironmentOption("storage_pool", tuple(item.name for item in backends), default_pool),
        "network": EnvironmentOption("network", tuple(networks), networks[0] if len(networks) == 1 else None),
    }
    properties = schemas.DESTINATION["properties"].items()
    return [offered.get(name) or _from_schema(name, schema) for name, schema in properties]


def _from_schema(name: str, schema: dict[str, Any]) -> EnvironmentOption:
    values = schema.get("enum") or ([True, False] if schema.get("type") == "boolean" else [])
    return EnvironmentOption(name, tuple(values), schema.get("default"))
