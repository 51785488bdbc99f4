"""Windows guests, changed offline: registry, drivers, services, addresses. Nothing of the guest's runs.

Supported: Windows 7 and Server 2008 R2 and later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from isthmus.control.errors import InvalidInput, NotSupported, StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing import (
    stages,
    windows_drivers,
    windows_first_boot,
    windows_network,
    windows_registry,
)
from isthmus.migration.morphing.contract import GuestAccess, GuestDisks, GuestOS, Morpher, MorphRequest, Target
from isthmus.migration.morphing.hives import Edits, Hive, Key
from isthmus.migration.morphing.mounting import WAY_ON
from isthmus.migration.morphing.windows_paths import find_path, place
from isthmus.migration.reporting import Report

_SYSTEM = "/Windows/System32/config/SYSTEM"
_SOFTWARE = "/Windows/System32/config/SOFTWARE"
_VERSION = "Microsoft\\Windows NT\\CurrentVersion"
_OLDEST_BUILD = 7600
_FIRST_WITH_DATABASE = 9200
_TOO_OLD = frozenset({"2k", "2k3", "2k3r2", "2k8", "xp", "vista", "2000", "2003", "2008"})
_CLOUDBASE = "cloudbase-init"
_GIVING_METADATA = frozenset({"openstack"})
_DRIVERS = "/Windows/Drivers/VirtIO"
_INSTALL_DRIVERS = """Get-ChildItem "$env:SystemRoot\\Drivers\\VirtIO" -Recurse -Filter *.inf | % {
  pnputil.exe -i -a $_.FullName
}
"""
_INSTALL_CLOUDBASE = (
    "rem cmd\nmsiexec.exe /i %SystemRoot%\\Isthmus\\cloudbase-init.msi /qn /l* %SystemRoot%\\Isthmus\\msi.txt\n"
)


@dataclass(frozen=True)
class Facts:
    """What the registry tells of a Windows. `settings` is the name of its control set."""

    product_name: str
    build: int
    server: bool
    processor: str
    settings: str
    device_path: str
    services: Key
    interfaces: Key
    connections: Key


class WindowsMorpher(Morpher):
    """Windows, by its registry."""

    family: ClassVar[str] = "windows"

    @classmethod
    def detect(cls, guest: GuestAccess) -> GuestOS | None:
        """Read the registry; NotSupported for a release that is too old. Its architecture is left empty: none runs."""
        if find_path(guest, _SYSTEM) is None:
            return None
        facts = read_facts(guest)
        if facts.build < _OLDEST_BUILD:
            raise NotSupported(f"{facts.product_name} is not supported (7 and 2008 R2 are the oldest): {WAY_ON}")
        return GuestOS(cls.family, "windows", str(facts.build), facts.product_name, "")

    @classmethod
    def supports(cls, distribution: str, version: str) -> bool | None:
        """Take libosinfo's and the guest agent's words for it: "windows" or "mswindows", and "2k19", "10", "xp"."""
        return version.lower() not in _TOO_OLD if distribution in ("windows", "mswindows") else None

    def morph(self, guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
        """Run the stages one after another; each is idempotent."""
        if any(script.phase == ScriptPhase.POST_OS_MOUNT for script in request.scripts):
            raise InvalidInput("scripts for Windows run at its first boot only: give them the phase replica_first_boot")
        request = replace(
            request,
            windows_drivers=request.windows_drivers or windows_drivers.of_this_worker(),
            cloudbase_init=request.cloudbase_init or windows_drivers.cloudbase_init_of_this_worker(),
        )
        facts = read_facts(guest)
        return stages.run(
            [
                lambda: check_loader(guest, request.target),
                lambda: add_drivers(guest, request, facts),
                lambda: stop_agents(guest, facts),
                lambda: free_cloudbase(guest, request, facts),
                lambda: prepare_first_boot(guest, request, facts),
            ],
            report,
        )


def read_facts(guest: GuestAccess) -> Facts:
    """Return what the registry tells. Raises `StepFailed` for a hive that is broken."""
    software = Hive(guest, _SOFTWARE).read({_VERSION: 0, "Microsoft\\Windows\\CurrentVersion": 0})
    version = software[_VERSION]
    system = Hive(guest, _SYSTEM)
    settings = windows_registry.control_set(system.read({"Select": 0})["Select"])
    services, environment = f"{settings}\\Services", f"{settings}\\Control\\Session Manager\\Environment"
    interfaces = f"{services}\\Tcpip\\Parameters\\Interfaces"
    connections = f"{settings}\\Control\\Network\\{windows_network.NETWORK_CLASS}"
    found = system.read({services: 2, environment: 0, interfaces: 1, connections: 2})
    build = version.text("CurrentBuildNumber") or version.text("CurrentBuild")
    return Facts(
        product_name=version.text("ProductName") or "Windows",
        build=int(build) if build.isdigit() else 0,
        server=version.text("InstallationType").lower().startswith("server"),
        processor=found[environment].text("PROCESSOR_ARCHITECTURE"),
        settings=settings,
        device_path=software["Microsoft\\Windows\\CurrentVersion"].text("DevicePath"),
        services=found[services],
        interfaces=found[interfaces],
        connections=found[connections],
    )


def check_loader(guest: GuestDisks, target: Target) -> list[str]:
    """See that the firmware finds a loader. Raises `StepFailed` where it cannot: the machine would not start."""
    if target.firmware != Firmware.EFI:
        if guest.read_disk(0, 510, 2) != b"\x55\xaa":
            raise StepFailed("the first disk has no boot sector, and the machine starts by BIOS: deploy it with EFI")
        return []
    for esp in (each for each in guest.file_systems() if each.type == "vfat"):
        if guest.esp_exists(esp, "/EFI/BOOT/BOOTX64.EFI"):
            return []
        if guest.esp_exists(esp, "/EFI/Microsoft/Boot/bootmgfw.efi"):
            guest.esp_copy(esp, "/EFI/Microsoft/Boot/bootmgfw.efi", "/EFI/BOOT/BOOTX64.EFI")
            return ["EFI: Windows' boot manager is copied to /EFI/BOOT/BOOTX64.EFI, where firmware looks"]
    raise StepFailed("no EFI loader of Windows' is on the disks, and the machine starts by EFI: deploy with BIOS")


def add_drivers(guest: GuestAccess, request: MorphRequest, facts: Facts) -> list[str]:
    """Give Windows the drivers of the target's disks and NICs."""
    names = windows_drivers.wanted(request.target)
    changes: list[str] = []
    if request.target.disk_bus == "sata":
        changes += _edit(guest, windows_registry.ahci_drivers(facts.settings, facts.services), "drivers: SATA starts")
    if request.windows_drivers is None:
        missing = [name for name in names if not facts.services.key(name).values]
        if missing:
            raise InvalidInput(
                f"the guest has no {' and '.join(missing)}: give virtio-win's directory or ISO image in the "
                "worker's ISTHMUS_WINDOWS_DRIVERS, or choose disk_bus sata and nic_model e1000e"
            )
        return changes + _start_boot_drivers(guest, [], names, facts)
    release = windows_drivers.release_name(facts.build, server=facts.server)
    processor = windows_drivers.processor_name(facts.processor)
    with windows_drivers.opened(request.windows_drivers) as directory:
        drivers = windows_drivers.find(directory, names, release, processor)
        for driver in drivers:
            _put_files(guest, driver)
        changes += _start_boot_drivers(guest, drivers, names, facts)
    windows = "%SystemRoot%\\Drivers\\VirtIO"
    paths = [windows, *(f"{windows}\\{driver.name}" for driver in drivers)]
    edits = windows_registry.device_path(facts.device_path, paths)
    if edits and Hive(guest, _SOFTWARE).edit(edits):
        changes.append(f"drivers: {', '.join(driver.name for driver in drivers)} for {release} are where Windows looks")
    return changes


def _put_files(guest: GuestAccess, driver: windows_drivers.Driver) -> None:
    places = [f"{_DRIVERS}/{driver.name}"]
    if driver.name in windows_registry.BOOT_DRIVERS:
        places.append(f"/Windows/System32/DriverStore/FileRepository/{windows_registry.package_name(driver.name)}")
    for directory in (place(guest, each) for each in places):
        for file in driver.files:
            guest.upload(file, f"{directory}/{file.name}")
    for ending, directory in ((".sys", "/Windows/System32/drivers"), (".inf", "/Windows/INF")):
        source = driver.file(ending)
        if source and driver.name in windows_registry.BOOT_DRIVERS:
            guest.upload(source, place(guest, f"{directory}/{driver.name}{ending}"))


def _start_boot_drivers(
    guest: GuestAccess, drivers: Sequence[windows_drivers.Driver], names: Sequence[str], facts: Facts
) -> list[str]:
    changes = []
    texts = {driver.name: driver.inf_text() for driver in drivers}
    for name in (each for each in names if each in windows_registry.BOOT_DRIVERS):
        edits = windows_registry.boot_driver(
            facts.settings, name, texts.get(name, ""), database=facts.build >= _FIRST_WITH_DATABASE
        )
        changes += _edit(guest, edits, f"drivers: {name} starts with the kernel")
    return changes


def stop_agents(guest: GuestAccess, facts: Facts) -> list[str]:
    """Keep the source platform's services from starting."""
    changes = []
    for name, edits in windows_registry.foreign_agents(facts.settings, facts.services).items():
        changes += _edit(guest, edits, f"agents: {name} of the source platform is kept from starting")
    return changes


def free_cloudbase(guest: GuestAccess, request: MorphRequest, facts: Facts) -> list[str]:
    """Let cloudbase-init run where there is metadata; elsewhere it would take the machine for a new one."""
    if not facts.services.key(_CLOUDBASE).values:
        return []
    metadata = request.target.platform in _GIVING_METADATA
    edits = windows_registry.start_of(facts.settings, _CLOUDBASE, automatic=metadata)
    what = "starts with Windows" if metadata else f"is kept from starting, {request.target.platform} gives no metadata"
    return _edit(guest, edits, f"cloudbase-init: it {what}")


def prepare_first_boot(guest: GuestAccess, request: MorphRequest, facts: Facts) -> list[str]:
    """Have drivers installed, addresses set, cloudbase-init installed and the user's scripts run at the first boot."""
    steps: list[tuple[str, str]] = []
    changes: list[str] = []
    if request.windows_drivers is not None:
        steps.append(("drivers", _INSTALL_DRIVERS))
    static = windows_network.static_addresses(facts.interfaces, facts.connections)
    assigned = windows_network.assign(static, request.nics)
    if assigned:
        steps.append(("addresses", windows_network.script(assigned)))
        changes += [
            f"network: {each.addresses[0][0]} will be set on the NIC with MAC address {mac}" for mac, each in assigned
        ]
    if request.cloudbase_init is not None and not facts.services.key(_CLOUDBASE).values:
        guest.upload(request.cloudbase_init, f"{place(guest, windows_first_boot.DIRECTORY)}/cloudbase-init.msi")
        steps.append((_CLOUDBASE, _INSTALL_CLOUDBASE))
        changes.append("cloudbase-init: it will be installed")
    scripts = [script.payload for script in request.scripts if script.phase == ScriptPhase.FIRST_BOOT]
    steps += [("user", script) for script in scripts]
    if not steps:
        return []
    windows_first_boot.install(guest, steps)
    said = f"first boot: {len(steps)} script{'s' if len(steps) > 1 else ''} will run once"
    if not _edit(guest, windows_first_boot.service(facts.settings), said):
        return []
    return [*changes, said]


def _edit(guest: GuestAccess, edits: Edits, change: str) -> list[str]:
    return [change] if edits and Hive(guest, _SYSTEM).edit(edits) else []
