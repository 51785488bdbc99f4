"""Writing the destination's images: each served for writing, for one owner at a time."""

from collections.abc import Sequence

from isthmus.migration.machine import DestinationDisk
from isthmus.migration.providers.contract import ExportedDisk
from isthmus.migration.providers.images.exports import Exports, Record, near
from isthmus.migration.providers.images.replicas import Replicas


def open_writing(
    exports: Exports, replicas: Replicas, owner: str, disks: Sequence[DestinationDisk]
) -> list[ExportedDisk]:
    """Serve the images, or return the owner's export that still answers (see the contract)."""
    images = [replicas.image(disk) for disk in disks]
    # Absolute names: the runtime directory may serve several destinations.
    names = tuple(str(image.path) for image in images)
    record = Record(_owner(owner), True, names, ())
    with exports.locked():
        exports.refuse_taken(record.owner, names)
        before = exports.find(record.owner)
        served = exports.answering(record) if before == record else None
        if served is None:
            served = exports.start(record, images)
    return [
        ExportedDisk(disk.disk_id, uri, disk.size_bytes, image=near(image))
        for disk, uri, image in zip(disks, served.uris, images, strict=True)
    ]


def close_writing(exports: Exports, owner: str) -> None:
    """Flush and stop. Already done: nothing is served."""
    with exports.locked():
        exports.stop(_owner(owner))


def _owner(owner: str) -> str:
    return f"writing {owner}"
