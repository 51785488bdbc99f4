"""The checkpoints of a transfer on its source machine: libvirt's names for QEMU's persistent dirty bitmaps."""

from typing import Any

import libvirt

from isthmus.migration.providers.libvirt import names
from isthmus.migration.providers.libvirt.documents import parse
from isthmus.migration.providers.libvirt.faults import is_gone, translate
from isthmus.migration.providers.libvirt.monitor import remove_bitmaps


def of_transfer(domain: Any, transfer_id: str) -> list[str]:
    """Return the names of the transfer's checkpoints; other people's are never in it."""
    prefix = names.checkpoints_of(transfer_id)
    return sorted(name for item in domain.listAllCheckpoints() if (name := item.getName()).startswith(prefix))


def disks_in(domain: Any, name: str) -> frozenset[str]:
    """Return the target names of the disks that the checkpoint follows; none if there is no such checkpoint."""
    try:
        text = domain.checkpointLookupByName(name).getXMLDesc()
    except libvirt.libvirtError as error:
        if is_gone(error):
            return frozenset()
        raise
    disks = parse(text).findall("disks/disk[@checkpoint='bitmap']")
    return frozenset(disk.get("name", "") for disk in disks)


def delete(domain: Any, name: str) -> None:
    """Delete a checkpoint with its bitmaps. Already done: it is gone. The domain must be active.

    After a crash of QEMU a bitmap is inconsistent or missing, and libvirt can not merge it into its parent. Then
    libvirt forgets the checkpoint alone, and what is left of its bitmaps is removed from the images by name.
    """
    try:
        domain.checkpointLookupByName(name).delete()
    except libvirt.libvirtError as error:
        if is_gone(error):
            return
        _delete_broken(domain, name, error)


def _delete_broken(domain: Any, name: str, cause: libvirt.libvirtError) -> None:
    try:
        checkpoint = domain.checkpointLookupByName(name)
        checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return
        raise translate(error, f"checkpoint {name} of machine {domain.name()}") from cause
    remove_bitmaps(domain, name)
