"""Where a machine's disks and NICs go, from what the transfer says and what the destination has.

The forms are Coriolis': `network_map` is `{source network: destination network}`, `storage_mappings` is
`{"default", "backend_mappings": [{"source", "destination"}], "disk_mappings": [{"disk_id", "destination"}]}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import (
    Disk,
    DiskMapping,
    Machine,
    Network,
    NicMapping,
    StorageBackend,
)


def map_disks(
    machine: Machine,
    storage_mappings: Mapping[str, Any],
    backends: Sequence[StorageBackend],
    config_default: str | None,
) -> tuple[DiskMapping, ...]:
    """Return where each disk goes: its own mapping, its back end's, the transfer's default, the destination's default.

    Raises `InvalidInput` naming the disk if none of these says, and for a back end that the destination has not.
    """
    by_disk = {str(each["disk_id"]): str(each["destination"]) for each in storage_mappings.get("disk_mappings") or ()}
    by_backend = {
        str(each["source"]): str(each["destination"]) for each in storage_mappings.get("backend_mappings") or ()
    }
    default = storage_mappings.get("default") or config_default
    known = {backend.id for backend in backends} | {backend.name for backend in backends}

    def place(disk: Disk) -> DiskMapping:
        storage = by_disk.get(disk.id) or by_backend.get(disk.storage_backend_identifier) or default
        if not storage:
            raise InvalidInput(
                f"nothing says where disk {disk.id} of {machine.name} (on {disk.storage_backend_identifier!r}) goes: "
                "set storage_mappings.default, or a backend or disk mapping"
            )
        if storage not in known:
            raise InvalidInput(
                f"the destination has no storage {storage!r}, which disk {disk.id} of {machine.name} is mapped to; "
                f"it has: {', '.join(sorted(backend.name for backend in backends)) or 'none'}"
            )
        return DiskMapping(disk, str(storage))

    return tuple(place(disk) for disk in machine.disks)


def map_nics(machine: Machine, network_map: Mapping[str, str], networks: Sequence[Network]) -> tuple[NicMapping, ...]:
    """Return where each NIC goes. Raises `InvalidInput` naming every network that is not mapped, or is not there."""
    unmapped = sorted({nic.network_name for nic in machine.nics if nic.network_name not in network_map})
    if unmapped:
        raise InvalidInput(
            f"no destination network for {', '.join(map(repr, unmapped))} of {machine.name}: "
            "add each to the transfer's network_map"
        )
    known = {network.id for network in networks} | {network.name for network in networks}
    mapped = tuple(NicMapping(nic, network_map[nic.network_name]) for nic in machine.nics)
    missing = sorted({each.destination_network for each in mapped} - known)
    if missing:
        raise InvalidInput(
            f"the destination has no network {', '.join(map(repr, missing))} named in network_map; "
            f"it has: {', '.join(sorted(network.name for network in networks)) or 'none'}"
        )
    return mapped


def check_isolated(test_network: str, network_map: Mapping[str, str], networks: Sequence[Network]) -> None:
    """Return if a test's network, given by id or name as those of the map are, is none that the map leads to.

    Raises `InvalidInput` naming it if it is, or could be: names may be those of several networks.
    """

    def ids(given: str) -> set[str]:
        return {network.id for network in networks if given in (network.id, network.name)}

    used = set().union(*map(ids, network_map.values()))
    if test_network in network_map.values() or ids(test_network) & used:
        raise InvalidInput(
            f"network {test_network} is where the transfer's machines will live: name an isolated one for the test"
        )
