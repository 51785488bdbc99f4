"""OVF descriptors (DMTF DSP0243): what machine they describe. Hostile XML is refused: no DTD, no entities."""

import hashlib
import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import Firmware, Nic

LARGEST_DESCRIPTOR = 4 << 20
_CPU, _MEMORY, _ETHERNET, _DISK = "3", "4", "10", "17"
_ADAPTERS = {"5": "ide", "6": "scsi", "20": "sata"}
_MAC = re.compile(r"^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$")
_POWERS = {"k": 10, "m": 20, "g": 30, "t": 40}
# Windows in CIM_OperatingSystem.OSType, as far as exporters still write numbers rather than names.
_WINDOWS_TYPES = frozenset({"17", "18", "58", "63", "67", "69", "70", "71", "73", "74", "76", "77", "103", "105"})


@dataclass(frozen=True)
class OvfDisk:
    """A disk of the machine's: `file` is its image's name in the package, `bus` "scsi", "sata", "ide" or ""."""

    id: str
    file: str
    compressed: bool
    format_uri: str
    bus: str


@dataclass(frozen=True)
class Description:
    """The machine that a descriptor describes, disks in the order of the machine's."""

    name: str
    num_cpu: int
    memory_mb: int
    firmware: Firmware
    secure_boot: bool
    os_type: str
    description: str
    disks: tuple[OvfDisk, ...]
    nics: tuple[Nic, ...]


def parse(content: bytes, label: str) -> Description:
    """Return what a descriptor describes. Raises `StepFailed`, naming `label`, for what is not one machine's."""
    if len(content) > LARGEST_DESCRIPTOR:
        raise StepFailed(f"{label} is larger than 4 MiB: it is no OVF descriptor")
    try:
        root = ElementTree.fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, RecursionError) as error:
        raise StepFailed(f"{label} is not a sound XML document ({error}): get the package again") from error
    systems = [each for each in root.iter() if _name(each) == "VirtualSystem"]
    if _name(root) != "Envelope" or len(systems) != 1:
        raise StepFailed(f"{label} describes {len(systems)} machines, and one is read: export each machine by itself")
    try:
        return _describe(root, systems[0], label)
    except (ValueError, OverflowError) as error:
        raise StepFailed(f"{label} has a number that is none ({error}): get the package again") from error


def _describe(root: Element, system: Element, label: str) -> Description:
    items = [_facts(each) for each in system.iter() if _name(each) in ("Item", "StorageItem", "EthernetPortItem")]
    settings = {_attribute(each, "key"): _attribute(each, "value") for each in system.iter() if _name(each) == "Config"}
    name = _text(system, "Name") or _attribute(system, "id") or label
    memory = next((item for item in items if item.get("ResourceType") == _MEMORY), {})
    processors = next((item for item in items if item.get("ResourceType") == _CPU), {})
    efi = settings.get("firmware", "").lower() == "efi"
    return Description(
        name=name.strip()[:255],
        num_cpu=_between(int(processors.get("VirtualQuantity", "1")), 1, 4096, "processors", label),
        memory_mb=_between(_mebibytes(memory), 1, 1 << 26, "MiB of memory", label),
        firmware=Firmware.EFI if efi else Firmware.BIOS,
        secure_boot=settings.get("uefi.secureBoot.enabled", settings.get("bootOptions.efiSecureBootEnabled")) == "true",
        os_type=_os_type(system),
        description=(_text(system, "Annotation") or "")[:4096],
        disks=_disks(root, items, label),
        nics=tuple(_nics(name, items)),
    )


def _disks(root: Element, items: list[dict[str, str]], label: str) -> tuple[OvfDisk, ...]:
    files = {_attribute(each, "id"): each for each in root.iter() if _name(each) == "File"}
    described = {_attribute(each, "diskId"): each for each in root.iter() if _name(each) == "Disk"}
    controllers = {item.get("InstanceID", ""): _ADAPTERS.get(item.get("ResourceType", ""), "") for item in items}
    found: list[tuple[tuple[str, int], OvfDisk]] = []
    for item in items:
        if item.get("ResourceType") != _DISK:
            continue
        disk_id = item.get("HostResource", "").rpartition("/")[2]
        disk = described.get(disk_id)
        if disk is None:
            raise StepFailed(f"{label} gives the machine disk {disk_id!r}, which it does not describe: get it again")
        file = files.get(_attribute(disk, "fileRef"))
        if file is None or _attribute(disk, "parentRef"):
            raise StepFailed(f"disk {disk_id} of {label} has no image of its own: export the machine with its disks")
        where = (item.get("Parent", ""), int(item.get("AddressOnParent") or 0))
        found.append((where, _disk(disk_id, disk, file, controllers.get(where[0], ""), label)))
    if len({disk.id for _, disk in found}) != len(found):
        raise StepFailed(f"{label} names a disk twice: get the package again")
    return tuple(disk for _, disk in sorted(found, key=lambda each: each[0]))


def _disk(disk_id: str, disk: Element, file: Element, bus: str, label: str) -> OvfDisk:
    name = _attribute(file, "href")
    if not re.fullmatch(r"[^/\\\0]{1,255}", name) or name.startswith("."):
        raise StepFailed(f"{label} names {name!r} as an image, and only files beside it are read: pack them together")
    if _attribute(file, "chunkSize"):
        raise StepFailed(f"image {name} of {label} is cut into chunks, which is not read: export it in one file")
    compressed = _attribute(file, "compression") not in ("", "identity")
    return OvfDisk(disk_id, name, compressed, _attribute(disk, "format"), bus)


def _nics(machine: str, items: list[dict[str, str]]) -> list[Nic]:
    nics = []
    for number, item in enumerate(each for each in items if each.get("ResourceType") == _ETHERNET):
        address = item.get("Address", "").lower().replace("-", ":")
        if not _MAC.match(address):
            address = _derived_mac(machine, number)
        nics.append(
            Nic(
                id=item.get("InstanceID") or str(number),
                mac_address=address,
                network_name=item.get("Connection", ""),
                model=item.get("ResourceSubType", "").lower(),
            )
        )
    return nics


def _derived_mac(machine: str, number: int) -> str:
    """Return a MAC address for a NIC that was exported without: always the same for the same machine's."""
    digest = hashlib.blake2s(f"{machine}\0{number}".encode(), digest_size=3).hexdigest()
    return f"52:54:00:{digest[:2]}:{digest[2:4]}:{digest[4:]}"


def _mebibytes(item: dict[str, str]) -> int:
    """Return a memory item's size in MiB; its unit is like "byte * 2^20", "MegaBytes" or "GB" (DSP0004, annex C)."""
    quantity, unit = int(item.get("VirtualQuantity", "1024")), item.get("AllocationUnits", "byte * 2^20").lower()
    power = re.search(r"2\s*\^\s*(\d{1,2})", unit)
    exponent = int(power.group(1)) if power else _POWERS.get(unit.strip()[:1], 0)
    return (quantity << exponent) >> 20


def _between(number: int, least: int, most: int, what: str, label: str) -> int:
    if not least <= number <= most:
        raise StepFailed(f"{label} gives the machine {number} {what}: correct it")
    return number


def _os_type(system: Element) -> str:
    for section in system.iter():
        if _name(section) == "OperatingSystemSection":
            said = (_attribute(section, "osType"), _text(section, "Description").removeprefix("Microsoft "))
            named = any(each.lower().startswith("windows") for each in said)
            return "windows" if named or _attribute(section, "id") in _WINDOWS_TYPES else "linux"
    return "linux"


def _facts(item: Element) -> dict[str, str]:
    return {_name(each): (each.text or "").strip() for each in item}


def _text(element: Element, name: str) -> str:
    return next((each.text or "" for each in element.iter() if _name(each) == name), "")


def _attribute(element: Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
