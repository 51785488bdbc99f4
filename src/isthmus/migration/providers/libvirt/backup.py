"""libvirt's pull-mode backup job as we use it: its XML in both directions.

Who owns a job, and for which point it was begun, is told by its exports' names, the one text of ours that libvirt
keeps with the job: TRANSFER.POINT.SUFFIX.DISK, the first two as short hashes, the suffix as it is ("0" for none).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.migration.providers.contract import ChangeSource
from isthmus.migration.providers.libvirt.documents import parse, text_of
from isthmus.migration.providers.libvirt.endpoints import Endpoint
from isthmus.migration.providers.libvirt.faults import is_gone
from isthmus.migration.providers.libvirt.inventory import DomainDisk
from isthmus.migration.providers.libvirt.names import short

BITMAP = "dirty"
"""Name under which a job shows its dirty bitmap: meta context qemu:dirty-bitmap:dirty."""


@dataclass(frozen=True)
class DiskPlan:
    """How one disk takes part in a job. `since` is the checkpoint to count changes from."""

    disk: DomainDisk
    tracked: bool
    since: str | None


@dataclass(frozen=True)
class OpenJob:
    """A job that runs on a domain. `incremental` are the disks whose changes it shows."""

    transfer: str
    point: str
    suffix: str
    disks: tuple[str, ...]
    incremental: frozenset[str]
    port: int

    @classmethod
    def of(cls, domain: Any) -> "OpenJob | None":
        """Return the domain's backup job, None if there is none; somebody else's has an empty `transfer`."""
        try:
            root = parse(domain.backupGetXMLDesc())
        except libvirt.libvirtError as error:
            if is_gone(error):
                return None
            raise
        disks = root.findall("disks/disk[@backup='yes']")
        exports = [disk.get("exportname", "").split(".", 3) for disk in disks]
        ours = bool(exports) and all(len(parts) == 4 for parts in exports)
        server = root.find("server")
        return cls(
            transfer=exports[0][0] if ours else "",
            point=exports[0][1] if ours else "",
            suffix=exports[0][2] if ours else "",
            disks=tuple(disk.get("name", "") for disk in disks),
            incremental=frozenset(disk.get("name", "") for disk in disks if disk.get("exportbitmap")),
            port=int(server.get("port", 0)) if server is not None else 0,
        )


@dataclass(frozen=True)
class Identity:
    """Which reading a job is. `suffix` tells a reading begun anew under the same `point` from the lost one."""

    transfer_id: str
    point: str
    suffix: str = ""

    @property
    def full_point(self) -> str:
        """The point as the caller gets it."""
        return f"{self.point}-{self.suffix}" if self.suffix else self.point

    def export_name(self, disk_id: str) -> str:
        """Return the name of a disk's export; NBD allows 4096 bytes."""
        return f"{short(self.transfer_id)}.{short(self.point)}.{self.suffix or '0'}.{disk_id}"


def job_xml(identity: Identity, plans: Sequence[DiskPlan], endpoint: Endpoint, scratch_directory: str | None) -> str:
    """Return the <domainbackup> that exports all disks as of now."""
    root = ET.Element("domainbackup", mode="pull")
    if endpoint.socket is not None:
        ET.SubElement(root, "server", transport="unix", socket=endpoint.socket)
    else:
        ET.SubElement(root, "server", transport="tcp", tls="yes", name=str(endpoint.address), port=str(endpoint.port))
    disks = ET.SubElement(root, "disks")
    for plan in plans:
        target = plan.disk.target
        disk = ET.SubElement(disks, "disk", name=target, backup="yes", type="file")
        disk.set("exportname", identity.export_name(target))
        if plan.since is not None:
            disk.set("backupmode", "incremental")
            disk.set("incremental", plan.since)
            disk.set("exportbitmap", BITMAP)
        else:
            disk.set("backupmode", "full")
        ET.SubElement(disk, "scratch", file=_scratch_file(identity, plan.disk, scratch_directory))
    return text_of(root)


def _scratch_file(identity: Identity, disk: DomainDisk, directory: str | None) -> str:
    """Return where QEMU keeps blocks that the guest overwrites meanwhile: beside a disk's file unless told otherwise.

    It is named here, though libvirt could choose, because libvirt 9 does so only for an XML that its own schema
    refuses. libvirt removes it when the job ends.
    """
    beside = disk.path.rpartition("/")[0] if disk.kind in ("file", "volume") and disk.path else "/var/tmp"  # noqa: S108
    if beside.startswith("/dev/"):
        beside = "/var/tmp"  # noqa: S108 - a volume that is a block device
    return f"{directory or beside}/isthmus-{short(identity.transfer_id, identity.full_point, disk.target)}.scratch"


def checkpoint_xml(name: str, plans: Sequence[DiskPlan]) -> str | None:
    """Return the <domaincheckpoint> to make with the job; None if no disk can have one."""
    if not any(plan.tracked for plan in plans):
        return None
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    disks = ET.SubElement(root, "disks")
    for plan in plans:
        kind = {"checkpoint": "bitmap", "bitmap": name} if plan.tracked else {"checkpoint": "no"}
        ET.SubElement(disks, "disk", {"name": plan.disk.target, **kind})
    return text_of(root)


def change_source(*, incremental: bool, since: str | None) -> ChangeSource:
    """Return what decides the reading of a disk, given whether the job shows its changes."""
    if incremental:
        return ChangeSource.DIRTY_BITMAP
    return ChangeSource.HASH_MAP if since is not None else ChangeSource.ALLOCATION
