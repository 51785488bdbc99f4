"""Pure facts of Windows guests: releases, addresses, versions, texts that go into scripts."""

import struct

import pytest

from isthmus.migration.morphing import windows_drivers, windows_network, windows_registry
from isthmus.migration.morphing.contract import NicPlan
from isthmus.migration.morphing.hives import Key, Value
from isthmus.migration.morphing.windows_network import StaticAddress


@pytest.mark.parametrize(
    ("build", "server", "name"),
    [
        (7601, False, "w7"),
        (9600, True, "2k12r2"),
        (19045, False, "w10"),
        (22631, False, "w11"),
        (20348, True, "2k22"),
        (26100, True, "2k25"),
        (6002, True, ""),
    ],
)
def test_releases(build: int, server: bool, name: str) -> None:
    assert windows_drivers.release_name(build, server=server) == name


def _interface(**values: Value) -> Key:
    return Key(values)


def test_addresses_that_are_none_are_left_out() -> None:
    interfaces = Key(
        keys={
            "{A}": _interface(IPAddress=Value.texts("'; rm -r /", "0.0.0.0"), SubnetMask=Value.texts("255.0.0.0")),
            "{B}": _interface(IPAddress=Value.texts("10.0.0.5"), SubnetMask=Value.texts("255.0.0.0")),
        }
    )
    place = {"PnpInstanceID": Value.text("PCI\\X"), "Name": Value.text("LAN")}
    connections = Key(keys={name: Key(keys={"Connection": Key(place)}) for name in ("{A}", "{B}")})
    assert windows_network.static_addresses(interfaces, connections) == [
        StaticAddress("LAN", (("10.0.0.5", "255.0.0.0"),), (), ())
    ]


def test_a_nic_that_asks_dhcp_takes_its_address_with_it() -> None:
    first, second = (StaticAddress(name, (("10.0.0.5", "255.0.0.0"),), (), ()) for name in ("one", "two"))
    nics = [NicPlan("52:54:00:00:00:0A", dhcp=True), NicPlan("52:54:00:00:00:0B")]
    assert windows_network.assign([first, second], nics) == [("52:54:00:00:00:0b", second)]


def test_names_are_quoted_for_powershell() -> None:
    static = StaticAddress("a'$(x)\u2019", (("10.0.0.5", "255.0.0.0"),), (), ())
    assert "'a''$(x)\u2019\u2019'" in windows_network.script([("52:54:00:00:00:0a", static)])


def test_the_version_of_a_driver_is_that_of_its_inf() -> None:
    blob = windows_registry.version_blob("DriverVer = 06/23/2022,100.90.104.21500\n")
    assert struct.unpack("<4H", blob[32:40]) == (21500, 104, 90, 100)
    assert len(blob) == 48
    assert len(windows_registry.version_blob("DriverVer = 99/99/2022,1.2.3.4\n")) == 48


def test_old_windows_knows_boot_drivers_by_its_critical_devices() -> None:
    edits = windows_registry.boot_driver("ControlSet001", "vioscsi", "", database=False)
    key = "ControlSet001\\Control\\CriticalDeviceDatabase\\pci#ven_1af4&dev_1048&subsys_11001af4&rev_01"
    assert edits[key]["Service"] == Value.text("vioscsi")
    assert not any(name.startswith("DriverDatabase") for name in edits)
