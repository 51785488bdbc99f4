"""Reading machines of a real libvirtd: running, stopped, raw, crashed, and beside other people's backups."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.tiny_guest import TinyGuest
from tests.libvirt_fixtures import (
    Clouds,
    Notes,
    changed_extents,
    clouds,
    leftovers,
    make_machine,
    nbd_client,
    read_all,
    start_and_wait,
)

from isthmus.control.errors import Conflict, InvalidInput, StepFailed
from isthmus.migration.machine import Firmware, PowerState
from isthmus.migration.providers.contract import ChangeSource, Reading
from isthmus.migration.providers.libvirt.provider import LibvirtProvider

__all__ = ["clouds", "make_machine"]
TRANSFER = "aaaaaaaa-0000-0000-0000-000000000001"
MachineMaker = Callable[..., Any]


class Copy:
    """The test's own replica of all disks, kept up to date from readings."""

    def __init__(self) -> None:
        self.disks: dict[str, bytearray] = {}
        self.bytes_taken = 0

    def take(self, reading: Reading) -> None:
        """Take what the reading names, and compare the result with all that it exports."""
        for disk in reading.disks:
            if disk.changes is not ChangeSource.DIRTY_BITMAP:
                self.disks[disk.disk_id] = bytearray(read_all(disk.uri))
                continue
            assert disk.dirty_context is not None
            content = self.disks[disk.disk_id]
            extents = changed_extents(disk.uri, disk.dirty_context)
            with nbd_client(disk.uri) as handle:
                for offset, length in extents:
                    content[offset : offset + length] = handle.pread(length, offset)
                    self.bytes_taken += length
            assert content == read_all(disk.uri)

    def check_image(self, disk_id: str, image: Path, scratch: Path) -> None:
        """Compare with what the (stopped) machine's own image holds."""
        subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(scratch)], check=True, timeout=60)
        assert scratch.read_bytes() == self.disks[disk_id]


def open_reading(clouds: Clouds, name: str, point: str, since: str | None, report: Notes | None = None) -> Reading:
    return clouds.source.open_reading(TRANSFER, name, {}, point=point, since=since, report=report or Notes())


def test_a_running_machine_is_copied_by_increments_to_its_last_byte(
    clouds: Clouds, make_machine: MachineMaker, tmp_path: Path
) -> None:
    domain = make_machine("live", TinyGuest(disks=2))
    start_and_wait(clouds.east, "live", "RECORD 20")
    copy = Copy()
    copy.take(open_reading(clouds, "live", "p1", None))
    clouds.source.close_reading(TRANSFER, "live", keep="p1")
    time.sleep(1)
    second = open_reading(clouds, "live", "p2", "p1")
    assert {disk.changes for disk in second.disks} == {ChangeSource.DIRTY_BITMAP}
    copy.take(second)
    clouds.source.close_reading(TRANSFER, "live", keep="p2")
    assert 0 < copy.bytes_taken < 16 << 20
    assert clouds.source.shut_down("live", {"shutdown_timeout": 200}, Notes())
    last = open_reading(clouds, "live", "p3", "p2")
    assert {disk.changes for disk in last.disks} == {ChangeSource.DIRTY_BITMAP}
    copy.take(last)
    clouds.source.close_reading(TRANSFER, "live", keep=None)
    assert domain.isActive() == 0
    assert domain.listAllCheckpoints() == []
    for index, disk_id in enumerate(("vda", "vdb")):
        image = clouds.east.pool_directory / f"live-{index}.qcow2"
        assert b"isthmus-" not in subprocess.check_output(["qemu-img", "info", image], timeout=60)
        copy.check_image(disk_id, image, tmp_path / disk_id)
    assert leftovers(clouds.east) == []


def test_a_stopped_machine_is_read_without_running_and_is_as_before(
    clouds: Clouds, make_machine: MachineMaker, tmp_path: Path
) -> None:
    domain = make_machine("stopped")
    definition = domain.XMLDesc()
    copy = Copy()
    copy.take(open_reading(clouds, "stopped", "p1", None))
    assert clouds.source.get_machine("stopped").power_state is PowerState.PAUSED
    clouds.source.close_reading(TRANSFER, "stopped", keep="p1")
    assert domain.isActive() == 0
    # libvirt keeps an empty element where our mark was
    assert domain.XMLDesc().replace("  <metadata/>\n", "") == definition
    copy.check_image("vda", clouds.east.pool_directory / "stopped-0.qcow2", tmp_path / "vda")
    second = open_reading(clouds, "stopped", "p2", "p1")
    assert changed_extents(second.disks[0].uri, str(second.disks[0].dirty_context)) == []
    clouds.source.close_reading(TRANSFER, "stopped", keep=None)
    # libvirt keeps an empty element where our mark was
    assert domain.XMLDesc().replace("  <metadata/>\n", "") == definition


def test_a_machine_that_somebody_resumes_while_it_is_read_stays_on(clouds: Clouds, make_machine: MachineMaker) -> None:
    domain = make_machine("resumed")
    open_reading(clouds, "resumed", "p1", None)
    domain.resume()
    clouds.source.close_reading(TRANSFER, "resumed", keep=None)
    assert clouds.source.get_machine("resumed").power_state is PowerState.RUNNING
    assert "isthmus" not in domain.XMLDesc()


def test_a_raw_disk_has_no_checkpoint_and_is_compared(clouds: Clouds, make_machine: MachineMaker) -> None:
    domain = make_machine("rawdisk", TinyGuest(format="raw"))
    assert not clouds.source.get_machine("rawdisk").disks[0].can_track_changes
    first = open_reading(clouds, "rawdisk", "p1", None)
    assert open_reading(clouds, "rawdisk", "p1", None) == first
    assert first.disks[0].changes is ChangeSource.ALLOCATION
    clouds.source.close_reading(TRANSFER, "rawdisk", keep=first.point)
    report = Notes()
    second = open_reading(clouds, "rawdisk", "p2", first.point, report)
    assert second.disks[0].changes is ChangeSource.HASH_MAP
    assert report.warnings() == []
    assert domain.listAllCheckpoints() == []
    clouds.source.close_reading(TRANSFER, "rawdisk", keep=None)


def test_a_crash_of_the_machine_loses_the_point_and_nothing_else(clouds: Clouds, make_machine: MachineMaker) -> None:
    domain = make_machine("crashed")
    domain.create()
    open_reading(clouds, "crashed", "p1", None)
    clouds.source.close_reading(TRANSFER, "crashed", keep="p1")
    first = open_reading(clouds, "crashed", "p2", "p1")
    assert clouds.east.kill_machine("crashed") == 1
    wait_until_off(domain)
    report = Notes()
    again = open_reading(clouds, "crashed", "p2", "p1", report)
    assert again.point.startswith("p2")
    assert again.point != first.point
    assert again.disks[0].changes is ChangeSource.HASH_MAP
    assert report.warnings()
    clouds.source.close_reading(TRANSFER, "crashed", keep=again.point)
    third = open_reading(clouds, "crashed", "p3", again.point)
    assert third.disks[0].changes is ChangeSource.DIRTY_BITMAP
    clouds.source.close_reading(TRANSFER, "crashed", keep=None)
    assert domain.listAllCheckpoints() == []


def wait_until_off(domain: Any) -> None:
    deadline = time.monotonic() + 30
    while domain.isActive():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_libvirtd_does_not_lose_the_reading(clouds: Clouds, make_machine: MachineMaker) -> None:
    make_machine("daemon")
    first = open_reading(clouds, "daemon", "p1", None)
    assert clouds.east.kill_daemon() == 1
    deadline = time.monotonic() + 60
    while True:
        try:
            with LibvirtProvider(clouds.east.connection) as provider:
                again = provider.open_reading(TRANSFER, "daemon", {}, point="p1", since=None, report=Notes())
                assert again == first
                provider.close_reading(TRANSFER, "daemon", keep=None)
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_other_peoples_checkpoints_and_backups_are_left_alone(clouds: Clouds, make_machine: MachineMaker) -> None:
    domain = make_machine("shared")
    domain.create()
    checkpoint = "<domaincheckpoint><name>theirs</name></domaincheckpoint>"
    domain.checkpointCreateXML(checkpoint)
    open_reading(clouds, "shared", "p1", None)
    clouds.source.close_reading(TRANSFER, "shared", keep="p1")
    clouds.source.close_reading(TRANSFER, "shared", keep=None)
    assert [item.getName() for item in domain.listAllCheckpoints()] == ["theirs"]
    socket = clouds.east.directory / "theirs.sock"
    domain.backupBegin(f"<domainbackup mode='pull'><server transport='unix' socket='{socket}'/></domainbackup>", None)
    with pytest.raises(Conflict, match="backup job"):
        open_reading(clouds, "shared", "p2", None)
    clouds.source.close_reading(TRANSFER, "shared", keep=None)
    assert domain.backupGetXMLDesc()
    domain.abortJob()
    domain.destroy()


def test_firmware_buses_and_networks_are_seen(clouds: Clouds, make_machine: MachineMaker) -> None:
    make_machine("seen", efi=True, bus="scsi", mac_address="52:54:00:12:34:56")
    machine = clouds.source.get_machine("seen")
    assert (machine.firmware, machine.machine_type, machine.secure_boot) == (Firmware.EFI, "q35", False)
    assert [(disk.id, disk.bus, disk.storage_backend_identifier) for disk in machine.disks] == [
        ("sda", "scsi", "default")
    ]
    assert [(nic.mac_address, nic.network_name) for nic in machine.nics] == [("52:54:00:12:34:56", "default")]


def test_a_guest_that_does_not_obey_runs_on(clouds: Clouds, make_machine: MachineMaker) -> None:
    domain = make_machine("deaf")
    domain.create()  # it is still in its firmware: nobody hears the power button
    with pytest.raises(StepFailed, match="force_shutdown"):
        clouds.source.shut_down("deaf", {"shutdown_timeout": 1}, Notes())
    assert domain.isActive() == 1


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ext:///system?command=/bin/sh",
        "qemu+ssh://host/system?command=/bin/sh",
        "qemu+ssh://host/system?netcat=/bin/sh",
        "qemu+ssh://-oProxyCommand=x/system",
        "qemu://user:secret@host/system",
        "xen:///system",
    ],
)
def test_uris_that_could_run_programs_here_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInput):
        LibvirtProvider({"uri": uri})
