"""Texts of guests with rpm: boot entries, GRUB's environment, ifcfg files and keyfiles."""

import pytest

from isthmus.migration.morphing import dhcp, grub, network_names, packages, redhat, suse
from isthmus.migration.morphing.contract import FileSystem
from isthmus.migration.morphing.network_names import Names

FOUND = (FileSystem("/dev/loop0", "xfs", "1111", "", 0, 1),)
MAC = "52:54:00:00:00:0a"


def test_a_boot_entry_that_takes_its_options_from_grubs_environment_gets_no_console() -> None:
    text = "title x\noptions $kernelopts $tuned_params\n"
    assert grub.boot_entry(text, FOUND, "ttyS0") == (text, [])


def test_grubs_environment_keeps_its_size() -> None:
    text = "kernelopts=root=/dev/sda1 ro\n"
    block = text + "#" * (1024 - len(text))
    after, changes = grub.environment(block, FOUND, "ttyS0")
    assert len(after) == 1024
    assert "kernelopts=root=UUID=1111 ro console=tty0 console=ttyS0,115200\n#" in after
    assert changes
    assert grub.environment(after, FOUND, "ttyS0") == (after, [])


def test_grubs_environment_that_would_not_fit_is_left() -> None:
    text = f"kernelopts=root=/dev/sda1 {'x' * 980}\n"
    assert grub.environment(text, FOUND, "ttyS0") == (text, [])


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("ifcfg-eth0", "BOOTPROTO='static'\n", Names({}, ("eth0",))),
        ("ifcfg-lan", 'DEVICE="ens3"\nHWADDR=52:54:00:00:00:0A\n', Names({MAC: "ens3"})),
        ("ifcfg-bond0", "DEVICE=bond0\nTYPE=Bond\n", Names({})),
        ("ifcfg-lo", "DEVICE=lo\n", Names({})),
    ],
)
def test_names_of_ifcfg_files(name: str, text: str, names: Names) -> None:
    assert network_names.in_ifcfg(name, text) == names


def test_an_ifcfg_file_asks_dhcp() -> None:
    text = "DEVICE=ens3\nBOOTPROTO=none\nIPADDR=10.0.0.5\nPREFIX=24\nGATEWAY=10.0.0.1\nONBOOT=yes\n"
    assert dhcp.ifcfg(text, "ens3") == "DEVICE=ens3\nBOOTPROTO=dhcp\nONBOOT=yes\n"
    assert dhcp.ifcfg(text, "ens4") == text


def test_a_keyfile_of_another_interface_is_left() -> None:
    text = "[connection]\ninterface-name=ens3\n[ipv4]\nmethod=manual\naddress1=10.0.0.5/24\n[ipv6]\nmethod=manual\n"
    assert dhcp.keyfile(text, "ens4") == text
    assert dhcp.keyfile(text, "ens3") == (
        "[connection]\ninterface-name=ens3\n[ipv4]\nmethod=auto\n[ipv6]\nmethod=manual\n"
    )


def test_rpm_tells_what_is_installed() -> None:
    listing = "open-vm-tools\npackage WALinuxAgent is not installed\n"
    assert packages.read_rpm(listing, ("WALinuxAgent", "open-vm-tools")) == ["open-vm-tools"]


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [
        ("rhel", "9.4", True),
        ("centos", "7", True),
        ("ol", "6.10", False),
        ("fedora", "40", True),
        ("amzn", "2", True),
        ("amzn", "2023", True),
        ("amzn", "2018.03", False),
        ("rocky", "", False),
    ],
)
def test_releases_of_the_rhel_family(distribution: str, version: str, supported: bool) -> None:
    assert redhat.is_supported(distribution, version) is supported


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [
        ("sles", "15.5", True),
        ("sles", "11.4", False),
        ("opensuse-leap", "15.6", True),
        ("opensuse-tumbleweed", "20260101", True),
    ],
)
def test_releases_of_the_suse_family(distribution: str, version: str, supported: bool) -> None:
    assert suse.is_supported(distribution, version) is supported
