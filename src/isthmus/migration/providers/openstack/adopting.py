"""A replica that begins as a copy of a machine that is here already: the way home sends only what has changed since.

Each disk's copy is a volume made of a snapshot, as a machine that is off has its volumes still attached, and not every
back end of Cinder copies those.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.control.errors import NotFound, StepFailed
from isthmus.migration.machine import DestinationDisk, Disk, DiskMapping
from isthmus.migration.providers.openstack import inventory, names, points, volumes
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.reporting import Level, Report

_OFF = "SHUTOFF"
_POINT = "home"


def adopt_machine(
    cloud: Cloud, transfer_id: str, instance: str, machine: str, *, disks: Sequence[DiskMapping], report: Report
) -> Sequence[DestinationDisk]:
    """Copy the machine's disks to where the replica's are looked for (see the contract)."""
    try:
        server = inventory.find_server(cloud, machine)
    except NotFound:
        report.event(Level.WARNING, f"{machine} is not at {cloud.label} any more: all is copied anew")
        return ()
    if server.status != _OFF:
        raise StepFailed(f"machine {machine} is {server.status} at {cloud.label}; shut it down first")
    found = inventory.whole_machine(cloud, server)
    if len(found.disks) != len(disks):
        report.event(Level.WARNING, f"{machine} has {len(found.disks)} disks, not {len(disks)}: all is copied anew")
        return ()
    types = {
        mapping.destination_storage: inventory.volume_type(cloud, mapping.destination_storage) for mapping in disks
    }
    for disk, mapping in zip(found.disks, disks, strict=True):
        kind = types[mapping.destination_storage]
        if disk.storage_backend_identifier not in (kind.id, kind.name, inventory.EPHEMERAL):
            report.event(Level.WARNING, f"disk {disk.id} of {machine} is not of type {kind.name}: all is copied anew")
            return ()
    expected = {disk.id: names.reading(transfer_id, instance, _POINT, disk.id) for disk in found.disks}
    try:
        tidy(cloud, transfer_id, instance)
        parts = points.make(cloud, server, found, expected, report)
        made = [
            _volume(cloud, names.replica(transfer_id, instance, mapping.disk.id), disk, mapping, parts)
            for disk, mapping in zip(found.disks, disks, strict=True)
        ]
        for volume in made:
            volumes.wait_for(cloud, volume.id, report)
    finally:
        tidy(cloud, transfer_id, instance)
    return [
        DestinationDisk(
            mapping.disk.id, volume.id, mapping.disk.size_bytes, "raw", types[mapping.destination_storage].name
        )
        for mapping, volume in zip(disks, made, strict=True)
    ]


def tidy(cloud: Cloud, transfer_id: str, instance: str) -> None:
    """Delete the snapshots that copies were made of, if whoever made them died. Already done: there are none."""
    points.delete(cloud, names.reading(transfer_id, instance, _POINT, ""))


def _volume(cloud: Cloud, name: str, disk: Disk, mapping: DiskMapping, parts: Mapping[str, Any]) -> Any:
    """Return the replica's volume, being made if it was not there; what it holds is compared with the source anyway."""
    ephemeral = disk.storage_backend_identifier == inventory.EPHEMERAL
    source = {"image_id": parts[disk.id].id} if ephemeral else {"snapshot_id": parts[disk.id].id}
    with translated(f"disk {mapping.disk.id} as a copy of {disk.id}"):
        return volumes.find(cloud, name) or cloud.volumes.create_volume(
            name=name,
            size=volumes.gib(max(disk.size_bytes, mapping.disk.size_bytes)),
            metadata={names.WRITTEN: "1"},
            **source,
        )
