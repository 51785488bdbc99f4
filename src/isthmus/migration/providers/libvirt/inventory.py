"""What a hypervisor has: machines, networks, pools, read from libvirt's XML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.control.errors import NotFound
from isthmus.migration import patterns
from isthmus.migration.machine import Disk, Firmware, Machine, Network, Nic, PowerState, StorageBackend
from isthmus.migration.providers.libvirt import names
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.documents import parse, required
from isthmus.migration.providers.libvirt.faults import is_gone, translate, translated
from isthmus.migration.providers.libvirt.guest_facts import agent_connected, guest_facts

HELPER_PREFIXES = ("isthmus-writer-", "isthmus-trial-")
_BITMAP_FORMATS = frozenset({"qcow2"})
_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.PAUSED,
}


@dataclass(frozen=True)
class DomainDisk:
    """A disk as the domain's XML has it. `path` is the file or block device, None for network sources."""

    target: str
    kind: str
    format: str
    bus: str
    path: str | None
    pool: str | None
    read_only: bool
    shareable: bool
    compat: str | None
    encrypted: bool = False
    backing_files: int = 0

    @property
    def can_track_changes(self) -> bool:
        """Whether a persistent dirty bitmap can live in it: qcow2 of version 3 (compat 1.1), writable."""
        return self.format in _BITMAP_FORMATS and self.compat != "0.10" and not self.read_only


def find_domain(hypervisor: Hypervisor, instance: str) -> Any:
    """Return the domain with this UUID or name; NotFound if there is none."""
    connection = hypervisor.connection
    for look_up in (connection.lookupByUUIDString, connection.lookupByName):
        try:
            return look_up(instance)
        except libvirt.libvirtError as error:
            if not is_gone(error) and error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                raise translate(error, f"machine {instance}") from error
    raise NotFound(f"machine {instance} does not exist on {hypervisor.label}; list the endpoint's instances")


def domain_tree(domain: Any, *, inactive: bool = False) -> ET.Element:
    """Return the domain's XML; the live one, where it runs, unless `inactive`."""
    return parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if inactive else 0))


def domain_disks(hypervisor: Hypervisor, tree: ET.Element) -> Sequence[DomainDisk]:
    """Return the disks that hold data, in the XML's order: no CD-ROM, no floppy, no empty drive."""
    return [
        _domain_disk(hypervisor, element)
        for element in tree.findall("devices/disk")
        if element.get("device", "disk") in ("disk", "lun") and element.find("source") is not None
    ]


def _domain_disk(hypervisor: Hypervisor, element: ET.Element) -> DomainDisk:
    source, target, driver = required(element, "source"), required(element, "target"), element.find("driver")
    path = source.get("file") or source.get("dev")
    pool = source.get("pool")
    volume = None
    with translated(f"disk {target.get('dev')}"):
        if pool:
            volume = hypervisor.connection.storagePoolLookupByName(pool).storageVolLookupByName(source.get("volume"))
            path = volume.path()
        elif path:
            volume = volume_at(hypervisor, path)
            pool = volume.storagePoolLookupByVolume().name() if volume is not None else None
    return DomainDisk(
        target=str(target.get("dev")),
        kind=element.get("type", "file"),
        format=driver.get("type", "raw") if driver is not None else "raw",
        bus=target.get("bus", ""),
        path=path,
        pool=pool,
        read_only=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
        compat=parse(volume.XMLDesc()).findtext("target/compat") if volume is not None else None,
        encrypted=any(place.find("encryption") is not None for place in (element, source)),
        backing_files=sum(1 for each in element.iter("backingStore") if each.find("source") is not None),
    )


def volume_at(hypervisor: Hypervisor, path: str) -> Any:
    """Return the volume with this path, or None if no active pool knows it."""
    try:
        return hypervisor.connection.storageVolLookupByPath(path)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def summary(domain: Any, tree: ET.Element) -> dict[str, Any]:
    """Return the fields of a `Machine` that need no further question."""
    kind = tree.find("os/type")
    loader = tree.find("os/loader")
    efi = (tree.findtext("os/nvram") or tree.find("os").get("firmware") == "efi") or (  # type: ignore[union-attr]
        loader is not None and loader.get("type") == "pflash"
    )
    chipset = kind.get("machine", "") if kind is not None else ""
    os_ids = [element.get("id", "") for element in tree.iter() if element.tag.endswith("}os")]
    return {
        "id": domain.UUIDString(),
        "name": domain.name(),
        "num_cpu": int(tree.findtext("vcpu") or 1),
        "memory_mb": _mebibytes(tree.find("memory")),
        "firmware": Firmware.EFI if efi else Firmware.BIOS,
        "power_state": power_state(domain),
        "os_type": "windows" if any("microsoft.com" in name for name in os_ids) else "linux",
        "secure_boot": loader is not None and loader.get("secure") == "yes",
        "architecture": kind.get("arch", "x86_64") if kind is not None else "x86_64",
        "machine_type": "q35" if "q35" in chipset else "pc" if chipset.startswith(("pc", "ubuntu")) else chipset,
        "description": tree.findtext("description") or "",
    }


def power_state(domain: Any) -> PowerState:
    """Return whether the guest's processors run."""
    return _POWER.get(domain.state()[0], PowerState.OFF)


def _mebibytes(element: ET.Element | None) -> int:
    if element is None:
        return 0
    bytes_of = {"b": 1, "bytes": 1, "KiB": 1 << 10, "k": 1 << 10, "MiB": 1 << 20, "M": 1 << 20, "GiB": 1 << 30}
    return int(element.text or 0) * bytes_of.get(element.get("unit", "KiB"), 1 << 10) >> 20


def list_machines(hypervisor: Hypervisor, name_pattern: str | None) -> Sequence[Machine]:
    """Return the machines without disks and NICs, ordered by id; our own helper domains are not machines."""
    wanted = patterns.names(name_pattern)
    machines = []
    with translated(f"hypervisor {hypervisor.label}"):
        domains = hypervisor.connection.listAllDomains()
    for domain in domains:
        name = domain.name()
        if name.startswith(HELPER_PREFIXES) or not wanted.is_in(name):
            continue
        try:
            machines.append(Machine(**summary(domain, domain_tree(domain))))
        except libvirt.libvirtError as error:
            if not is_gone(error):  # else it went away while we were listing
                raise translate(error, f"machine {name}") from error
    return sorted(machines, key=lambda machine: machine.id)


def get_machine(hypervisor: Hypervisor, instance: str) -> Machine:
    """Return one machine whole; addresses of NICs as far as they can be known."""
    domain = find_domain(hypervisor, instance)
    with translated(f"machine {instance}"):
        tree = domain_tree(domain)
        disks = tuple(_disk(domain, disk) for disk in domain_disks(hypervisor, tree))
        facts = {**summary(domain, tree), **guest_facts(domain, tree)}
        return Machine(**facts, disks=disks, nics=tuple(_nics(domain, tree)))


def _disk(domain: Any, disk: DomainDisk) -> Disk:
    try:
        capacity, allocation, _physical = domain.blockInfo(disk.path if disk.kind == "volume" else disk.target)
    except libvirt.libvirtError as error:
        raise translate(error, f"machine {domain.name()}, disk {disk.target}") from error
    return Disk(
        id=disk.target,
        size_bytes=capacity,
        format=disk.format,
        storage_backend_identifier=disk.pool or (disk.path or "").rpartition("/")[0],
        bus=disk.bus,
        can_track_changes=disk.can_track_changes,
        allocated_bytes=allocation,
        shareable=disk.shareable,
        encrypted=disk.encrypted,
        backing_files=disk.backing_files,
    )


def _nics(domain: Any, tree: ET.Element) -> Iterator[Nic]:
    elements = tree.findall("devices/interface")
    addresses = addresses_by_mac(domain, tree) if elements and domain.isActive() else {}
    # A machine that a deployment put on Neutron's networks: its taps do not tell which.
    marks = tree.iter(f"{{{names.METADATA_URI}}}nic")
    on_neutron = {mark.get("mac", "").lower(): mark.get("network", "") for mark in marks}
    for element in elements:
        mac, source, model = element.find("mac"), element.find("source"), element.find("model")
        address = mac.get("address", "").lower() if mac is not None else ""
        places = source.attrib if source is not None else {}
        name = places.get("network") or places.get("bridge") or places.get("dev") or on_neutron.get(address, "")
        yield Nic(
            id=address,
            mac_address=address,
            network_name=name,
            model=model.get("type", "") if model is not None else "",
            ip_addresses=tuple(addresses.get(address, ())),
        )


def addresses_by_mac(domain: Any, tree: ET.Element) -> dict[str, list[str]]:
    """Return the guest's addresses by MAC, from the agent, the DHCP leases and the ARP table: best effort."""
    sources = [libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP]
    if agent_connected(tree):
        sources.insert(0, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    found: dict[str, list[str]] = {}
    for source in sources:
        try:
            interfaces = domain.interfaceAddresses(source)
        except libvirt.libvirtError:
            continue  # an unsupported or silent source: the others may know
        for interface in interfaces.values():
            known = found.setdefault(str(interface["hwaddr"]).lower(), [])
            known += [item["addr"] for item in interface["addrs"] or () if item["addr"] not in known]
    return found


def list_networks(hypervisor: Hypervisor) -> Sequence[Network]:
    """Return libvirt's networks, ordered by name."""
    with translated(f"hypervisor {hypervisor.label}"):
        found = sorted(network.name() for network in hypervisor.connection.listAllNetworks())
    return [Network(id=name, name=name) for name in found]


def list_storage(hypervisor: Hypervisor) -> tuple[Sequence[StorageBackend], str | None]:
    """Return the active pools with their free bytes, and the one called `default` if there is one."""
    with translated(f"hypervisor {hypervisor.label}"):
        pools = hypervisor.connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        backends = [StorageBackend(id=pool.name(), name=pool.name(), free_bytes=pool.info()[3]) for pool in pools]
    backends.sort(key=lambda backend: backend.name)
    ids = [backend.id for backend in backends]
    return backends, "default" if "default" in ids else (ids[0] if len(ids) == 1 else None)
