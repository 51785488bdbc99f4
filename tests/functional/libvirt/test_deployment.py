"""Writing to a real libvirtd's pools, and machines that come to life there."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbd
import pytest
from lab.tiny_guest import TinyGuest
from tests.libvirt_fixtures import (
    BOOT_SECONDS,
    Clouds,
    Notes,
    clouds,
    fill,
    leftovers,
    make_machine,
    nbd_client,
    read_all,
    write_all,
)

from isthmus.control.errors import IsthmusError
from isthmus.migration.machine import (
    BootProbe,
    DestinationDisk,
    DiskMapping,
    Machine,
    NicMapping,
    ProbeResult,
    ProbeType,
)

__all__ = ["clouds", "make_machine"]
TRANSFER, DEPLOYMENT = "bbbbbbbb-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
OWNER = f"{TRANSFER}/test"


def disks_for(machine: Machine, pool: str = "default") -> list[DiskMapping]:
    return [DiskMapping(disk, pool) for disk in machine.disks]


def nics_for(machine: Machine) -> list[NicMapping]:
    return [NicMapping(nic, "default") for nic in machine.nics]


@pytest.fixture
def replica(clouds: Clouds, make_machine: Callable[..., Any]) -> Iterator[Callable[..., list[DestinationDisk]]]:
    """Return a function that makes a stopped guest in the east and copies its disks to the west."""
    made: list[DestinationDisk] = []

    def copy(name: str, guest: TinyGuest, environment: dict[str, Any], **options: Any) -> list[DestinationDisk]:
        make_machine(name, guest, **options)
        machine = clouds.source.get_machine(name)
        disks = clouds.destination.ensure_disks(TRANSFER, name, environment, disks_for(machine))
        made.extend(disks)
        reading = clouds.source.open_reading(TRANSFER, name, {}, point="p", since=None, report=Notes())
        for source, target in zip(reading.disks, clouds.destination.open_writing(OWNER, disks), strict=True):
            write_all(target.uri, read_all(source.uri))
        clouds.source.close_reading(TRANSFER, name, keep=None)
        clouds.destination.close_writing(OWNER)
        return list(disks)

    yield copy
    clouds.destination.close_writing(OWNER)
    clouds.destination.delete_disks(made)
    assert leftovers(clouds.west) == []


@pytest.mark.parametrize(
    ("guest", "options", "environment"),
    [
        (TinyGuest(disks=2), {"bus": "virtio"}, {"disk_bus": "scsi", "disk_format": "raw"}),
        (TinyGuest(format="raw"), {"bus": "scsi", "efi": True}, {"disk_bus": "virtio"}),
    ],
    ids=["bios-virtio-to-scsi-raw", "uefi-scsi-to-virtio-qcow2"],
)
def test_a_machine_lives_on_at_the_destination(
    clouds: Clouds, replica: Callable[..., Any], guest: TinyGuest, options: Any, environment: Any
) -> None:
    name = "alive"
    disks = replica(name, guest, environment, **options)
    machine = clouds.source.get_machine(name)
    made = clouds.destination.create_machine(DEPLOYMENT, machine, environment, disks, nics_for(machine))
    try:
        probe = BootProbe(ProbeType.CONSOLE, marker="GUEST-UP", timeout_seconds=BOOT_SECONDS)
        report = Notes()
        result = clouds.destination.boot_machine(made, probe, report)
        assert result.passed, result
        assert f"DISKS {guest.disks}" in result.console_tail
        assert "RECORDS ok=0 last=0 bad=0" in result.console_tail
        assert any("kernel started" in message for _level, message in report.events)
        wrong = BootProbe(ProbeType.CONSOLE, marker="never said", timeout_seconds=2)
        failed = clouds.destination.boot_machine(made, wrong, Notes())
        assert (failed.passed, "never said" in failed.saw) == (False, True)
        assert len(failed.console_tail) <= 50
        agent = BootProbe(ProbeType.GUEST_AGENT, timeout_seconds=1)
        assert not clouds.destination.boot_machine(made, agent, Notes()).passed
        _see_tcp_probe(lambda asked: clouds.destination.boot_machine(made, asked, Notes()))
    finally:
        clouds.destination.delete_machine(DEPLOYMENT, name)
    nvram = clouds.west.directory / "lib" / "qemu" / "nvram"
    assert list(nvram.glob("*")) == []


def _see_tcp_probe(ask: Callable[[BootProbe], ProbeResult]) -> None:
    """The worker has no route into a lab cloud, so the address is given and the listener is the test's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        open_port = ask(BootProbe(ProbeType.TCP, port=port, address="127.0.0.1", timeout_seconds=30))
    assert (open_port.passed, open_port.saw) == (True, f"tcp: 127.0.0.1 port {port} answered")
    closed = ask(BootProbe(ProbeType.TCP, port=port, address="127.0.0.1", timeout_seconds=1))
    assert not closed.passed


def test_a_taken_name_gets_a_companion_and_the_other_machine_stays(
    clouds: Clouds, make_machine: Callable[..., Any]
) -> None:
    make_machine("home")
    machine, cloud = clouds.source.get_machine("home"), clouds.source
    made = cloud.create_machine(DEPLOYMENT, machine, {}, [], nics_for(machine))
    assert made.name.startswith("home-")
    assert cloud.create_machine(DEPLOYMENT, machine, {}, [], nics_for(machine)) == made
    cloud.delete_machine("another-deployment", "home")
    assert len(cloud.list_machines("^home")) == 2
    cloud.delete_machine(DEPLOYMENT, "home")
    assert [item.name for item in cloud.list_machines("^home")] == ["home"]


def test_a_killed_writer_is_made_anew_with_what_was_flushed(clouds: Clouds, make_machine: Callable[..., Any]) -> None:
    make_machine("writer")
    machine, cloud = clouds.source.get_machine("writer"), clouds.destination
    disks = cloud.ensure_disks(TRANSFER, "writer", {}, disks_for(machine))
    try:
        content = b"flushed!" * (1 << 17)
        (export,) = cloud.open_writing(OWNER, disks)
        write_all(export.uri, content)
        assert export.image is not None
        assert Path(export.image.path).exists()
        assert clouds.west.kill_writer() == 1
        assert read_all(cloud.open_writing(OWNER, disks)[0].uri).startswith(content)
        cloud.close_writing(OWNER)
        assert leftovers(clouds.west) == [disks[0].volume_id.partition("/")[2]]
    finally:
        cloud.close_writing(OWNER)
        cloud.delete_disks(disks)
    assert leftovers(clouds.west) == []


def test_a_pool_that_fills_up_is_an_error_for_the_writer_and_leaves_it_usable(
    clouds: Clouds, make_machine: Callable[..., Any]
) -> None:
    make_machine("full")
    directory = clouds.west.directory / "small"
    directory.mkdir()
    mounted = clouds.west.run("mount", "-t", "tmpfs", "-o", "size=24m", "small", str(directory))
    assert mounted.returncode == 0, mounted.stderr
    connection = clouds.west.connect()
    pool = connection.storagePoolCreateXML(
        f"<pool type='dir'><name>small</name><target><path>{directory}</path></target></pool>"
    )
    machine, cloud = clouds.source.get_machine("full"), clouds.destination
    mappings = disks_for(machine, "small")
    try:
        with pytest.raises(IsthmusError, match="free"):
            cloud.validate_destination(TRANSFER, machine, {}, mappings, [])
        with pytest.raises(IsthmusError, match="free"):
            cloud.validate_destination(TRANSFER, machine, {"allow_overcommit": True}, mappings, [])
        disks = cloud.ensure_disks(TRANSFER, "full", {}, mappings)
        uri = cloud.open_writing(OWNER, disks)[0].uri
        with nbd_client(uri) as handle, pytest.raises(nbd.Error, match="No space"):
            fill(handle, 64 << 20)
        cloud.close_writing(OWNER)
        cloud.delete_disks(disks)
    finally:
        cloud.close_writing(OWNER)
        pool.destroy()
        connection.close()
        clouds.west.run("umount", str(directory))


def test_an_interrupted_clone_is_made_again(clouds: Clouds, make_machine: Callable[..., Any]) -> None:
    make_machine("clone")
    machine, cloud = clouds.source.get_machine("clone"), clouds.destination
    disks = cloud.ensure_disks(TRANSFER, "clone", {}, disks_for(machine))
    clones: list[DestinationDisk] = []
    try:
        content = b"original" * (1 << 17)
        write_all(cloud.open_writing(OWNER, disks)[0].uri, content)
        cloud.close_writing(OWNER)
        clones = list(cloud.clone_disks(DEPLOYMENT, "clone", disks, Notes()))
        # As a libvirtd killed half way leaves it: a volume of the right name, without its mark, with other content.
        (clouds.west.pool_directory / (clones[0].volume_id.partition("/")[2] + ".complete")).unlink()
        write_all(cloud.open_writing(OWNER, clones)[0].uri, b"half" * (1 << 18))
        cloud.close_writing(OWNER)
        connection = clouds.west.connect()
        connection.storagePoolLookupByName("default").refresh()
        connection.close()
        assert cloud.clone_disks(DEPLOYMENT, "clone", disks, Notes()) == clones
        assert read_all(cloud.open_writing(OWNER, clones)[0].uri).startswith(content)
    finally:
        cloud.close_writing(OWNER)
        cloud.delete_disks([*clones, *disks])
    assert leftovers(clouds.west) == []
