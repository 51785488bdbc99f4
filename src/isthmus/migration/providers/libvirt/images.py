"""Whether a stopped machine's image files are what its definition says.

libvirt believes the definition: of a qcow2 image whose header is lost it reports whatever size the bytes there spell.
"""

from isthmus.control.errors import StepFailed
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.faults import translated
from isthmus.migration.providers.libvirt.inventory import domain_disks, domain_tree, find_domain, volume_at

_MAGIC = {"qcow2": b"QFI\xfb"}
"""First bytes of image formats (QEMU's docs/interop/qcow2.txt)."""


def refuse_broken(hypervisor: Hypervisor, instance: str) -> None:
    """Raise StepFailed if an image of a machine that is off does not begin as its format does.

    A machine that is on has its images open: they are good. Images outside all storage pools cannot be looked into.
    """
    domain = find_domain(hypervisor, instance)
    with translated(f"machine {instance}"):
        if domain.isActive():
            return
        for disk in domain_disks(hypervisor, domain_tree(domain)):
            wanted = _MAGIC.get(disk.format)
            if wanted and disk.path and _first_bytes(hypervisor, disk.path, len(wanted)) not in (None, wanted):
                raise StepFailed(
                    f"disk {disk.target} of machine {domain.name()} is damaged: {disk.path} is not a {disk.format} "
                    "image; restore it, or correct the machine's definition, and execute the transfer again"
                )


def _first_bytes(hypervisor: Hypervisor, path: str, length: int) -> bytes | None:
    """Return how a volume begins, as libvirt's daemon reads it, so also on another host; None outside all pools."""
    volume = volume_at(hypervisor, path)
    if volume is None:
        return None
    stream = hypervisor.connection.newStream()
    volume.download(stream, 0, length)
    found = b""
    while len(found) < length and (part := stream.recv(length - len(found))):
        found += part
    stream.finish()
    return found
