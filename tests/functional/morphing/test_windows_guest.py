"""Morphing of what has the shape of a Windows guest: a directory for most, and once NTFS in the appliance."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab.synthetic_guest import served
from tests import windows_guest
from tests.windows_guest import SETTINGS, DirectoryGuest

from isthmus.control.errors import InvalidInput, NotSupported, StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing.contract import MorphRequest, NicPlan, Target, UserScript, WayIn
from isthmus.migration.morphing.morph import morph
from isthmus.migration.morphing.windows import WindowsMorpher
from isthmus.migration.reporting import Silence

MACS = ("52:54:00:00:00:0a", "52:54:00:00:00:0b")


class Site:
    """A guest in a directory, drivers for it, and what is in the guest."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.drivers = windows_guest.make_drivers(directory / "virtio-win")
        self.guest = windows_guest.make_tree(directory / "guest")

    def system(self, key: str) -> dict[str, Any]:
        return windows_guest.read_hive(self.guest / "Windows/System32/Config/SYSTEM", key)

    def software(self, key: str) -> dict[str, Any]:
        return windows_guest.read_hive(self.guest / "Windows/System32/Config/SOFTWARE", key)

    def script(self, name: str) -> str:
        return (self.guest / "Windows/Isthmus" / name).read_bytes().decode()


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="/tmp/win-") as name:
        yield Site(Path(name))


def _request(uri: str, drivers: Path | None, *scripts: UserScript, bus: str = "virtio") -> MorphRequest:
    nic = "virtio" if bus != "sata" else "e1000e"
    return MorphRequest(
        (uri,),
        Target("libvirt", bus, nic, Firmware.BIOS),
        tuple(NicPlan(mac) for mac in MACS),
        scripts,
        windows_drivers=drivers,
    )


def _morph(site: Site, *scripts: UserScript, drivers: Path | None = None, bus: str = "virtio") -> Sequence[str]:
    request = _request("", drivers or (site.drivers if bus != "sata" else None), *scripts, bus=bus)
    with closing(DirectoryGuest(site.guest)) as guest:
        return WindowsMorpher().morph(guest, request, Silence())


@pytest.mark.parametrize("as_iso", [False, True], ids=["directory", "iso"])
def test_windows_gets_the_drivers_of_its_target(site: Site, as_iso: bool) -> None:
    drivers = windows_guest.make_iso(site.drivers, site.directory / "v.iso") if as_iso else site.drivers
    assert "drivers: viostor starts with the kernel" in _morph(site, drivers=drivers)
    assert _morph(site, drivers=drivers) == []
    assert (site.guest / "Windows/System32/drivers/viostor.sys").read_text() == "viostor sys"
    assert sorted(each.name for each in (site.guest / "Windows/Drivers/VirtIO").iterdir()) == [
        "balloon",
        "netkvm",
        "viostor",
    ]
    service = site.system(f"{SETTINGS}\\Services\\viostor")
    assert (service["Start"], service["Type"], service["Group"]) == (0, 1, "SCSI miniport")
    package = site.system("DriverDatabase\\DriverInfFiles\\viostor.inf")["Active"]
    device = "PCI\\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01"
    assert site.system(f"DriverDatabase\\DeviceIds\\{device}") == {"viostor.inf": b"\x01\xff\x00\x00"}
    described = site.system(f"DriverDatabase\\DriverPackages\\{package}\\Descriptors\\{device}")
    assert described["Configuration"] == "viostor_inst"
    path = site.software("Microsoft\\Windows\\CurrentVersion")["DevicePath"]
    assert path.startswith("%SystemRoot%\\inf;%SystemRoot%\\Drivers\\VirtIO;")


def test_agents_stop_and_addresses_are_set_at_the_first_boot(site: Site) -> None:
    changes = _morph(site, UserScript(ScriptPhase.FIRST_BOOT, "rem cmd\necho hello"))
    assert site.system(f"{SETTINGS}\\Services\\VMTools")["Start"] == 4
    assert site.system(f"{SETTINGS}\\Services\\cloudbase-init")["Start"] == 4
    assert site.system("ControlSet001\\Services\\VMTools")["Start"] == 2
    assert f"network: 10.0.0.5 will be set on the NIC with MAC address {MACS[0]}" in changes
    addresses = site.script("step-01-addresses.ps1")
    assert "EnableStatic(@('10.0.0.5'), @('255.255.255.0'))" in addresses
    assert "SetDNSServerSearchOrder(@('10.0.0.2','10.0.0.3'))" in addresses
    assert "'O''Brien''s LAN'" in addresses
    assert site.script("step-02-user.cmd") == "rem cmd\r\necho hello\r\n"
    service = site.system(f"{SETTINGS}\\Services\\isthmus-first-boot")
    assert service["Start"] == 2
    assert service["ImagePath"].endswith("%SystemRoot%\\Isthmus\\first-boot.cmd")


def test_cloudbase_init_starts_where_there_is_metadata(site: Site) -> None:
    request = _request("", site.drivers)
    target = replace(request.target, platform="openstack")
    with closing(DirectoryGuest(site.guest)) as guest:
        WindowsMorpher().morph(guest, replace(request, target=target), Silence())
    assert site.system(f"{SETTINGS}\\Services\\cloudbase-init")["Start"] == 2


def test_sata_needs_no_drivers_of_others(site: Site) -> None:
    assert "drivers: SATA starts" in _morph(site, bus="sata")
    assert site.system(f"{SETTINGS}\\Services\\storahci")["Start"] == 0
    assert site.system(f"{SETTINGS}\\Services\\storahci\\StartOverride")["0"] == 0


def test_missing_drivers_are_told(site: Site) -> None:
    broken = site.directory / "broken.iso"
    broken.write_bytes(b"noise" * 1000)
    with closing(DirectoryGuest(site.guest)) as guest:
        with pytest.raises(InvalidInput, match=r"no viostor and netkvm: give virtio-win"):
            WindowsMorpher().morph(guest, _request("", None), Silence())
        with pytest.raises(InvalidInput, match=r"not an ISO image"):
            WindowsMorpher().morph(guest, _request("", broken), Silence())


def _detect(tree: Path) -> None:
    with closing(DirectoryGuest(tree)) as guest:
        WindowsMorpher.detect(guest)


def test_drivers_of_a_newer_release_only_are_told(site: Site) -> None:
    site.guest = windows_guest.make_tree(site.directory / "older", build="14393")
    with pytest.raises(InvalidInput, match="no viostor for 2k16 on amd64"):
        _morph(site)


def test_a_broken_hive_is_told(site: Site) -> None:
    tree = windows_guest.make_tree(site.directory / "broken", broken=True)
    with pytest.raises(StepFailed, match="registry hive /Windows/System32/Config/SYSTEM is broken"):
        _detect(tree)


def test_an_old_windows_names_the_way_on(site: Site) -> None:
    tree = windows_guest.make_tree(site.directory / "old", build="6002")
    with pytest.raises(NotSupported, match="skip_os_morphing"):
        _detect(tree)


def test_a_script_for_the_mounted_guest_is_refused(site: Site) -> None:
    with pytest.raises(InvalidInput, match="first boot only"):
        _morph(site, UserScript(ScriptPhase.POST_OS_MOUNT, "dir"))


@pytest.mark.nightly  # two appliances: minutes where the processor is emulated
def test_windows_on_ntfs_is_changed_in_the_appliance(site: Site) -> None:
    with served(windows_guest.make_disk(site.directory, site.guest)) as uri:
        answer = morph(_request(uri, site.drivers), Silence())
    assert (answer.os.family, answer.os.version) == ("windows", "20348")
    assert {"drivers: viostor starts with the kernel", "first boot: 2 scripts will run once"} <= set(answer.changes)


def test_windows_is_not_opened_by_the_workers_kernel(site: Site) -> None:
    disk = windows_guest.make_empty_disk(site.directory)
    with served(disk) as uri, pytest.raises(NotSupported, match="choose the appliance as morphing_way_in"):
        morph(replace(_request(uri, None), way_in=WayIn.WORKER_KERNEL), Silence())
