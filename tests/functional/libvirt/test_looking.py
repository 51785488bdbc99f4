"""What an assessment learns of a real libvirtd: of a machine, and of what can arrive."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from lab.tiny_guest import TinyGuest
from tests.libvirt_fixtures import Clouds, clouds, make_machine

from isthmus.migration.machine import Firmware

__all__ = ["clouds", "make_machine"]
_OS = """<metadata><libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
<libosinfo:os id="http://centos.org/centos-stream/9"/></libosinfo:libosinfo></metadata>"""
_DEVICES = """<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>
<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0' bus='0x1' slot='0x2' function='0x0'/>
</source></hostdev>"""


def test_a_definition_tells_of_the_guest_and_of_what_cannot_move(
    clouds: Clouds, make_machine: Callable[..., Any]
) -> None:
    domain = make_machine("looked", TinyGuest(agent=True))
    assert clouds.source.get_machine("looked").guest_agent is not True  # it is off
    text = domain.XMLDesc().replace("</devices>", f"{_DEVICES}</devices>")
    text = text.replace("</name>", f"</name>{_OS}", 1)
    with closing(clouds.east.connect()) as connection:
        connection.defineXML(text)
        machine = clouds.source.get_machine("looked")
        assert (machine.os_distribution, machine.os_version) == ("centos", "9")
        assert machine.tpm
        assert machine.host_devices == ("pci 0000:01:02.0",)
        assert machine.snapshots == 0
        plain = domain.XMLDesc().replace("</name>", f"</name>{_OS}", 1)
        plain = plain[: plain.index("<tpm")] + plain[plain.index("</tpm>") + 6 :]
        plain = plain[: plain.index("<hostdev")] + plain[plain.index("</hostdev>") + 10 :]
        connection.defineXML(plain)


def test_a_hypervisor_tells_what_it_can_take(clouds: Clouds, make_machine: Callable[..., Any]) -> None:
    make_machine("taken", TinyGuest())
    found = clouds.source.capacity()
    nic = clouds.source.get_machine("taken").nics
    assert "taken" in found.machines
    assert all(found.mac_addresses[each.mac_address] == "taken" for each in nic)
    assert found.max_cpu is not None
    assert found.max_cpu >= 1
    assert found.memory_mb is not None
    assert found.free_memory_mb is not None
    assert found.memory_mb >= found.free_memory_mb > 0
    assert found.firmwares is not None
    assert Firmware.BIOS in found.firmwares
    # The lab's clouds have OVMF beside them (packaging/debian.txt).
    assert Firmware.EFI in found.firmwares
    assert "taken" not in clouds.destination.capacity().machines
