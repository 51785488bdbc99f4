"""Reading a machine's disks: one point of all of them, a volume made of each part of it, served read-only.

The snapshots are the point: as long as all of them are there, a reading that was cut short, even with its worker, is
opened again under the same name and holds the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.migration.machine import Machine
from isthmus.migration.providers.contract import ChangeSource, ExportedDisk, Reading
from isthmus.migration.providers.images.exports import Record
from isthmus.migration.providers.openstack import attachments, inventory, names, points, volumes
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.reporting import Report


@dataclass(frozen=True)
class Wanted:
    """What the caller of `open_reading` asked for."""

    transfer_id: str
    instance: str
    point: str
    since: str | None


def open_reading(cloud: Cloud, wanted: Wanted, report: Report) -> Reading:
    """Open the point, or return the reading of it that is still open (see the contract)."""
    server = inventory.find_server(cloud, wanted.instance)
    machine = inventory.whole_machine(cloud, server)
    owner = _owner(wanted.transfer_id, wanted.instance)
    record = Record(f"{owner} {cloud.label}", False, tuple(disk.id for disk in machine.disks), (), wanted.point)
    served = attachments.answering(cloud, record)
    if served is None:
        expected = {
            disk.id: names.reading(wanted.transfer_id, wanted.instance, wanted.point, disk.id) for disk in machine.disks
        }
        parts = points.find(cloud, expected, report)
        if parts is None:
            # A part of a point is of no use: nothing of it was read, so all of it is made anew under the same name.
            close_reading(cloud, wanted.transfer_id, wanted.instance)
            parts = points.make(cloud, inventory.find_server(cloud, server.id), machine, expected, report)
        else:
            # Whoever made it may have died before the machine went on.
            points.resume(cloud, server.id)
        ids = _volumes_of(cloud, machine, expected, parts, report)
        served = attachments.serve(cloud, record, ids, mode=attachments.READ_ONLY, owner=owner)
    changes = ChangeSource.HASH_MAP if wanted.since is not None else ChangeSource.ALLOCATION
    disks = [
        ExportedDisk(disk.id, uri, disk.size_bytes, changes)
        for disk, uri in zip(machine.disks, served.uris, strict=True)
    ]
    return Reading(wanted.point, tuple(disks))


def close_reading(cloud: Cloud, transfer_id: str, instance: str) -> None:
    """Stop serving; delete all the transfer's volumes and snapshots: none is needed for the next pass."""
    owner = _owner(transfer_id, instance)
    points.resume(cloud, instance)
    attachments.stop(cloud, f"{owner} {cloud.label}", owner)
    prefix = names.readings(transfer_id, instance)
    with translated(f"volumes of {instance}"):
        made = [each.id for each in cloud.volumes.volumes(details=True) if str(each.name).startswith(prefix)]
    for volume_id in made:
        volumes.delete(cloud, volume_id)
    points.delete(cloud, prefix)


def _owner(transfer_id: str, instance: str) -> str:
    return f"reading {transfer_id} {instance}"


def _volumes_of(
    cloud: Cloud, machine: Machine, expected: Mapping[str, str], parts: Mapping[str, Any], report: Report
) -> Sequence[str]:
    """Return the volumes made of the point's snapshots and images, in the order of the disks."""
    made = []
    for disk in machine.disks:
        part, name = parts[disk.id], expected[disk.id]
        ephemeral = disk.storage_backend_identifier == inventory.EPHEMERAL
        source = {"image_id": part.id} if ephemeral else {"snapshot_id": part.id}
        with translated(f"volume of {name}"):
            volume = volumes.find(cloud, name) or cloud.volumes.create_volume(
                name=name, size=volumes.gib(disk.size_bytes), **source
            )
        made.append(volume.id)
    for volume_id in made:
        volumes.wait_for(cloud, volume_id, report)
    return made
