"""Copies of volumes inside the hypervisor, made by libvirtd: clones for deployments, and content kept aside.

libvirtd goes on with a copy when its caller dies, and leaves half a copy when it dies itself. So a copy counts only
with its mark (`volumes.COMPLETE`); without one it is deleted and made again.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import libvirt

from isthmus.migration.machine import DestinationDisk
from isthmus.migration.providers.libvirt import names, volumes
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.faults import translated
from isthmus.migration.reporting import Progress, Report


def clone_disks(
    hypervisor: Hypervisor, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
) -> Sequence[DestinationDisk]:
    """Copy the replica's volumes for one deployment (see the contract)."""
    clones = []
    for disk in disks:
        name = names.volume(deployment_id, instance, disk.disk_id, disk.format)
        with translated(f"volume {disk.volume_id} (copying it to {name})"):
            _copy(hypervisor, disk.volume_id, f"{disk.storage}/{name}", disk, report)
        clones.append(replace(disk, volume_id=f"{disk.storage}/{name}", is_zero=False))
    return clones


def delete_clones(hypervisor: Hypervisor, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
    """Delete the deployment's clones by their names, complete or not (see the contract)."""
    for disk in disks:
        clone = f"{disk.storage}/{names.volume(deployment_id, instance, disk.disk_id, disk.format)}"
        with translated(f"volume {clone} (deleting it)"):
            for volume_id in (clone, clone + volumes.COMPLETE):
                volumes.delete_volume(hypervisor, volume_id)


def create_snapshots(hypervisor: Hypervisor, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
    """Keep the content aside as a copy. A copy works for every pool and format; libvirt's snapshots do not."""
    for disk in disks:
        with translated(f"volume {disk.volume_id} (keeping its content)"):
            _copy(hypervisor, disk.volume_id, _kept(disk, deployment_id), disk, None)


def restore_snapshots(hypervisor: Hypervisor, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
    """Put the kept content back, always anew: an earlier attempt may have ended half way."""
    for disk in disks:
        with translated(f"volume {disk.volume_id} (bringing back its content)"):
            kept = volumes.get_volume(hypervisor, _kept(disk, deployment_id))
            volumes.delete_volume(hypervisor, disk.volume_id)
            _create_from(hypervisor, kept, disk.volume_id, disk, None)


def delete_snapshots(hypervisor: Hypervisor, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
    """Forget the kept content. Already done: nothing is kept."""
    for disk in disks:
        with translated(f"volume {disk.volume_id} (forgetting its kept content)"):
            for volume_id in (_kept(disk, deployment_id), _kept(disk, deployment_id) + volumes.COMPLETE):
                volumes.delete_volume(hypervisor, volume_id)


def _kept(disk: DestinationDisk, deployment_id: str) -> str:
    return f"{disk.volume_id}.before-{names.safe(deployment_id)}"


def _copy(hypervisor: Hypervisor, source_id: str, target_id: str, disk: DestinationDisk, report: Report | None) -> None:
    if volumes.find_volume(hypervisor, target_id + volumes.COMPLETE) is not None:
        return
    volumes.delete_volume(hypervisor, target_id)
    source = volumes.get_volume(hypervisor, source_id)
    _create_from(hypervisor, source, target_id, disk, report)
    pool, _, name = (target_id + volumes.COMPLETE).partition("/")
    volumes.find_pool(hypervisor, pool).createXML(volumes.volume_xml(name, 0, "raw"))


def _create_from(
    hypervisor: Hypervisor, source: Any, target_id: str, disk: DestinationDisk, report: Report | None
) -> None:
    """Let libvirtd copy, in a thread so that a wish to stop is heard; what it has begun it then ends by itself."""
    pool_name, _, name = target_id.partition("/")
    pool = volumes.find_pool(hypervisor, pool_name)
    text = volumes.volume_xml(name, disk.size_bytes, disk.format)
    failures: list[libvirt.libvirtError] = []

    def copy() -> None:
        try:
            pool.createXMLFrom(text, source)
        except libvirt.libvirtError as error:
            failures.append(error)

    thread = threading.Thread(target=copy, name=f"copy {name}", daemon=True)
    total = source.info()[2]
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
        if report is not None:
            report.check()
            volume = volumes.lookup(pool, name)
            done = volume.info()[2] if volume is not None else 0
            report.progress(Progress(f"copy of disk {disk.disk_id}", min(done, total), total))
    if failures:
        raise failures[0]
