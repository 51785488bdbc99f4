"""Reading a machine that is off: its QEMU is started with the processors stopped, so the guest never runs.

The mark that says "Isthmus woke it" is put into the persistent definition just before the start, so that the live
copy has it from its first moment, and taken out of the persistent one just after. A crash in between leaves a mark
that the next call removes; no moment exists in which a machine of ours is awake and unmarked.
"""

from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.migration.providers.libvirt import names
from isthmus.migration.providers.libvirt.documents import parse, text_of
from isthmus.migration.providers.libvirt.faults import is_gone, translated


def wake(domain: Any, transfer_id: str) -> None:
    """Start the machine paused and marked. Already done: it is active."""
    if domain.isActive():
        return
    mark = ET.Element("woken", {"transfer": transfer_id})
    with translated(f"machine {domain.name()} (starting it paused, to read its disks)"):
        _set_mark(domain, text_of(mark), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        try:
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        finally:
            _set_mark(domain, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def woken_by(domain: Any) -> str | None:
    """Return the transfer that woke the machine; None if it is off or somebody else started it."""
    if not domain.isActive():
        return None
    mark = _mark(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return mark.get("transfer") if mark is not None else None


def put_back(domain: Any) -> None:
    """Bring a machine that we woke back to being off; one that runs by now belongs to whoever let it run.

    Already done: it is off, or was never woken.
    """
    with translated(f"machine {domain.name()} (stopping it after reading)"):
        if domain.isPersistent() and _mark(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG) is not None:
            _set_mark(domain, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        if woken_by(domain) is None:
            return
        if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)  # QEMU writes its bitmaps out
        else:
            _set_mark(domain, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _mark(domain: Any, where: int) -> ET.Element | None:
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, names.METADATA_URI, where)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise
    found = parse(text)
    return found if found.tag.rpartition("}")[2] == "woken" else None


def _set_mark(domain: Any, text: str | None, where: int) -> None:
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, names.METADATA_KEY, names.METADATA_URI, where)
