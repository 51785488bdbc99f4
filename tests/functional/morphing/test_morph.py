"""Morphing of synthetic disks: what is changed, what is refused, what is left behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import synthetic_guest
from lab.synthetic_guest import MAC, ROOT_UUID, SyntheticDisk

from isthmus.control.errors import Cancelled, NotSupported, StepFailed, Unavailable
from isthmus.migration.machine import Firmware
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing.contract import MorphRequest, NicPlan, Target, UserScript, WayIn
from isthmus.migration.morphing.morph import morph
from isthmus.migration.morphing.worker_kernel import WorkerKernelDisks
from isthmus.migration.reporting import Level, Progress

KERNEL_CHANGES = {
    f"fstab: / is mounted by UUID={ROOT_UUID} instead of /dev/sda1",
    f"grub.cfg: root=UUID={ROOT_UUID} instead of /dev/sda1",
    "initramfs: MODULES=most instead of dep",
    "modprobe: virtio_blk is no longer forbidden in /etc/modprobe.d/source.conf",
    f"network: the NIC with MAC address {MAC} is named ens3 on any chipset",
    "cloud-init: the pin to the source's metadata in /etc/cloud/cloud.cfg.d/90_dpkg.cfg is dropped",
    "agents: open-vm-tools of the source platform is purged",
}


class Listening:
    """A report that keeps events, and cancels from a moment on."""

    def __init__(self, cancel_after: float | None = None) -> None:
        self.events: list[str] = []
        self._cancel_at = time.monotonic() + cancel_after if cancel_after is not None else None

    def event(self, level: Level, message: str) -> None:
        self.events.append(message)

    def progress(self, progress: Progress) -> None: ...

    def check(self) -> None:
        if self._cancel_at and time.monotonic() > self._cancel_at:
            raise Cancelled("stop")


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="/tmp/morph-") as name:
        yield Path(name)


def _request(uri: str, *scripts: UserScript, bus: str = "virtio", firmware: Firmware = Firmware.BIOS) -> MorphRequest:
    target = Target("libvirt", bus, "virtio", firmware)
    return MorphRequest((uri,), target, (NicPlan(MAC),), scripts, WayIn.WORKER_KERNEL, 20)


def _read(uri: str, *paths: str) -> list[str | None]:
    with WorkerKernelDisks([uri], Listening()) as guest:
        guest.mount(next(found for found in guest.file_systems() if found.type == "ext4"), "/")
        return [guest.read(path) for path in paths]


def _morph_changed(directory: Path, change: Callable[[Path], None]) -> None:
    disk = synthetic_guest.make(directory, change)
    with synthetic_guest.served(disk.path) as uri:
        morph(_request(uri), Listening())


def test_a_guest_is_freed_of_its_source(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    report = Listening()
    with synthetic_guest.served(disk.path) as uri:
        answer = morph(_request(uri), report)
        fstab, link, interfaces, machine_id, made = _read(
            uri,
            "/etc/fstab",
            f"/etc/systemd/network/10-isthmus-{MAC.replace(':', '')}.link",
            "/etc/network/interfaces",
            "/etc/machine-id",
            "/var/log/update-initramfs",
        )
    assert set(answer.changes) >= KERNEL_CHANGES
    assert (answer.os.distribution, answer.os.version, answer.os.architecture) == ("debian", "12", "x86_64")
    assert fstab == f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
    assert f"MACAddress={MAC}" in str(link)
    assert "address 10.0.0.5/24" in str(interfaces)
    assert machine_id == "0123456789abcdef0123456789abcdef\n"
    assert made == "-u -k all\n"
    assert report.events == ["the guest is Debian GNU/Linux 12 (bookworm)"]


def test_a_second_run_changes_nothing(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    with synthetic_guest.served(disk.path) as uri:
        morph(_request(uri), Listening())
        again = morph(_request(uri), Listening())
    assert again.changes == (f"initramfs: made again for kernel {synthetic_guest.KERNEL}",)


def test_firmware_without_settings_finds_the_loader(directory: Path) -> None:
    disk = synthetic_guest.make(directory, esp=True)
    with synthetic_guest.served(disk.path) as uri:
        first = morph(_request(uri, firmware=Firmware.EFI), Listening())
        second = morph(_request(uri, firmware=Firmware.EFI), Listening())
    line = "EFI: /EFI/debian/shimx64.efi is copied to /EFI/BOOT/BOOTX64.EFI, where firmware without settings looks"
    assert line in first.changes
    assert line not in second.changes


def test_efi_without_a_loader_is_told_before_anything_is_changed(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    before = disk.path.read_bytes()
    with synthetic_guest.served(disk.path) as uri, pytest.raises(StepFailed, match="deploy with BIOS"):
        morph(_request(uri, firmware=Firmware.EFI), Listening())
    with synthetic_guest.served(disk.path) as uri:
        assert _read(uri, "/etc/fstab") == ["/dev/sda1 / ext4 errors=remount-ro 0 1\n"]
    assert len(before) == synthetic_guest.DISK_BYTES


def test_a_bus_without_a_driver_is_told(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    with synthetic_guest.served(disk.path) as uri, pytest.raises(StepFailed, match="choose another disk bus than sata"):
        morph(_request(uri, bus="sata"), Listening())


def test_an_unknown_system_names_the_way_on(directory: Path) -> None:
    def change(tree: Path) -> None:
        (tree / "etc/os-release").write_text('PRETTY_NAME="Arch Linux"\nID=arch\n')

    with pytest.raises(NotSupported, match=r"Arch Linux.*skip_os_morphing"):
        _morph_changed(directory, change)


def test_an_old_release_names_the_way_on(directory: Path) -> None:
    def change(tree: Path) -> None:
        (tree / "etc/os-release").write_text('PRETTY_NAME="Debian 7"\nID=debian\nVERSION_ID="7"\n')

    with pytest.raises(NotSupported, match=r"Debian 7 is not supported.*skip_os_morphing"):
        _morph_changed(directory, change)


def test_disks_without_a_system_name_the_way_on(directory: Path) -> None:
    with pytest.raises(NotSupported, match=r"no operating system.*skip_os_morphing"):
        _morph_changed(directory, lambda tree: shutil.rmtree(tree / "etc"))


def test_a_corrupt_file_system_is_named(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    with disk.path.open("r+b") as file:  # the group descriptors and the first inode tables, behind the superblock
        file.seek(disk.offset + 4096)
        file.write(os.urandom(4 << 20))
    with synthetic_guest.served(disk.path) as uri, pytest.raises(StepFailed, match=r"disk 1 partition 1.*run fsck"):
        morph(_request(uri), Listening())


def test_links_do_not_lead_to_the_host(directory: Path) -> None:
    outside = directory / "outside"
    outside.mkdir()

    def change(tree: Path) -> None:
        (tree / "etc/systemd").mkdir()
        (tree / "etc/systemd/network").symlink_to(outside)
        shutil.rmtree(tree / "dev")
        (tree / "dev").symlink_to(outside)
        (tree / outside.relative_to("/")).mkdir(parents=True)

    _morph_changed(directory, change)
    assert list(outside.iterdir()) == []


def test_a_fifo_in_place_of_a_file_is_refused_at_once(directory: Path) -> None:
    def change(tree: Path) -> None:
        (tree / "etc/default/grub").unlink()
        os.mkfifo(tree / "etc/default/grub")

    begun = time.monotonic()
    with pytest.raises(StepFailed, match="/etc/default/grub in the guest is not a regular file"):
        _morph_changed(directory, change)
    assert time.monotonic() - begun < 30


def test_a_guests_program_sees_nothing_of_the_host(directory: Path) -> None:
    script = """
        [ $(ls -d /proc/[0-9]* | wc -l) -lt 6 ] || exit 11
        [ -e /dev/vda ] && exit 12
        mknod /tmp/node b 7 0 && exit 13
        mount -t tmpfs none /tmp && exit 14
        mkdir -p /tmp/jail; chroot /tmp/jail /bin/sh 2>/dev/null && exit 15
        ls /proc/1/root/ 2>/dev/null && exit 16
        exit 0
    """
    disk = synthetic_guest.make(directory, lambda tree: (tree / "bin/wc").symlink_to("busybox"))
    with synthetic_guest.served(disk.path) as uri:
        answer = morph(_request(uri, UserScript(ScriptPhase.POST_OS_MOUNT, script)), Listening())
    assert "user script: ran in the guest" in answer.changes


@pytest.mark.parametrize("phase", [ScriptPhase.PRE_OS_MOUNT, ScriptPhase.POST_OS_MOUNT])
def test_a_failing_script_is_told_with_its_last_words(directory: Path, phase: ScriptPhase) -> None:
    disk = synthetic_guest.make(directory)
    script = UserScript(phase, "echo no room left; exit 7")
    with synthetic_guest.served(disk.path) as uri, pytest.raises(StepFailed, match=r"status 7.*no room left"):
        morph(_request(uri, script), Listening())


def test_scripts_for_the_first_boot_are_installed(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    with synthetic_guest.served(disk.path) as uri:
        answer = morph(_request(uri, UserScript(ScriptPhase.FIRST_BOOT, "echo hello")), Listening())
        unit, script = _read(
            uri,
            "/etc/systemd/system/multi-user.target.wants/isthmus-first-boot.service",
            "/var/lib/isthmus/first-boot/script-00.sh",
        )
    assert "first boot: 1 user script will run once" in answer.changes
    assert "Type=oneshot" in str(unit)
    assert script == "#!/bin/sh\necho hello"


def test_a_cancel_is_heard_while_a_program_runs(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    script = UserScript(ScriptPhase.POST_OS_MOUNT, "sleep 600")
    begun = time.monotonic()
    with synthetic_guest.served(disk.path) as uri, pytest.raises(Cancelled):
        morph(_request(uri, script), Listening(cancel_after=4))
    assert time.monotonic() - begun < 20
    _see_nothing_left(disk, directory)


def test_a_disk_that_does_not_answer_is_unavailable(directory: Path) -> None:
    with pytest.raises(Unavailable, match="disk 1"):
        morph(_request(f"nbd+unix:///disk?socket={directory}/none.sock"), Listening())


def test_a_killed_worker_leaves_nothing_and_the_next_run_succeeds(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    with synthetic_guest.served(disk.path) as uri:
        worker = subprocess.Popen([sys.executable, "-c", _WORKER, uri])
        deadline = time.monotonic() + 60
        while not _loops(disk) or not _processes_with(b"600.125"):
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        worker.kill()
        worker.wait()
        _see_nothing_left(disk, directory)
        # Dirty pages of a file system whose disk is gone must not hold up the machine's sync(2).
        sync = subprocess.Popen(["sync"])
        assert sync.wait(60) == 0
        assert set(morph(_request(uri), Listening()).changes)
        fstab, machine_id = _read(uri, "/etc/fstab", "/etc/machine-id")
    assert str(fstab).startswith("UUID=")
    assert machine_id == "0123456789abcdef0123456789abcdef\n"


def test_the_appliance_changes_the_same(directory: Path) -> None:
    disk = synthetic_guest.make(directory)
    with synthetic_guest.served(disk.path) as uri:
        request = MorphRequest((uri,), Target("libvirt", "virtio", "virtio", Firmware.BIOS), (NicPlan(MAC),))
        answer = morph(request, Listening())
    assert request.way_in == WayIn.APPLIANCE
    assert set(answer.changes) >= KERNEL_CHANGES


_WORKER = """
import sys
from isthmus.migration.machine import Firmware
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing.contract import MorphRequest, Target, UserScript, WayIn
from isthmus.migration.morphing.morph import morph

class Silent:
    def event(self, level, message): pass
    def progress(self, progress): pass
    def check(self): pass

writing = "(while :; do echo line >> /var/written; done) & sleep 600.125"
script = UserScript(ScriptPhase.POST_OS_MOUNT, writing)
target = Target("libvirt", "virtio", "virtio", Firmware.BIOS)
morph(MorphRequest((sys.argv[1],), target, (), (script,), WayIn.WORKER_KERNEL), Silent())
"""


def _see_nothing_left(disk: SyntheticDisk, directory: Path) -> None:
    deadline = time.monotonic() + 20
    while _loops(disk) or _processes_with(b"nbdfuse", str(directory)):
        assert time.monotonic() < deadline, "a loop device or a process is left behind"
        time.sleep(0.1)
    assert str(directory) not in Path("/proc/mounts").read_text()


def _loops(disk: SyntheticDisk) -> list[Path]:
    """Loop devices that begin where this disk's root does."""
    found = []
    for offset in Path("/sys/block").glob("loop*/loop/offset"):
        try:
            if int(offset.read_text()) == disk.offset:
                found.append(offset)
        except OSError:
            continue
    return found


def _processes_with(word: bytes, other: str = "") -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if word in command and other.encode() in command and b"python" not in command.split(b"\0")[0]:
            found.append(str(process))
    return found
