"""One point in time of all disks of a machine: a snapshot of each volume, an image of a root disk that is none.

Both are found again by their names, which the transfer, the machine, the point and the disk give them.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from isthmus.control.errors import NotFound, StepFailed
from isthmus.migration.machine import Machine
from isthmus.migration.providers.openstack import inventory, names
from isthmus.migration.providers.openstack.connection import Cloud, settled, wait_until
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.reporting import Level, Report

_READY = ("available", "active")
_COMING = ("creating", "queued", "saving")


def find(cloud: Cloud, expected: Mapping[str, str], report: Report) -> dict[str, Any] | None:
    """Return what makes up the point, by disk; None unless all of it is there. `expected` are the names, by disk.

    What is still being made is waited for: its data are of the moment at which it was asked for.
    """
    present = {each.name: each for each in _everything(cloud, "isthmus-reading-")}
    known = [present.get(name) for name in expected.values()]
    if any(each is None or each.status not in (*_READY, *_COMING) for each in known):
        return None
    return _wait_for(cloud, expected, "snapshots that were begun before", report)


def make(cloud: Cloud, server: Any, machine: Machine, expected: Mapping[str, str], report: Report) -> dict[str, Any]:
    """Make the point: of a running machine with several disks while it is paused."""
    with translated(f"volumes of {machine.name}"):
        volume_ids = {device: volume.id for device, volume in inventory.volumes_of(cloud, server)}
    with ExitStack() as stack:
        if server.status == "ACTIVE" and len(expected) > 1:
            _pause(cloud, server, report)
            stack.callback(resume, cloud, server.id)
        for disk_id, name in expected.items():
            with translated(f"snapshot of disk {disk_id} of {machine.name}"):
                if disk_id in volume_ids:
                    cloud.volumes.create_snapshot(volume_id=volume_ids[disk_id], name=name, is_forced=True)
                else:
                    cloud.compute.create_server_image(server, name, wait=False)
        return _wait_for(cloud, expected, f"snapshots of {machine.name}", report)


def delete(cloud: Cloud, prefix: str) -> None:
    """Delete all snapshots and images whose names begin so, and wait until they are gone. Already done: none are."""
    for image in _images(cloud, prefix):
        with translated(f"image {image.name}"):
            cloud.images.delete_image(image.id, ignore_missing=True)
    asked: set[str] = set()

    def look() -> str | None:
        left = _snapshots(cloud, prefix)
        for each in left:
            if each.status == "error_deleting":
                raise StepFailed(f"snapshot {each.id} cannot be deleted by Cinder; see the log of cinder-volume")
        waited_for = [each for each in left if each.id in asked or each.status not in ("available", "error")]
        # One at a time: a snapshot of a file is merged by the running machine's QEMU, and QEMU 7.2 has crashed, and
        # with it the machine, on two merges at once. And Cinder refuses to delete what it is still making.
        if left and not waited_for:
            with translated(f"snapshot {left[0].name}"):
                cloud.volumes.delete_snapshot(left[0].id, ignore_missing=True)
            asked.add(left[0].id)
        return f"{len(left)} of them are there" if left else None

    wait_until(look, f"end of the snapshots {prefix}")


def resume(cloud: Cloud, instance: str) -> None:
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


def _everything(cloud: Cloud, prefix: str) -> list[Any]:
    return [*_snapshots(cloud, prefix), *_images(cloud, prefix)]


def _snapshots(cloud: Cloud, prefix: str) -> list[Any]:
    with translated(f"snapshots {prefix}"):
        return [each for each in cloud.volumes.snapshots(details=True) if str(each.name).startswith(prefix)]


def _images(cloud: Cloud, prefix: str) -> list[Any]:
    with translated(f"images {prefix}"):
        own = cloud.images.images(owner=cloud.project_id)
        return [each for each in own if str(each.name).startswith(prefix)]


def _wait_for(cloud: Cloud, expected: Mapping[str, str], what: str, report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look() -> str | None:
        found.clear()
        found.update({each.name: each for each in _everything(cloud, "isthmus-reading-")})
        for name in expected.values():
            if name not in found:
                # Nova deletes an image that it cannot fill.
                raise StepFailed(f"{what} could not be made; see the logs of cinder-volume and nova-compute")
            if (missing := settled(found[name], _READY, f"snapshot {name}")) is not None:
                return missing
        return None

    wait_until(look, what, report)
    return {disk_id: found[name] for disk_id, name in expected.items()}


def _pause(cloud: Cloud, server: Any, report: Report) -> None:
    """Hold the guest while the snapshots of several disks are made, so that they are of one moment.

    The mark comes first: whoever opens or closes after a crash finds it and lets the guest go on.
    """
    with translated(f"machine {server.name}"):
        cloud.compute.set_server_metadata(server, **{names.PAUSED: "1"})
        cloud.compute.pause_server(server)
        wait_until(lambda: _is(cloud, server.id, "PAUSED"), f"pause of machine {server.name}", report)
    report.event(Level.INFO, f"machine {server.name} is paused while its disks' snapshots are made")


def _is(cloud: Cloud, server_id: str, status: str) -> str | None:
    return settled(cloud.compute.get_server(server_id), (status,), f"machine {server_id}")
