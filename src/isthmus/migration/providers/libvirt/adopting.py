"""A replica that begins as a copy of a machine that is here already: the way home sends only what has changed since."""

from collections.abc import Sequence

from isthmus.control.errors import NotFound, StepFailed
from isthmus.migration.machine import DestinationDisk, DiskMapping
from isthmus.migration.providers.libvirt import copying, volumes
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.faults import translated
from isthmus.migration.providers.libvirt.inventory import domain_disks, domain_tree, find_domain, volume_at
from isthmus.migration.reporting import Level, Report


def adopt_machine(
    hypervisor: Hypervisor,
    transfer_id: str,
    instance: str,
    machine: str,
    *,
    disks: Sequence[DiskMapping],
    report: Report,
) -> Sequence[DestinationDisk]:
    """Copy the machine's volumes to where the replica's disks are looked for (see the contract)."""
    try:
        domain = find_domain(hypervisor, machine)
    except NotFound:
        report.event(Level.WARNING, f"{machine} is not at {hypervisor.label} any more: all is copied anew")
        return ()
    with translated(f"machine {machine} (copying its disks)"):
        if domain.isActive():
            raise StepFailed(f"machine {machine} runs at {hypervisor.label}; shut it down first")
        found = domain_disks(hypervisor, domain_tree(domain))
        if len(found) != len(disks):
            report.event(Level.WARNING, f"{machine} has {len(found)} disks, not {len(disks)}: all is copied anew")
            return ()
        own = []
        for mapping, disk in zip(disks, found, strict=True):
            volume = volume_at(hypervisor, disk.path) if disk.path else None
            if volume is None or disk.format not in volumes.FORMATS:
                report.event(Level.WARNING, f"disk {disk.target} of {machine} is no volume here: all is copied anew")
                return ()
            volume_id = f"{volume.storagePoolLookupByVolume().name()}/{volume.name()}"
            pool = volumes.find_pool(hypervisor, mapping.destination_storage).name()
            own.append(DestinationDisk(mapping.disk.id, volume_id, volume.info()[1], disk.format, pool))
        copies = copying.clone_disks(hypervisor, transfer_id, instance, own, report)
        for copy in copies:
            # From here on they are a replica's disks; a mark would have a later copy taken for complete.
            volumes.delete_volume(hypervisor, copy.volume_id + volumes.COMPLETE)
    return copies
