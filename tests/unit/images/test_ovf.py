"""OVF descriptors: what machine they describe, and what is refused."""

import pytest
from tests.image_packages import MAC, descriptor

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import Firmware, Machine, Nic, NicMapping, PowerState
from isthmus.migration.providers.images import descriptors, ovf
from isthmus.migration.providers.images.descriptors import Hardware, Placed
from isthmus.migration.providers.images.formats import ImageFormat

TEXT = descriptor("shop", ["a.vmdk", "b.vmdk"])


def test_a_machine_is_read() -> None:
    found = ovf.parse(TEXT.encode(), "shop.ovf")
    assert (found.name, found.num_cpu, found.memory_mb, found.firmware) == ("shop", 2, 512, Firmware.BIOS)
    assert [(disk.id, disk.file, disk.bus) for disk in found.disks] == [
        ("vmdisk0", "a.vmdk", "scsi"),
        ("vmdisk1", "b.vmdk", "scsi"),
    ]
    assert [(nic.mac_address, nic.network_name) for nic in found.nics] == [(MAC, "VM Network")]


def test_disks_come_in_the_order_of_their_addresses() -> None:
    turned = TEXT.replace("<rasd:AddressOnParent>0", "<rasd:AddressOnParent>9")
    assert [disk.id for disk in ovf.parse(turned.encode(), "x").disks] == ["vmdisk1", "vmdisk0"]


def test_a_nic_without_an_address_always_gets_the_same() -> None:
    text = TEXT.replace(f"<rasd:Address>{MAC}</rasd:Address>", "").encode()
    first, second = ovf.parse(text, "x").nics[0].mac_address, ovf.parse(text, "x").nics[0].mac_address
    assert first == second
    assert first.startswith("52:54:00:")


@pytest.mark.parametrize(
    ("unit", "memory_mb"), [("byte * 2^20", 512), ("MegaBytes", 512), ("byte * 2^30", 512 << 10), ("GB", 512 << 10)]
)
def test_units_of_memory(unit: str, memory_mb: int) -> None:
    assert ovf.parse(TEXT.replace("byte * 2^20", unit).encode(), "x").memory_mb == memory_mb


def test_windows_and_firmware_are_told() -> None:
    text = TEXT.replace('vmw:osType="debian12_64Guest"', 'vmw:osType="windows2019srv_64Guest"').replace(
        "</VirtualHardwareSection>", '<vmw:Config vmw:key="firmware" vmw:value="efi"/></VirtualHardwareSection>'
    )
    found = ovf.parse(text.encode(), "x")
    assert (found.os_type, found.firmware) == ("windows", Firmware.EFI)


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        TEXT.replace("<Envelope", f"{ENTITIES}<Envelope", 1),
        TEXT[: len(TEXT) // 2],
        "<Envelope/>",
        "<VirtualSystem/>",
        TEXT.replace('ovf:href="a.vmdk"', 'ovf:href="../../etc/passwd"'),
        TEXT.replace('ovf:href="a.vmdk"', 'ovf:href="http://example.com/a.vmdk"'),
        TEXT.replace('ovf:href="a.vmdk"', 'ovf:href=".isthmus"'),
        TEXT.replace("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk0"),
        TEXT.replace("ovf:/disk/vmdisk1", "ovf:/disk/none"),
        TEXT.replace(">512<", ">-1<"),
        TEXT.replace(">512<", ">99999999999999999999<"),
        TEXT.replace(">512<", ">much<"),
        TEXT.replace('ovf:fileRef="f0"', 'ovf:parentRef="vmdisk1" ovf:fileRef="f0"'),
    ],
)
def test_what_is_not_one_sound_machine_is_refused(text: str) -> None:
    text = text.replace('<?xml version="1.0" encoding="UTF-8"?>\n', "")
    with pytest.raises(StepFailed):
        ovf.parse(text.encode(), "shop.ovf")


def test_what_is_written_is_read_back() -> None:
    nic = Nic("7", MAC, "old")
    machine = Machine(
        "id", "shop", 3, 768, Firmware.EFI, PowerState.OFF, os_type="windows", description="<a & b>", nics=(nic,)
    )
    placed = [Placed("disk1", "disk1.qcow2", ImageFormat.QCOW2, 1 << 30, 1 << 20)]
    text = descriptors.ovf(machine, "shop-1", placed, [NicMapping(nic, "new")], Hardware("scsi", "e1000e"))
    found = ovf.parse(text, "x")
    assert (found.name, found.num_cpu, found.memory_mb, found.firmware) == ("shop-1", 3, 768, Firmware.EFI)
    assert (found.os_type, found.description, found.disks[0].file) == ("windows", "<a & b>", "disk1.qcow2")
    assert [(each.mac_address, each.network_name) for each in found.nics] == [(MAC, "new")]
