"""What a hypervisor can take of one more machine."""

import re
from collections.abc import Sequence
from typing import Any

import libvirt

from isthmus.migration.machine import Capacity, Firmware
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.documents import parse
from isthmus.migration.providers.libvirt.faults import is_gone, translated
from isthmus.migration.providers.libvirt.inventory import HELPER_PREFIXES, domain_tree

_MACHINE = "q35"


def capacity(hypervisor: Hypervisor) -> Capacity:
    """Return processors, memory, firmware, and the names and MAC addresses in use."""
    connection = hypervisor.connection
    with translated(f"hypervisor {hypervisor.label}"):
        kind = "kvm" if re.search(r"<domain type=.kvm.", connection.getCapabilities()) else "qemu"
        _model, memory_mb, *_cpus = connection.getInfo()
        domains = [each for each in connection.listAllDomains() if not each.name().startswith(HELPER_PREFIXES)]
        addresses: dict[str, str] = {}
        for domain in domains:
            for address in _mac_addresses(domain):
                addresses.setdefault(address, domain.name())
        return Capacity(
            max_cpu=connection.getMaxVcpus(kind),
            memory_mb=memory_mb,
            free_memory_mb=connection.getFreeMemory() >> 20,
            firmwares=_firmwares(connection, kind),
            machines=tuple(sorted(domain.name() for domain in domains)),
            mac_addresses=addresses,
        )


def _mac_addresses(domain: Any) -> Sequence[str]:
    try:
        found = domain_tree(domain).findall("devices/interface/mac")
    except libvirt.libvirtError as error:
        if is_gone(error):  # it went away while we were listing
            return ()
        raise
    return [element.get("address", "").lower() for element in found]


def _firmwares(connection: Any, kind: str) -> tuple[Firmware, ...]:
    """Return BIOS, and EFI where libvirt finds an image of it (its domain capabilities' enum `firmware`)."""
    tree = parse(connection.getDomainCapabilities(None, "x86_64", _MACHINE, kind))
    known = {value.text for value in tree.findall("os/enum[@name='firmware']/value")}
    return (Firmware.BIOS, Firmware.EFI) if "efi" in known else (Firmware.BIOS,)
