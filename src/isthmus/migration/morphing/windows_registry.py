"""What is set in a Windows guest's registry, as values by key. Pure.

A boot driver is known to Windows 8 and later by its device database (DriverDatabase: what an installation of its .inf
would have written there), and to earlier ones by the CriticalDeviceDatabase. Both are written by the kernel's loader
before any file of the guest's can be installed, so the disk that holds Windows must be in them.
"""

import re
import struct
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from isthmus.migration.morphing.hives import Edits, Key, Value, ValueType

_SCSI_CLASS = "{4d36e97b-e325-11ce-bfc1-08002be10318}"
_DEVICES = {
    "viostor": ("VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00", "VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01"),
    "vioscsi": ("VEN_1AF4&DEV_1004&SUBSYS_00081AF4&REV_00", "VEN_1AF4&DEV_1048&SUBSYS_11001AF4&REV_01"),
}
"""PCI devices of each boot driver: the transitional one and the modern one (virtio 1.2, 4.1.2)."""
BOOT_DRIVERS = tuple(_DEVICES)
_BOOT_START, _AUTOMATIC, _DISABLED = 0, 2, 4
_EXACT, _GENERIC = b"\x01\xff\x00\x00", b"\x02\xff\x00\x00"
_AGENTS = (
    *("VMTools", "VGAuthService", "vmvss", "VMUSBArbService"),
    *("WindowsAzureGuestAgent", "RdAgent", "WindowsAzureTelemetryService"),
    *("AmazonSSMAgent", "Ec2Config", "AWSLiteAgent", "AWSNVMe"),
    *("GCEAgent", "google_osconfig_agent", "google_vss_provider"),
    *("xenagent", "xensvc", "XenSvc", "xenlite", "ovirt-guest-agent", "OVirtGuestService"),
)
_AHCI = ("storahci", "msahci", "iaStorV")
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def control_set(select: Key) -> str:
    """Return the name of the set of settings that Windows starts with; the first if the key does not tell."""
    current = select.value("Current")
    number = current.as_number() if current else 1
    return f"ControlSet{number if 0 < number < 1000 else 1:03}"


def boot_driver(settings: str, name: str, inf_text: str, *, database: bool) -> Edits:
    """Return what makes Windows start a disk's driver before it mounts its own volume.

    `settings` is the control set, `inf_text` the driver's .inf, `database` whether the registry has a DriverDatabase.
    """
    edits: dict[str, dict[str, Value]] = {f"{settings}\\Services\\{name}": _service(name)}
    edits[f"{settings}\\Services\\{name}\\Parameters"] = {"BusType": Value.number(1 if name == "viostor" else 10)}
    edits[f"{settings}\\Services\\{name}\\Parameters\\PnpInterface"] = {"5": Value.number(1)}
    if not database:
        for device in _DEVICES[name]:
            edits[f"{settings}\\Control\\CriticalDeviceDatabase\\pci#{device.lower()}"] = {
                "ClassGUID": Value.text(_SCSI_CLASS.upper()),
                "Service": Value.text(name),
            }
        return edits
    return {**edits, **_installed(name, inf_text)}


def package_name(name: str) -> str:
    """Return the name of a driver's directory in the driver store; its digits only have to be always the same."""
    return f"{name}.inf_amd64_{uuid.uuid5(uuid.NAMESPACE_DNS, name).hex[:16]}"


def _service(name: str) -> dict[str, Value]:
    return {
        "Type": Value.number(1),
        "Start": Value.number(_BOOT_START),
        "ErrorControl": Value.number(1),
        "Group": Value.text("SCSI miniport"),
        "ImagePath": Value.text(f"system32\\drivers\\{name}.sys", ValueType.EXPAND_SZ),
        "Owners": Value.texts(f"{name}.inf"),
    }


def _installed(name: str, inf_text: str) -> Edits:
    """Return what the installation of a boot driver's package leaves in the DriverDatabase."""
    inf, package, database = f"{name}.inf", package_name(name), "DriverDatabase"
    configuration = f"{name}_inst"
    place = f"{database}\\DriverPackages\\{package}"
    edits: dict[str, dict[str, Value]] = {
        f"{database}\\DriverInfFiles\\{inf}": {
            "": Value.texts(package),
            "Active": Value.text(package),
            "Configurations": Value.texts(configuration),
        },
        place: {
            "": Value.text(inf),
            "Catalog": Value.text(f"{name}.cat"),
            "InfName": Value.text(inf),
            "Provider": Value.text("Red Hat, Inc."),
            "SignerScore": Value.number(0x0D000005),
            "StatusFlags": Value.number(0x12),
            "Version": Value(ValueType.BINARY, version_blob(inf_text)),
        },
        f"{place}\\Configurations\\{configuration}": {
            "ConfigFlags": Value.number(0),
            "ConfigScope": Value.number(7),
            "Service": Value.text(name),
        },
        f"{place}\\Configurations\\{configuration}\\Services\\{name}\\Parameters\\PnpInterface": {"5": Value.number(1)},
        f"{place}\\Strings": {
            "devicedesc": Value.text(f"Red Hat VirtIO {name}"),
            "vendor": Value.text("Red Hat, Inc."),
        },
    }
    for device in _DEVICES[name]:
        for identity, rank in ((device, _EXACT), (device.partition("&SUBSYS")[0], _GENERIC)):
            edits[f"{database}\\DeviceIds\\PCI\\{identity}"] = {inf: Value(ValueType.BINARY, rank)}
            edits[f"{place}\\Descriptors\\PCI\\{identity}"] = {
                "Configuration": Value.text(configuration),
                "Description": Value.text("%devicedesc%"),
                "Manufacturer": Value.text("%vendor%"),
            }
    return edits


def version_blob(inf_text: str) -> bytes:
    """Return a package's Version value: its class, and the date and numbers of the .inf's DriverVer."""
    match = re.search(r"^\s*DriverVer\s*=\s*(\d+)/(\d+)/(\d+)\s*,\s*(\d+)\.(\d+)\.(\d+)\.(\d+)", inf_text, re.MULTILINE)
    numbers = [int(each) for each in match.groups()] if match else [1, 1, 2020, 1, 0, 0, 0]
    try:
        date = datetime(numbers[2], numbers[0], numbers[1], tzinfo=UTC)
    except ValueError:
        date = datetime(2020, 1, 1, tzinfo=UTC)
    ticks = int((date - _EPOCH).total_seconds()) * 10_000_000
    words = [number & 0xFFFF for number in reversed(numbers[3:])]
    return struct.pack("<II", 0x9FF00, 0) + uuid.UUID(_SCSI_CLASS).bytes_le + struct.pack("<Q4HQ", ticks, *words, 0)


def ahci_drivers(settings: str, services: Key) -> Edits:
    """Return what makes Windows start its own SATA drivers, which it switches off where it did not need them."""
    present = [name for name in _AHCI if services.key(name).values]
    edits: dict[str, dict[str, Value]] = {}
    for name in present:
        edits[f"{settings}\\Services\\{name}"] = {"Start": Value.number(_BOOT_START)}
        if services.key(f"{name}\\StartOverride").values:
            edits[f"{settings}\\Services\\{name}\\StartOverride"] = {"0": Value.number(_BOOT_START)}
    return edits


def foreign_agents(settings: str, services: Key) -> dict[str, Edits]:
    """Return, for each agent of a source platform that would start, what keeps it from starting."""
    found: dict[str, Edits] = {}
    for name in dict.fromkeys(_AGENTS):
        start = services.key(name).value("Start")
        if start and start.as_number() != _DISABLED:
            found[name] = {f"{settings}\\Services\\{name}": {"Start": Value.number(_DISABLED)}}
    return found


def start_of(settings: str, service: str, *, automatic: bool) -> Edits:
    """Return what makes a service start with Windows, or never."""
    return {f"{settings}\\Services\\{service}": {"Start": Value.number(_AUTOMATIC if automatic else _DISABLED)}}


def device_path(present: str, directories: Sequence[str]) -> Edits:
    """Return where Windows looks for the drivers of devices that it does not know yet."""
    known = [each for each in (present or "%SystemRoot%\\inf").split(";") if each]
    missing = [each for each in directories if each.lower() not in {path.lower() for path in known}]
    key = "Microsoft\\Windows\\CurrentVersion"
    return {key: {"DevicePath": Value.text(";".join([*known, *missing]), ValueType.EXPAND_SZ)}} if missing else {}
