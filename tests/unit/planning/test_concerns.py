"""What stands in the way of a migration: each code, its severity, and its remedy in the documentation."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.migration.machine import Capacity, Disk, Firmware, Machine, Network, Nic, PowerState, StorageBackend
from isthmus.migration.planning.concerns import (
    REMEDIES,
    Arrival,
    Code,
    Observed,
    Severity,
    Wishes,
    concerns,
    same_addresses,
    severity_of,
    together,
)

GIB = 1 << 30
DISK = Disk("vda", 10 * GIB, "qcow2", "pool", "virtio", can_track_changes=True, allocated_bytes=GIB)
MACHINE = Machine(
    id="1",
    name="web",
    num_cpu=2,
    memory_mb=1024,
    firmware=Firmware.BIOS,
    power_state=PowerState.RUNNING,
    disks=(DISK,),
    nics=(Nic("n", "52:54:00:00:00:01", "lan"),),
    os_distribution="debian",
    os_version="12",
    guest_agent=True,
)
WISHES = Wishes(network_map={"lan": "net"}, storage_mappings={"default": "disks"})
ARRIVAL = Arrival(
    (Network("net", "net"),),
    (StorageBackend("disks", "disks", 100 * GIB),),
    "disks",
    Capacity(max_cpu=8, memory_mb=8192, free_memory_mb=4096, firmwares=(Firmware.BIOS,)),
)


def found(
    machine: Machine | None = MACHINE,
    *,
    refusal: str | None = None,
    os_supported: bool | None = True,
    arrival: Arrival | None = ARRIVAL,
    wishes: Wishes = WISHES,
) -> list[Code]:
    return [each.code for each in concerns(Observed("web", machine, refusal, os_supported), arrival, wishes)]


def with_disk(**facts: Any) -> Machine:
    return replace(MACHINE, disks=(replace(DISK, **facts),))


def test_a_plain_machine_is_clear() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("machine", "code"),
    [
        (replace(MACHINE, disks=()), Code.NO_DISK),
        (with_disk(shareable=True), Code.SHARED_DISK),
        (with_disk(encrypted=True), Code.ENCRYPTED_DISK),
        (with_disk(can_track_changes=False), Code.NO_BITMAP),
        (with_disk(backing_files=2), Code.SNAPSHOT_CHAIN),
        (with_disk(size_bytes=101 * GIB), Code.TOO_LITTLE_SPACE),
        (with_disk(size_bytes=51 * GIB), Code.LITTLE_SPACE_FOR_CLONES),
        (replace(MACHINE, power_state=PowerState.OFF, guest_agent=None), Code.POWERED_OFF),
        (replace(MACHINE, guest_agent=False), Code.GUEST_AGENT_ABSENT),
        (replace(MACHINE, snapshots=1), Code.SNAPSHOTS),
        (replace(MACHINE, tpm=True), Code.TPM),
        (replace(MACHINE, host_devices=("pci 0000:01:00.0",)), Code.HOST_DEVICE),
        (replace(MACHINE, firmware=Firmware.EFI), Code.UEFI_TO_BIOS),
        (replace(MACHINE, num_cpu=9), Code.INSTANCE_TOO_LARGE),
        (replace(MACHINE, memory_mb=8193), Code.INSTANCE_TOO_LARGE),
        (replace(MACHINE, memory_mb=4097), Code.HOST_MEMORY_SHORT),
        (replace(MACHINE, nics=(Nic("n", "52:54:00:00:00:01", "dmz"),)), Code.UNMAPPED_NETWORK),
    ],
)
def test_a_fact_of_the_machine_is_told(machine: Machine, code: Code) -> None:
    assert found(machine) == [code]


@pytest.mark.parametrize(
    ("arrival", "wishes", "code"),
    [
        (ARRIVAL, replace(WISHES, network_map={"lan": "gone"}), Code.UNKNOWN_NETWORK),
        (ARRIVAL, replace(WISHES, storage_mappings={"default": "gone"}), Code.UNMAPPED_STORAGE),
        (replace(ARRIVAL, default_storage=None), Wishes(network_map={"lan": "net"}), Code.UNMAPPED_STORAGE),
        (replace(ARRIVAL, capacity=Capacity(machines=("web",))), WISHES, Code.NAME_TAKEN),
        (replace(ARRIVAL, capacity=Capacity(mac_addresses={"52:54:00:00:00:01": "x"})), WISHES, Code.DUPLICATE_MAC),
        (replace(ARRIVAL, refusals={"web": "no"}), WISHES, Code.DESTINATION_REFUSES),
    ],
)
def test_a_fact_of_the_destination_is_told(arrival: Arrival, wishes: Wishes, code: Code) -> None:
    assert found(arrival=arrival, wishes=wishes) == [code]


def test_without_a_destination_only_the_source_is_told_of() -> None:
    assert found(replace(MACHINE, tpm=True, num_cpu=99), arrival=None) == [Code.TPM]


def test_a_machine_that_cannot_be_read_says_why() -> None:
    (only,) = concerns(Observed("web", None, "it is gone"), ARRIVAL, WISHES)
    assert (only.code, only.severity) == (Code.MACHINE_UNREADABLE, Severity.CRITICAL)
    assert "it is gone" in only.message


def test_a_guest_is_judged_by_what_is_known_of_it() -> None:
    assert found(os_supported=False) == [Code.OS_UNSUPPORTED]
    assert found(os_supported=None) == [Code.OS_UNKNOWN]
    assert found(os_supported=False, wishes=replace(WISHES, skip_os_morphing=True)) == []


def test_what_is_known_already_is_not_told_again_as_a_refusal() -> None:
    assert found(refusal="an image is broken") == [Code.SOURCE_REFUSES]
    assert found(with_disk(shareable=True), refusal="it shares disks") == [Code.SHARED_DISK]
    full = replace(ARRIVAL, refusals={"web": "no space"})
    assert found(with_disk(size_bytes=101 * GIB), arrival=full) == [Code.TOO_LITTLE_SPACE]


def test_overcommit_asks_for_what_the_disk_holds() -> None:
    wishes = replace(WISHES, destination_environment={"allow_overcommit": True})
    assert found(with_disk(size_bytes=101 * GIB), wishes=wishes) == []


def test_the_gravest_comes_first() -> None:
    codes = concerns(Observed("web", replace(with_disk(shareable=True), tpm=True), None, None), ARRIVAL, WISHES)
    assert [each.severity for each in codes] == [Severity.CRITICAL, Severity.WARNING, Severity.INFORMATION]


def test_space_is_also_counted_for_all_machines_together() -> None:
    storage = (StorageBackend("disks", "disks", 100), StorageBackend("other", "other", None))
    (only,) = together(({"disks": 60}, {"disks": 60, "other": 900}), storage)
    assert only.code is Code.TOO_LITTLE_SPACE_TOGETHER
    assert "120" in only.message
    assert together(({"disks": 60}, {"disks": 40}), storage) == ()
    # One that is too large alone is told of by itself.
    assert together(({"disks": 160},), storage) == ()


def test_machines_with_the_same_address_are_told_of_once() -> None:
    pairs = [("52:54:00:00:00:0A", "a"), ("52:54:00:00:00:0a", "b"), ("", "c"), ("", "d"), ("x", "e")]
    (only,) = same_addresses(pairs)
    assert only.code is Code.DUPLICATE_MAC
    assert "a, b" in only.message


def test_the_documentation_has_each_code_with_its_severity_and_a_remedy() -> None:
    page = (Path(__file__).parents[3] / "docs" / "assessments.md").read_text()
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| (critical|warning|information) \| .{10,} \| (.{10,}) \|$", page, re.MULTILINE
    )
    told = [(code, severity, remedy.replace("`", "")) for code, severity, remedy in rows]
    assert told == [(code.value, severity_of(code).value, REMEDIES[code]) for code in Code]


def test_a_concern_brings_its_remedy() -> None:
    found = {each.code: each.remedy for each in concerns(Observed("web", replace(MACHINE, disks=())), None, Wishes())}
    assert found[Code.NO_DISK] == "leave it out"
    assert found == {code: REMEDIES[code] for code in found}
