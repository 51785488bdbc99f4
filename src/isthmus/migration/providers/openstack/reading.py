"""Reading a machine's disks: a snapshot of each at one point, a volume of each snapshot, served read-only.

The snapshots are the point: as long as all of them are there, a reading that was cut short, even with its worker, is
opened again under the same name and holds the same bytes.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from isthmus.control.errors import NotFound, StepFailed
from isthmus.migration.machine import Machine
from isthmus.migration.providers.contract import ChangeSource, ExportedDisk, Reading
from isthmus.migration.providers.images.exports import Record
from isthmus.migration.providers.openstack import attachments, inventory, names, volumes
from isthmus.migration.providers.openstack.connection import Cloud, settled, wait_until
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.reporting import Level, Report


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
    owner = _owner(wanted)
    record = Record(f"{owner} {cloud.label}", False, tuple(disk.id for disk in machine.disks), (), wanted.point)
    servers = attachments.exports(cloud)
    with servers.locked():
        served = servers.answering(record) if servers.find(record.owner) == record else None
    if served is None:
        snapshots = _point(cloud, server, machine, wanted, report)
        ids = _volumes_of(cloud, machine, wanted, snapshots, report)
        served = attachments.serve(cloud, record, ids, mode=attachments.READ_ONLY, owner=owner)
    changes = ChangeSource.HASH_MAP if wanted.since is not None else ChangeSource.ALLOCATION
    disks = [
        ExportedDisk(disk.id, uri, disk.size_bytes, changes)
        for disk, uri in zip(machine.disks, served.uris, strict=True)
    ]
    return Reading(wanted.point, tuple(disks))


def close_reading(cloud: Cloud, transfer_id: str, instance: str) -> None:
    """Stop serving; delete all the transfer's volumes and snapshots: none is needed for the next pass."""
    owner = _owner(Wanted(transfer_id, instance, "", None))
    attachments.stop(cloud, f"{owner} {cloud.label}", owner)
    prefix = names.readings(transfer_id, instance)
    with translated(f"snapshots of {instance}"):
        made = [each.id for each in cloud.volumes.volumes(details=True) if str(each.name).startswith(prefix)]
    for volume_id in made:
        volumes.delete(cloud, volume_id)
    _delete_snapshots(cloud, prefix)
    _resume(cloud, instance)


def _owner(wanted: Wanted) -> str:
    return f"reading {wanted.transfer_id} {wanted.instance}"


def _named_snapshots(cloud: Cloud, prefix: str) -> list[Any]:
    with translated(f"snapshots {prefix}"):
        return [each for each in cloud.volumes.snapshots(details=True) if str(each.name).startswith(prefix)]


def _delete_snapshots(cloud: Cloud, prefix: str) -> None:
    for snapshot in _named_snapshots(cloud, prefix):
        with translated(f"snapshot {snapshot.name}"):
            cloud.volumes.delete_snapshot(snapshot.id, ignore_missing=True)

    def look() -> str | None:
        left = _named_snapshots(cloud, prefix)
        if any(each.status == "error_deleting" for each in left):
            raise StepFailed(f"snapshot {left[0].id} cannot be deleted by Cinder; see the log of cinder-volume")
        return f"{len(left)} snapshots are there" if left else None

    wait_until(look, f"snapshots {prefix}")


def _point(cloud: Cloud, server: Any, machine: Machine, wanted: Wanted, report: Report) -> dict[str, Any]:
    """Return the snapshots of the point by disk; all are made anew unless all are there."""
    expected = {
        disk.id: names.reading(wanted.transfer_id, wanted.instance, wanted.point, disk.id) for disk in machine.disks
    }
    prefix = names.readings(wanted.transfer_id, wanted.instance)
    present = {each.name: each for each in _named_snapshots(cloud, prefix) if each.status == "available"}
    if set(expected.values()) <= present.keys():
        return {disk_id: present[name] for disk_id, name in expected.items()}
    close_reading(cloud, wanted.transfer_id, wanted.instance)
    with translated(f"snapshots of {machine.name}"):
        volume_ids = {device: volume.id for device, volume in inventory.volumes_of(cloud, server)}
    with ExitStack() as stack:
        if server.status == "ACTIVE" and len(volume_ids) > 1:
            _pause(cloud, server, report)
            stack.callback(_resume, cloud, server.id)
        made = {}
        for disk_id, name in expected.items():
            with translated(f"snapshot of disk {disk_id} of {machine.name}"):
                made[disk_id] = cloud.volumes.create_snapshot(volume_id=volume_ids[disk_id], name=name, is_forced=True)
        for disk_id, snapshot in made.items():
            _wait_for_snapshot(cloud, snapshot.id, f"snapshot of disk {disk_id} of {machine.name}", report)
    return made


def _wait_for_snapshot(cloud: Cloud, snapshot_id: str, what: str, report: Report) -> None:
    def look() -> str | None:
        with translated(what):
            return settled(cloud.volumes.get_snapshot(snapshot_id), ("available",), what)

    wait_until(look, what, report)


def _pause(cloud: Cloud, server: Any, report: Report) -> None:
    """Hold the guest while the snapshots of several disks are made, so that they are of one moment.

    The mark comes first: whoever opens or closes after a crash finds it and lets the guest go on.
    """
    with translated(f"machine {server.name}"):
        cloud.compute.set_server_metadata(server, **{names.PAUSED: "1"})
        cloud.compute.pause_server(server)
        wait_until(lambda: _is(cloud, server.id, "PAUSED"), f"pause of machine {server.name}", report)
    report.event(Level.INFO, f"machine {server.name} is paused while its disks' snapshots are made")


def _resume(cloud: Cloud, instance: str) -> None:
    """Let a machine that we paused go on. Already done: it is gone, or we did not pause it."""
    try:
        server = inventory.find_server(cloud, instance)
    except NotFound:
        return
    if names.PAUSED not in (server.metadata or {}):
        return
    with translated(f"machine {server.name}"):
        if server.status == "PAUSED":
            cloud.compute.unpause_server(server)
            wait_until(lambda: _is(cloud, server.id, "ACTIVE"), f"end of the pause of machine {server.name}")
        cloud.compute.delete_server_metadata(server, [names.PAUSED])


def _is(cloud: Cloud, server_id: str, status: str) -> str | None:
    return settled(cloud.compute.get_server(server_id), (status,), f"machine {server_id}")


def _volumes_of(
    cloud: Cloud, machine: Machine, wanted: Wanted, snapshots: dict[str, Any], report: Report
) -> Sequence[str]:
    """Return the volumes made of the snapshots, in the order of the disks."""
    made = []
    for disk in machine.disks:
        name = names.reading(wanted.transfer_id, wanted.instance, wanted.point, disk.id)
        snapshot = snapshots[disk.id]
        with translated(f"volume of {name}"):
            volume = volumes.find(cloud, name) or cloud.volumes.create_volume(
                name=name, size=int(snapshot.size), snapshot_id=snapshot.id
            )
        made.append(volume.id)
    for volume_id in made:
        volumes.wait_for(cloud, volume_id, report)
    return made
