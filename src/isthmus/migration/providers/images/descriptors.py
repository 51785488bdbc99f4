"""The descriptors of a machine that is made here: OVF to import, libvirt XML to define. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from xml.etree import ElementTree as ET

from isthmus.migration.machine import Firmware, Machine, NicMapping
from isthmus.migration.providers.images.formats import ImageFormat

_OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
_VMW = "http://www.vmware.com/schema/ovf"
_FORMATS = {
    ImageFormat.VMDK: "http://www.vmware.com/interfaces/specifications/vmdk.html#sparse",
    ImageFormat.QCOW2: "http://www.gnome.org/~markmc/qcow-image-format.html",
}
_MIB = "byte * 2^20"
_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd"}
# An OVF can only name SCSI and SATA controllers; one of no known subtype is whatever the importer takes.
_ADAPTER = {"virtio": ("6", "virtio"), "scsi": ("6", "VirtIO-SCSI"), "sata": ("20", "AHCI")}


@dataclass(frozen=True)
class Hardware:
    """Which virtual hardware the guest was made fit for: "virtio", "scsi" or "sata" disks; the model of NICs."""

    disk_bus: str = "virtio"
    nic_model: str = "virtio"


@dataclass(frozen=True)
class Placed:
    """A disk's file in the machine's directory."""

    disk_id: str
    file: str
    format: ImageFormat
    size_bytes: int
    file_bytes: int


def ovf(machine: Machine, name: str, disks: Sequence[Placed], nics: Sequence[NicMapping], wanted: Hardware) -> bytes:
    """Return the OVF descriptor (DSP0243, version 1) of a machine."""
    for prefix, uri in (("ovf", _OVF), ("rasd", _RASD), ("vmw", _VMW)):
        ET.register_namespace(prefix, uri)
    root = ET.Element(f"{{{_OVF}}}Envelope")
    references, section = _child(root, "References"), _section(root, "DiskSection", "The disks")
    for number, disk in enumerate(disks):
        _child(references, "File", id=f"file{number}", href=disk.file, size=str(disk.file_bytes))
        facts = {"diskId": disk.disk_id, "fileRef": f"file{number}", "capacity": str(disk.size_bytes)}
        _child(section, "Disk", **facts, capacityAllocationUnits="byte", format=_FORMATS.get(disk.format, ""))
    networks = _section(root, "NetworkSection", "The networks")
    for network in sorted({nic.destination_network for nic in nics}):
        ET.SubElement(networks, f"{{{_OVF}}}Network", {f"{{{_OVF}}}name": network})
    system = _child(root, "VirtualSystem", id=name)
    _child(system, "Info").text = "A virtual machine"
    _child(system, "Name").text = name
    if machine.description:
        _child(_section(system, "AnnotationSection", "About it"), "Annotation").text = machine.description
    # CIM's numbers: 1 other, 101 Linux of 64 bits.
    windows = machine.os_type == "windows"
    guest = _section(system, "OperatingSystemSection", "The guest", id="1" if windows else "101")
    guest.set(f"{{{_VMW}}}osType", "windows9_64Guest" if windows else "otherLinux64Guest")
    _child(guest, "Description").text = "Microsoft Windows" if windows else "Linux"
    _hardware(system, machine, disks, nics, wanted)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _hardware(
    system: ET.Element, machine: Machine, disks: Sequence[Placed], nics: Sequence[NicMapping], wanted: Hardware
) -> None:
    hardware = _section(system, "VirtualHardwareSection", "The hardware")
    _item(hardware, "1", "3", ElementName="Processors", VirtualQuantity=str(machine.num_cpu))
    _item(hardware, "2", "4", ElementName="Memory", AllocationUnits=_MIB, VirtualQuantity=str(machine.memory_mb))
    kind, subtype = _ADAPTER[wanted.disk_bus]
    _item(hardware, "3", kind, ElementName="Disk controller", ResourceSubType=subtype, Address="0")
    for number, disk in enumerate(disks):
        facts = {"HostResource": f"ovf:/disk/{disk.disk_id}", "Parent": "3", "AddressOnParent": str(number)}
        _item(hardware, str(10 + number), "17", ElementName=f"Disk {number + 1}", **facts)
    for number, mapping in enumerate(nics):
        facts = {"Connection": mapping.destination_network, "Address": mapping.nic.mac_address}
        _item(
            hardware,
            str(1000 + number),
            "10",
            ElementName=f"NIC {number + 1}",
            ResourceSubType=wanted.nic_model,
            **facts,
        )
    if machine.firmware is Firmware.EFI:
        _config(hardware, "firmware", "efi")
    if machine.secure_boot:
        _config(hardware, "uefi.secureBoot.enabled", "true")


def libvirt(
    machine: Machine, directory: PurePath, disks: Sequence[Placed], nics: Sequence[NicMapping], wanted: Hardware
) -> bytes:
    """Return a libvirt domain, named like `directory`, whose disks are the files in it."""
    root = ET.Element("domain", type="kvm")
    ET.SubElement(root, "name").text = directory.name
    ET.SubElement(root, "memory", unit="MiB").text = str(machine.memory_mb)
    ET.SubElement(root, "vcpu").text = str(machine.num_cpu)
    efi = machine.firmware is Firmware.EFI
    system = ET.SubElement(root, "os")
    if efi:
        system.set("firmware", "efi")
    ET.SubElement(system, "type", arch=machine.architecture, machine="q35" if efi else "pc").text = "hvm"
    features = ET.SubElement(root, "features")
    for feature in ("acpi", "apic"):
        ET.SubElement(features, feature)
    ET.SubElement(root, "clock", offset="localtime" if machine.os_type == "windows" else "utc")
    devices = ET.SubElement(root, "devices")
    if wanted.disk_bus == "scsi":
        ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    for number, disk in enumerate(disks):
        element = ET.SubElement(devices, "disk", type="file", device="disk")
        ET.SubElement(element, "driver", name="qemu", type=disk.format.driver)
        ET.SubElement(element, "source", file=f"{directory}/{disk.file}")
        bus = wanted.disk_bus
        ET.SubElement(element, "target", dev=f"{_PREFIX[bus]}{_letters(number)}", bus=bus)
        ET.SubElement(element, "boot", order=str(number + 1))
    for mapping in nics:
        nic = ET.SubElement(devices, "interface", type="network")
        ET.SubElement(nic, "mac", address=mapping.nic.mac_address)
        ET.SubElement(nic, "source", network=mapping.destination_network)
        ET.SubElement(nic, "model", type=wanted.nic_model)
    ET.SubElement(ET.SubElement(devices, "serial", type="pty"), "target", port="0")
    ET.SubElement(devices, "video")
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8"))


def _letters(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else _letters(number // 26 - 1) + _letters(number % 26)


def _section(parent: ET.Element, name: str, info: str, **attributes: str) -> ET.Element:
    section = _child(parent, name, **attributes)
    _child(section, "Info").text = info
    return section


def _child(parent: ET.Element, name: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, f"{{{_OVF}}}{name}", {f"{{{_OVF}}}{key}": value for key, value in attributes.items()})


def _item(hardware: ET.Element, number: str, kind: str, **facts: str) -> None:
    """Add one device; the schema wants its facts in the order of their names."""
    item = _child(hardware, "Item")
    for key, value in sorted({"InstanceID": number, "ResourceType": kind, **facts}.items()):
        ET.SubElement(item, f"{{{_RASD}}}{key}").text = value


def _config(hardware: ET.Element, key: str, value: str) -> None:
    attributes = {f"{{{_OVF}}}required": "false", f"{{{_VMW}}}key": key, f"{{{_VMW}}}value": value}
    ET.SubElement(hardware, f"{{{_VMW}}}Config", attributes)
