"""What every way into a guest's disks must do; both ways pass the same tests on one synthetic disk."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import synthetic_guest

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing.appliance import ApplianceDisks
from isthmus.migration.morphing.contract import GuestDisks
from isthmus.migration.morphing.worker_kernel import WorkerKernelDisks
from isthmus.migration.reporting import Silence


def _spoil(tree: Path) -> None:
    """Plant what a hostile guest may hold."""
    (tree / "etc/to-host").symlink_to("/../../../../etc/hostname")
    (tree / "etc/outside").symlink_to("/nowhere/at/all")
    os.mkfifo(tree / "etc/fifo")
    os.mknod(tree / "etc/memory", 0o644 | 0o020000, os.makedev(1, 1))
    with (tree / "etc/huge").open("wb") as file:
        file.truncate(5 << 20)
    (tree / "etc/hostname").write_text("the guest\n")
    (tree / "etc/owned").write_text("mine\n")
    os.chown(tree / "etc/owned", 33, 34)
    (tree / "etc/owned").chmod(0o600)


@pytest.fixture(scope="module", params=[WorkerKernelDisks, ApplianceDisks], ids=["worker-kernel", "appliance"])
def guest(request: pytest.FixtureRequest) -> Iterator[GuestDisks]:
    open_disks: Callable[..., GuestDisks] = request.param
    with tempfile.TemporaryDirectory(prefix="/tmp/guest-") as directory:
        disk = synthetic_guest.make(Path(directory), _spoil, esp=True)
        with synthetic_guest.served(disk.path) as uri, open_disks([uri], Silence()) as disks:
            root = next(found for found in disks.file_systems() if found.type == "ext4")
            disks.check(root)
            disks.mount(root, "/")
            yield disks


def test_file_systems_are_found_with_their_places(guest: GuestDisks) -> None:
    root, esp = sorted(guest.file_systems(), key=lambda found: found.partition)
    assert (root.type, root.uuid, root.disk_index, root.partition) == ("ext4", synthetic_guest.ROOT_UUID, 0, 1)
    assert (root.mount_point, esp.type, esp.label, esp.partition) == ("/", "vfat", "ESP", 2)


def test_a_missing_file_is_none(guest: GuestDisks) -> None:
    assert guest.read("/etc/none") is None
    assert guest.read("/etc/none/below") is None
    assert guest.read("/etc/outside") is None
    assert not guest.exists("/etc/none")
    assert guest.list_directory("/etc/none") == []


def test_links_stay_inside_the_guest(guest: GuestDisks) -> None:
    assert guest.read("/etc/to-host") == "the guest\n"


@pytest.mark.parametrize("name", ["fifo", "memory", "huge"])
def test_what_is_not_a_small_regular_file_is_refused(guest: GuestDisks, name: str) -> None:
    with pytest.raises(StepFailed, match=f"/etc/{name}"):
        guest.read(f"/etc/{name}")


def test_writing_makes_directories_and_replaces(guest: GuestDisks) -> None:
    guest.write("/etc/new/deep/file", "one\n", 0o640)
    guest.write("/etc/new/deep/file", "two\udcff\n")
    assert guest.read("/etc/new/deep/file") == "two\udcff\n"
    assert guest.list_directory("/etc/new/deep") == ["file"]


def test_writing_keeps_owner_and_mode(guest: GuestDisks) -> None:
    guest.write("/etc/owned", "theirs\n")
    assert guest.run(["ls", "-ln", "/etc/owned"], timeout_seconds=60).output.split()[:4:2] == ["-rw-------", "33"]


def test_a_directory_is_not_replaced_by_a_file(guest: GuestDisks) -> None:
    with pytest.raises(StepFailed, match="directory"):
        guest.write("/etc/default", "x")


def test_removing_says_whether_it_was_there(guest: GuestDisks) -> None:
    guest.write("/etc/gone", "")
    assert guest.remove("/etc/gone")
    assert not guest.remove("/etc/gone")


def test_links_are_made_and_replaced(guest: GuestDisks) -> None:
    guest.link("/etc/new/link", "/nowhere")
    guest.link("/etc/new/link", "../hostname")
    assert guest.exists("/etc/new/link")
    assert guest.read("/etc/new/link") == "the guest\n"


def test_a_program_gives_its_status_output_and_reads_input(guest: GuestDisks) -> None:
    result = guest.run(["sh", "-c", "cat; echo error >&2; exit 3"], timeout_seconds=60, stdin="hello\n")
    assert (result.status, result.output.split()) == (3, ["hello", "error"])


def test_a_program_that_is_missing_is_a_status(guest: GuestDisks) -> None:
    assert guest.run(["/no/such/program"], timeout_seconds=60).status == 127


def test_a_program_is_stopped_when_its_time_is_over(guest: GuestDisks) -> None:
    assert guest.run(["sleep", "600"], timeout_seconds=1).status == 124


def test_a_program_has_no_network(guest: GuestDisks) -> None:
    links = guest.run(["ip", "-o", "link"], timeout_seconds=60).output
    assert [line.split()[1] for line in links.splitlines() if "LOOPBACK" not in line and line.strip()] == []


def test_a_script_before_mounting_sees_the_disks(guest: GuestDisks) -> None:
    result = guest.run_before_mount(
        "for d in $ISTHMUS_DEVICES; do test -b $d || exit 1; done; echo seen", timeout_seconds=60
    )
    assert (result.status, result.output.strip()) == (0, "seen")


def test_the_efi_partition_is_read_and_written(guest: GuestDisks) -> None:
    esp = next(found for found in guest.file_systems() if found.type == "vfat")
    assert guest.esp_exists(esp, "/EFI/debian/grubx64.efi")
    assert not guest.esp_exists(esp, "/EFI/BOOT/BOOTX64.EFI")
    guest.esp_copy(esp, "/EFI/debian/grubx64.efi", "/EFI/BOOT/BOOTX64.EFI")
    guest.esp_copy(esp, "/EFI/debian/grubx64.efi", "/EFI/BOOT/BOOTX64.EFI")
    assert guest.esp_exists(esp, "/EFI/BOOT/BOOTX64.EFI")


def test_a_disk_is_read_as_it_is(guest: GuestDisks) -> None:
    assert guest.read_disk(0, 510, 2) == b"\x55\xaa"


def test_text_of_the_efi_partition_is_read_and_replaced(guest: GuestDisks) -> None:
    esp = next(found for found in guest.file_systems() if found.type == "vfat")
    assert guest.esp_read(esp, "/EFI/debian/none.cfg") is None
    guest.esp_write(esp, "/EFI/debian/grub.cfg", "one\n" * 1000)
    guest.esp_write(esp, "/EFI/debian/grub.cfg", "set root='hd0' \"$x\"\n")
    assert guest.esp_read(esp, "/EFI/debian/grub.cfg") == "set root='hd0' \"$x\"\n"


def test_files_go_in_and_out_byte_for_byte(guest: GuestDisks, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "in").write_bytes(content)
    guest.upload(tmp_path / "in", "/var/some/where/file")
    guest.download("/var/some/where/file", tmp_path / "out", len(content))
    assert (tmp_path / "out").read_bytes() == content
    with pytest.raises(StepFailed, match="not a regular file of at most"):
        guest.download("/var/some/where/file", tmp_path / "out", len(content) - 1)
    with pytest.raises(StepFailed, match="fifo"):
        guest.download("/etc/fifo", tmp_path / "out", 100)
