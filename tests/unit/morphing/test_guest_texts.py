"""The smaller texts: agents, cloud-init, releases, NBD addresses, partition tables, wrapped commands."""

import subprocess

import pytest

from isthmus.control.errors import InvalidInput, NotSupported, StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.morphing import agents, debian, nbd_address, packages, partitions, shell_wrapping
from isthmus.migration.morphing.contract import CommandResult, Target
from isthmus.migration.morphing.programs import TIMED_OUT, run_limited, tail_of

TARGET = Target("libvirt", "virtio", "virtio", Firmware.BIOS)


def test_every_agent_but_the_targets_own_is_foreign() -> None:
    foreign = agents.foreign_agents(TARGET)
    assert {"open-vm-tools", "walinuxagent", "google-guest-agent"} <= set(foreign)
    assert "qemu-guest-agent" not in foreign


def test_half_removed_packages_count_as_installed() -> None:
    listing = "ii  open-vm-tools\nrc  walinuxagent\nun  amazon-ssm-agent\ndpkg-query: no packages found matching x\n"
    wanted = ("open-vm-tools", "walinuxagent", "amazon-ssm-agent")
    assert packages.read_dpkg(listing, wanted) == ["open-vm-tools", "walinuxagent"]


def test_pins_to_metadata_are_dropped_with_what_is_below_them() -> None:
    text = "# a comment\ndatasource_list: [ Ec2 ]\ndatasource:\n  Ec2:\n    timeout: 5\nusers:\n  - default\n"
    assert agents.without_pins(text) == "# a comment\nusers:\n  - default\n"
    assert agents.without_pins("# only\ndatasource_list:\n- Ec2\n") == ""


@pytest.mark.parametrize(
    ("distribution", "version", "supported"),
    [
        ("debian", "12", True),
        ("debian", "8", True),
        ("debian", "7", False),
        ("debian", "", False),
        ("ubuntu", "22.04", True),
        ("ubuntu", "16.04", True),
        ("ubuntu", "14.04", False),
        ("ubuntu", "23.04", False),
        ("ubuntu", "22.10", False),
    ],
)
def test_releases(distribution: str, version: str, supported: bool) -> None:
    assert debian.is_supported(distribution, version) is supported


def test_nbd_addresses() -> None:
    parse = nbd_address.parse
    assert parse("nbd+unix:///disk%20a?socket=/run/x.sock") == nbd_address.NbdAddress("unix:/run/x.sock", "disk a")
    assert parse("nbd://host/vda") == nbd_address.NbdAddress("host:10809", "vda")
    assert parse("nbd://[::1]:5/") == nbd_address.NbdAddress("[::1]:5", "")
    with pytest.raises(NotSupported, match="TLS"):
        parse("nbds://host/vda")
    with pytest.raises(InvalidInput):
        parse("http://host/")


def test_partition_tables_leave_out_what_is_not_on_the_disk() -> None:
    table = """{"partitiontable": {"label": "dos", "sectorsize": 512, "partitions": [
        {"node": "/x/disk1", "start": 2048, "size": 2048, "type": "83"},
        {"node": "/x/disk2", "start": 4096, "size": 2048, "type": "5"},
        {"node": "/x/disk5", "start": 4096, "size": 2048, "type": "82"},
        {"node": "/x/disk6", "start": 8192, "size": 999999, "type": "83"}]}}"""
    assert partitions.parse_table(table, 8 << 20) == (
        partitions.Partition(1, 1 << 20, 1 << 20),
        partitions.Partition(5, 2 << 20, 1 << 20),
    )


def test_a_wrapped_command_gives_status_and_output() -> None:
    def run(wrapped: str) -> CommandResult:
        done = subprocess.run(["sh", "-c", wrapped], capture_output=True, text=True, check=True)
        return shell_wrapping.unwrap(done.stdout, time_is_over=True)

    assert run(shell_wrapping.wrap(["sh", "-c", "cat; echo '$x'; exit 3"], 5, "in\n")) == CommandResult(3, "in\n$x\n")
    assert run(shell_wrapping.wrap(["sleep", "9"], 1, "")).status == TIMED_OUT
    with pytest.raises(StepFailed):
        shell_wrapping.wrap(["cat"], 5, "x" * 100_000)


def test_programs_are_limited_in_time_and_output() -> None:
    assert run_limited(["sh", "-c", "cat; exit 4"], 5, "hello").status == 4
    assert run_limited(["sleep", "30"], 0.2).status == TIMED_OUT
    assert len(run_limited(["head", "-c", "1000000", "/dev/zero"], 5).output) == 256 << 10
    assert tail_of("a\n\n b \n", 100) == "a | b"
