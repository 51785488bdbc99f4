"""The destination's disks: volumes in storage pools, named by transfer or deployment, machine and disk.

A volume's id is POOL/NAME. Whether a copied volume is complete is told by a second, empty volume NAME.complete that
is made when the copy has ended: libvirt can not rename volumes, and a copy whose libvirtd died looks like any other.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.control.errors import Conflict, InvalidInput, StepFailed
from isthmus.migration.machine import DestinationDisk, DiskMapping, Machine
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.libvirt import names
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.documents import parse, text_of
from isthmus.migration.providers.libvirt.faults import is_gone, translated

FORMATS = ("qcow2", "raw")
MARGIN_BYTES = 16 << 20
"""What a pool must have beyond the disks: image metadata, checkpoints' bitmaps, firmware variables."""
BUSY_SECONDS = 600
_FILE_POOLS = frozenset({"dir", "fs", "netfs", "gluster"})
COMPLETE = ".complete"


def find_pool(hypervisor: Hypervisor, name: str) -> Any:
    """Return the active pool; InvalidInput with the next step if there is none of this name."""
    try:
        pool = hypervisor.connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            raise InvalidInput(f"storage pool {name!r} is not on {hypervisor.label}; correct the mapping") from error
        raise
    if not pool.isActive():
        raise InvalidInput(f"storage pool {name!r} of {hypervisor.label} is not started; start it")
    return pool


def find_volume(hypervisor: Hypervisor, volume_id: str) -> Any | None:
    """Return the volume, or None if it (or its pool) is gone."""
    pool_name, _, name = volume_id.partition("/")
    try:
        return hypervisor.connection.storagePoolLookupByName(pool_name).storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def get_volume(hypervisor: Hypervisor, volume_id: str) -> Any:
    """Return the volume; StepFailed if somebody removed it."""
    volume = find_volume(hypervisor, volume_id)
    if volume is None:
        raise StepFailed(
            f"volume {volume_id} is gone from {hypervisor.label}; delete the transfer's disks and begin anew"
        )
    return volume


def ensure_disks(
    hypervisor: Hypervisor, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
) -> Sequence[DestinationDisk]:
    """Make the replica's volumes; if one cannot be made, those made here are deleted (see the contract)."""
    found = []
    with ExitStack() as undo:
        for mapping in disks:
            with translated(f"disk {mapping.disk.id} in storage pool {mapping.destination_storage}"):
                pool = find_pool(hypervisor, mapping.destination_storage)
                disk = _existing_disk(pool, transfer_id, instance, mapping)
                if disk is None:
                    disk = _new_disk(pool, transfer_id, instance, environment, mapping)
                    undo.callback(delete_volume, hypervisor, disk.volume_id)
            found.append(disk)
        undo.pop_all()
    return found


def _existing_disk(pool: Any, transfer_id: str, instance: str, mapping: DiskMapping) -> DestinationDisk | None:
    disk, size = mapping.disk, mapping.disk.size_bytes
    for disk_format in FORMATS:
        name = names.volume(transfer_id, instance, disk.id, disk_format)
        volume = lookup(pool, name)
        if volume is not None:
            _kind, capacity, allocation = volume.info()
            if capacity < size:
                volume.resize(size)
            is_zero = disk_format == "raw" and allocation == 0 and _holds_files(pool)
            return _destination_disk(pool, disk.id, name, max(size, capacity), disk_format, is_zero=is_zero)
    return None


def _new_disk(
    pool: Any, transfer_id: str, instance: str, environment: Environment, mapping: DiskMapping
) -> DestinationDisk:
    disk, size = mapping.disk, mapping.disk.size_bytes
    disk_format = environment.get("disk_format", "qcow2") if _holds_files(pool) else "raw"
    name = names.volume(transfer_id, instance, disk.id, disk_format)
    pool.createXML(volume_xml(name, size, disk_format))
    return _destination_disk(pool, disk.id, name, size, disk_format, is_zero=_holds_files(pool))


def _destination_disk(
    pool: Any, disk_id: str, name: str, size: int, disk_format: str, *, is_zero: bool
) -> DestinationDisk:
    return DestinationDisk(disk_id, f"{pool.name()}/{name}", size, disk_format, pool.name(), is_zero)


def _holds_files(pool: Any) -> bool:
    """Tell a pool of files, new ones of which read as zeros, from one of block devices."""
    return parse(pool.XMLDesc()).get("type") in _FILE_POOLS


def lookup(pool: Any, name: str) -> Any | None:
    """Return the pool's volume of this name, or None."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def volume_xml(name: str, size: int, disk_format: str) -> str:
    """Return the XML of a sparse volume; qcow2 of version 3, whose bitmaps later passes need."""
    root = ET.Element("volume")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "capacity", unit="bytes").text = str(size)
    ET.SubElement(root, "allocation", unit="bytes").text = "0"
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "format", type=disk_format)
    if disk_format == "qcow2":
        ET.SubElement(target, "compat").text = "1.1"
    return text_of(root)


def check_space(
    hypervisor: Hypervisor,
    transfer_id: str,
    machine: Machine,
    environment: Environment,
    disks: Sequence[DiskMapping],
) -> None:
    """Raise InvalidInput if a pool can not take its disks.

    A disk counts with its whole size: a guest that fills its thin disk later must not stop for want of space. With
    `allow_overcommit` it counts with the bytes in use at the source. What this transfer's volumes occupy already
    counts as free.
    """
    for name in sorted({mapping.destination_storage for mapping in disks}):
        pool = find_pool(hypervisor, name)
        needed, taken = 0, 0
        for mapping in (item for item in disks if item.destination_storage == name):
            used = mapping.disk.allocated_bytes
            overcommit = environment.get("allow_overcommit", False) and used is not None
            needed += used if overcommit and used is not None else mapping.disk.size_bytes
            taken += _allocated(pool, transfer_id, machine, mapping.disk.id)
        free = pool.info()[3] + taken
        if needed + MARGIN_BYTES > free:
            raise InvalidInput(
                f"storage pool {name!r} of {hypervisor.label} has {free} bytes free and the machine's disks need "
                f"{needed + MARGIN_BYTES}; free space there, map the disks elsewhere, or set allow_overcommit"
            )


def _allocated(pool: Any, transfer_id: str, machine: Machine, disk_id: str) -> int:
    """Return the bytes that the transfer's volumes for a disk occupy, whichever way the caller names the machine."""
    candidates = [
        lookup(pool, names.volume(transfer_id, instance, disk_id, disk_format))
        for instance in {machine.id, machine.name}
        for disk_format in FORMATS
    ]
    return sum(volume.info()[2] for volume in candidates if volume is not None)


def delete_disks(hypervisor: Hypervisor, disks: Sequence[DestinationDisk]) -> None:
    """Delete volumes and their marks. Already done: they are gone."""
    for disk in disks:
        with translated(f"volume {disk.volume_id}"):
            for volume_id in (disk.volume_id, disk.volume_id + COMPLETE):
                delete_volume(hypervisor, volume_id)


def delete_volume(hypervisor: Hypervisor, volume_id: str, wait_seconds: float = BUSY_SECONDS) -> None:
    """Delete one volume. Already done: it is gone. A copy that libvirtd still makes for a lost caller is awaited."""
    deadline = time.monotonic() + wait_seconds
    while True:
        volume = find_volume(hypervisor, volume_id)
        if volume is None:
            return
        try:
            volume.delete()
        except libvirt.libvirtError as error:
            if is_gone(error):
                return
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or "allocat" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise Conflict(f"volume {volume_id} is still being copied; try again when that has ended") from error
            time.sleep(0.5)


def set_source(disk: ET.Element, volume: Any) -> None:
    """Make a volume the source of a domain's <disk>, which differs for files and block devices."""
    block = volume.info()[0] == libvirt.VIR_STORAGE_VOL_BLOCK
    disk.set("type", "block" if block else "file")
    ET.SubElement(disk, "source", {"dev" if block else "file": volume.path()})


def path_of(hypervisor: Hypervisor, disk: DestinationDisk) -> str:
    """Return the volume's path on the hypervisor."""
    return str(get_volume(hypervisor, disk.volume_id).path())
