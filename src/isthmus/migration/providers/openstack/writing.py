"""Writing the destination's volumes, and keeping and restoring their content."""

import subprocess
from collections.abc import Sequence

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import DestinationDisk
from isthmus.migration.providers.contract import ExportedDisk
from isthmus.migration.providers.images.exports import Record
from isthmus.migration.providers.openstack import attachments, names, volumes
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import translated


def open_writing(cloud: Cloud, owner: str, disks: Sequence[DestinationDisk]) -> list[ExportedDisk]:
    """Attach the volumes and serve them, or return the owner's export that still answers (see the contract)."""
    ids = tuple(disk.volume_id for disk in disks)
    with translated("volumes to be written"):
        for volume_id in ids:
            # Before the first byte can be written: it no longer reads as zeros.
            cloud.volumes.set_volume_metadata(volume_id, **{names.WRITTEN: "1"})
    record = Record(_record_owner(cloud, owner), True, ids, ())
    served = attachments.serve(cloud, record, ids, mode=attachments.READ_WRITE, owner=_attached_by(owner))
    return [ExportedDisk(disk.disk_id, uri, disk.size_bytes) for disk, uri in zip(disks, served.uris, strict=True)]


def close_writing(cloud: Cloud, owner: str) -> None:
    """Flush, stop and detach. Already done: nothing is open."""
    attachments.stop(cloud, _record_owner(cloud, owner), _attached_by(owner))


def create_snapshots(cloud: Cloud, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
    """Keep copies of the volumes. Already done: they are there."""
    for disk in disks:
        volumes.copy_of(cloud, disk, names.kept(deployment_id, disk.volume_id))


def restore_snapshots(cloud: Cloud, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
    """Write the kept content over the volumes. Raises `StepFailed` if none is kept."""
    owner = f"restoring {deployment_id}"
    for disk in disks:
        with translated(f"kept content of volume {disk.volume_id}"):
            kept = volumes.find(cloud, names.kept(deployment_id, disk.volume_id))
        if kept is None:
            raise StepFailed(f"nothing is kept of volume {disk.volume_id}; execute the transfer again")
        copy = DestinationDisk(disk.disk_id, kept.id, disk.size_bytes, disk.format, disk.storage)
        try:
            source, target = open_writing(cloud, owner, [copy, disk])
            done = subprocess.run(
                ["nbdcopy", "--flush", source.uri, target.uri], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise StepFailed(f"volume {disk.volume_id} cannot be restored: {done.stderr.strip()[-300:]}")
        finally:
            close_writing(cloud, owner)


def delete_snapshots(cloud: Cloud, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
    """Delete the kept copies. Already done: there are none."""
    for disk in disks:
        volumes.delete_named(cloud, names.kept(deployment_id, disk.volume_id))


def _record_owner(cloud: Cloud, owner: str) -> str:
    return f"writing {cloud.label} {owner}"


def _attached_by(owner: str) -> str:
    return f"writing {owner}"
