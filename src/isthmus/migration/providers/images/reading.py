"""Reading a machine's images: each served read-only, as it is. Images have no points in time of their own."""

import hashlib
from dataclasses import dataclass

from isthmus.migration.providers.contract import ChangeSource, ExportedDisk, Reading
from isthmus.migration.providers.images.catalogue import Found
from isthmus.migration.providers.images.exports import Exports, Record, Served, identity, near
from isthmus.migration.providers.images.packages import verify
from isthmus.migration.reporting import Level, Report


@dataclass(frozen=True)
class Wanted:
    """What the caller of `open_reading` asked for."""

    transfer_id: str
    instance: str
    point: str
    since: str | None


def open_reading(exports: Exports, found: Found, wanted: Wanted, report: Report) -> Reading:
    """Serve the images, or return the reading of the same point that is still open (see the contract)."""
    owner = _owner(wanted.transfer_id, wanted.instance)
    identities = tuple(identity(image) for image in found.images)
    with exports.locked():
        before = exports.find(owner)
        if before and _is_same(before, wanted, identities) and (served := exports.answering(before)):
            return _reading(served, found, wanted)
    # Outside the lock: it may take long, and others want to open theirs.
    if found.package and not verify(found.package, report):
        report.event(Level.INFO, f"{found.machine.id} has no manifest, so nothing tells whether it was changed")
    with exports.locked():
        point = wanted.point
        if before and before.point.startswith(wanted.point) and before.identities != identities:
            # What was read under this point was of other files: it must not be mixed with these.
            point = f"{wanted.point}-{_digest(identities)}"
        disks = tuple(disk.id for disk in found.machine.disks)
        served = exports.start(Record(owner, False, disks, identities, point), found.images)
        return _reading(served, found, wanted)


def close_reading(exports: Exports, transfer_id: str, instance: str) -> None:
    """Stop serving. Already done: nothing is served."""
    with exports.locked():
        exports.stop(_owner(transfer_id, instance))


def _owner(transfer_id: str, instance: str) -> str:
    return f"reading {transfer_id} {instance}"


def _digest(identities: tuple[str, ...]) -> str:
    return hashlib.blake2s(" ".join(identities).encode(), digest_size=4).hexdigest()


def _is_same(record: Record, wanted: Wanted, identities: tuple[str, ...]) -> bool:
    same_point = record.point == wanted.point or record.point.startswith(f"{wanted.point}-")
    return same_point and record.identities == identities


def _reading(served: Served, found: Found, wanted: Wanted) -> Reading:
    changes = ChangeSource.HASH_MAP if wanted.since is not None else ChangeSource.ALLOCATION
    return Reading(
        served.record.point,
        tuple(
            ExportedDisk(disk.id, uri, disk.size_bytes, changes, image=near(image, known))
            for disk, uri, image, known in zip(
                found.machine.disks, served.uris, found.images, served.record.identities, strict=True
            )
        ),
    )
