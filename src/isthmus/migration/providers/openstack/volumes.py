"""The destination's volumes: made, grown, copied, deleted, each found again by its name."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, NotFound, StepFailed
from isthmus.migration.machine import DestinationDisk, DiskMapping, Machine
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.openstack import names
from isthmus.migration.providers.openstack.connection import Cloud, settled, wait_until
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.providers.openstack.inventory import GIB, free_gib, volume_type
from isthmus.migration.reporting import Report

_DETACH_SECONDS = 20
"""A volume may look attached for a moment after its server is gone."""
USABLE = ("available", "in-use")


def gib(size_bytes: int) -> int:
    """Return the whole GiB that hold so many bytes: what Cinder's volumes are counted in."""
    return max(1, -(-size_bytes // GIB))


def find(cloud: Cloud, name: str) -> Any | None:
    """Return the volume of this name that no machine of ours has; None if there is none."""
    found = [each for each in cloud.volumes.volumes(details=True, name=name) if each.name == name]
    return next((each for each in found if names.DEPLOYMENT not in (each.metadata or {})), None)


def check_space(cloud: Cloud, transfer_id: str, machine: Machine, disks: Sequence[DiskMapping]) -> None:
    """Raise `InvalidInput` if the project's quota does not hold the disks; the transfer's own volumes count as free."""
    for mapping in disks:
        volume_type(cloud, mapping.destination_storage)
    with translated(f"quota of {cloud.label}"):
        free = free_gib(cloud)
        if free is None:
            return
        own = sum(
            int(each.size)
            for mapping in disks
            for instance in {machine.id, machine.name}
            if (each := find(cloud, names.replica(transfer_id, instance, mapping.disk.id)))
        )
    needed = sum(gib(mapping.disk.size_bytes) for mapping in disks)
    if needed > free + own:
        raise InvalidInput(
            f"the disks of {machine.name} need {needed} GiB, and the project's quota has {free + own} GiB free; "
            "free some, or have the quota raised"
        )


def ensure_disks(
    cloud: Cloud, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
) -> list[DestinationDisk]:
    """Make the replica's volumes; if one cannot be made, those made here are deleted (see the contract)."""
    found = []
    with ExitStack() as undo:
        for mapping in disks:
            name = names.replica(transfer_id, instance, mapping.disk.id)
            with translated(f"disk {mapping.disk.id} as volume type {mapping.destination_storage}"):
                kind = volume_type(cloud, mapping.destination_storage)
                wanted = {
                    "name": name,
                    "size": gib(mapping.disk.size_bytes),
                    "volume_type": kind.id,
                    "availability_zone": environment.get("availability_zone"),
                    "description": f"Isthmus: {mapping.disk.id} of {instance}"[:255],
                }
                volume = _grow(cloud, _ensure(cloud, wanted, undo), gib(mapping.disk.size_bytes))
            found.append(_destination_disk(mapping.disk.id, volume, mapping.disk.size_bytes, kind.name))
        undo.pop_all()
    return found


def _destination_disk(disk_id: str, volume: Any, size_bytes: int, storage: str) -> DestinationDisk:
    # A file of a share that was just made is one hole.
    is_zero = names.WRITTEN not in (volume.metadata or {})
    return DestinationDisk(disk_id, volume.id, size_bytes, "raw", storage, is_zero)


def _ensure(
    cloud: Cloud, wanted: Mapping[str, Any], undo: ExitStack | None = None, report: Report | None = None
) -> Any:
    """Return the usable volume of the wanted name; one that failed is made again."""
    volume = find(cloud, wanted["name"])
    if volume is not None and str(volume.status).startswith("error"):
        delete(cloud, volume.id)
        volume = None
    if volume is None:
        volume = cloud.volumes.create_volume(**wanted)
        if undo is not None:
            undo.callback(delete, cloud, volume.id)
    wait_for(cloud, volume.id, report)
    return cloud.volumes.get_volume(volume.id)


def wait_for(cloud: Cloud, volume_id: str, report: Report | None = None, wanted: Sequence[str] = USABLE) -> None:
    """Wait until a volume has one of the wanted statuses. Raises `StepFailed`, `NotFound`."""
    what = f"volume {volume_id}"

    def look() -> str | None:
        with translated(what):
            return settled(cloud.volumes.get_volume(volume_id), tuple(wanted), what)

    wait_until(look, what, report)


def _grow(cloud: Cloud, volume: Any, size: int) -> Any:
    if int(volume.size) >= size:
        return volume
    cloud.volumes.extend_volume(volume.id, size)
    wait_for(cloud, volume.id)
    return cloud.volumes.get_volume(volume.id)


def delete_disks(cloud: Cloud, disks: Sequence[DestinationDisk]) -> None:
    """Delete volumes. Already done: they are gone."""
    for disk in disks:
        delete(cloud, disk.volume_id)


def delete(cloud: Cloud, volume_id: str) -> None:
    """Delete a volume and wait until it is gone. Already done: it is. Raises `Conflict` if a machine has it."""
    what = f"volume {volume_id}"
    asked, deadline = False, time.monotonic() + _DETACH_SECONDS

    def look() -> str | None:
        nonlocal asked
        try:
            with translated(what):
                status = str(cloud.volumes.get_volume(volume_id).status)
        except NotFound:
            return None
        if status == "error_deleting":
            raise StepFailed(f"{what} cannot be deleted by Cinder; see the log of cinder-volume")
        if status == "in-use" and time.monotonic() > deadline:
            raise Conflict(f"{what} is attached; delete its machine first")
        # Cinder refuses to delete what it is still making, copying or detaching.
        if not asked and (status == "available" or status.startswith("error")):
            with translated(what):
                cloud.volumes.delete_volume(volume_id, ignore_missing=True)
            asked = True
        return f"status {status}"

    wait_until(look, what)


def clone_disks(
    cloud: Cloud, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
) -> list[DestinationDisk]:
    """Copy the replica's volumes inside the cloud. Already done: a usable copy has its name."""
    clones = []
    for disk in disks:
        name = names.replica(deployment_id, instance, disk.disk_id)
        volume = copy_of(cloud, disk, name, report)
        clones.append(DestinationDisk(disk.disk_id, volume.id, disk.size_bytes, disk.format, disk.storage))
    return clones


def copy_of(cloud: Cloud, disk: DestinationDisk, name: str, report: Report | None = None) -> Any:
    """Return the usable copy of a disk that has this name; made if it is not there."""
    with translated(f"copy of volume {disk.volume_id}"):
        wanted = {
            "name": name,
            "size": int(cloud.volumes.get_volume(disk.volume_id).size),
            "source_volume_id": disk.volume_id,
            "metadata": {names.WRITTEN: "1"},
        }
        return _ensure(cloud, wanted, report=report)


def delete_clones(cloud: Cloud, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
    """Delete a deployment's copies, whole or not. Already done: there are none."""
    for disk in disks:
        delete_named(cloud, names.replica(deployment_id, instance, disk.disk_id))


def delete_named(cloud: Cloud, name: str) -> None:
    """Delete the volumes of this name. Already done: there are none."""
    with translated(f"volume {name}"):
        found = [each.id for each in cloud.volumes.volumes(details=True, name=name) if each.name == name]
    for volume_id in found:
        delete(cloud, volume_id)
