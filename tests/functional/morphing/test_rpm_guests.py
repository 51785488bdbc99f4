"""Morphing of disks in the shape of RHEL's and SUSE's families, through the worker's kernel."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import synthetic_guest
from lab.synthetic_guest import MAC, ROOT_UUID
from tests.rpm_guest import KERNEL, file_system, make_redhat, make_suse

from isthmus.control.errors import NotSupported, StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing.contract import MorphReport, MorphRequest, NicPlan, Target, UserScript, WayIn
from isthmus.migration.morphing.morph import morph
from isthmus.migration.morphing.worker_kernel import WorkerKernelDisks
from isthmus.migration.reporting import Silence

REMOVED = "agents: open-vm-tools of the source platform is purged"
MADE = f"initramfs: made again for kernel {KERNEL}"


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="/tmp/rpm-") as name:
        yield Path(name)


def _morph(uri: str, *scripts: UserScript, dhcp: bool = False, firmware: Firmware = Firmware.BIOS) -> MorphReport:
    target = Target("libvirt", "virtio", "virtio", firmware)
    return morph(MorphRequest((uri,), target, (NicPlan(MAC, dhcp),), scripts, WayIn.WORKER_KERNEL, 60), Silence())


def _ask(uri: str, *paths: str) -> dict[str, str | None]:
    with WorkerKernelDisks([uri], Silence()) as guest:
        guest.mount(next(found for found in guest.file_systems() if found.type in ("ext4", "xfs", "btrfs")), "/")
        return {path: guest.read(path) for path in paths}


@pytest.mark.parametrize(
    ("make", "name", "image"),
    [
        (make_redhat, "Rocky Linux 9.4 (Blue Onyx)", f"/boot/initramfs-{KERNEL}.img"),
        (make_suse, "SUSE Linux Enterprise Server 15 SP5", f"/boot/initrd-{KERNEL}"),
    ],
)
def test_a_guest_is_freed_of_its_source(directory: Path, make: Callable[[Path], None], name: str, image: str) -> None:
    disk = synthetic_guest.make(directory, make)
    with synthetic_guest.served(disk.path) as uri:
        answer = _morph(uri)
        again = _morph(uri)
        link = f"/etc/systemd/network/10-isthmus-{MAC.replace(':', '')}.link"
        read = _ask(uri, "/etc/fstab", link, "/var/log/dracut", image, "/etc/machine-id", "/usr/bin/vmtoolsd")
    assert (answer.os.product_name, answer.os.architecture) == (name, "x86_64")
    assert {REMOVED, MADE, "modprobe: virtio_blk is no longer forbidden in /etc/modprobe.d/source.conf"} <= set(
        answer.changes
    )
    assert any(change.startswith("lvm: ") for change in answer.changes)
    assert read["/etc/fstab"] == f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
    assert f"MACAddress={MAC}" in str(read[link])
    assert f"--force --no-hostonly --no-hostonly-cmdline {image} {KERNEL}" in str(read["/var/log/dracut"])
    assert read[image] == "image\n"
    assert read["/usr/bin/vmtoolsd"] is None
    assert again.changes == (MADE,)


def test_every_place_of_the_kernels_options_is_changed(directory: Path) -> None:
    disk = synthetic_guest.make(directory, make_redhat)
    entry, environment = "/boot/loader/entries/0123-5.14.conf", "/boot/grub2/grubenv"
    with synthetic_guest.served(disk.path) as uri:
        _morph(uri)
        read = _ask(
            uri, entry, environment, "/etc/default/grub", "/etc/kernel/cmdline", "/etc/dracut.conf.d/isthmus.conf"
        )
    for path in (entry, environment, "/etc/default/grub", "/etc/kernel/cmdline"):
        assert f"root=UUID={ROOT_UUID}" in str(read[path]), path
        assert "console=ttyS0,115200" in str(read[path]), path
    assert "rootdelay" not in str(read["/etc/default/grub"])
    assert len(str(read[environment])) == 1024
    assert 'add_drivers+=" virtio_pci virtio_blk virtio_net "' in str(read["/etc/dracut.conf.d/isthmus.conf"])


@pytest.mark.parametrize(
    ("make", "path", "wanted"),
    [
        (make_redhat, "/etc/NetworkManager/system-connections/ens192.nmconnection", "method=auto"),
        (make_suse, "/etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO=dhcp"),
    ],
)
def test_static_addresses_become_dhcp_where_planned(
    directory: Path, make: Callable[[Path], None], path: str, wanted: str
) -> None:
    disk = synthetic_guest.make(directory, make)
    with synthetic_guest.served(disk.path) as uri:
        _morph(uri, dhcp=True)
        text = str(_ask(uri, path)[path])
    assert wanted in text
    assert "10.0.0." not in text


def test_labels_are_kept_and_new_files_get_their_directorys(directory: Path) -> None:
    disk = synthetic_guest.make(directory, make_redhat)
    with synthetic_guest.served(disk.path) as uri:
        answer = _morph(uri, UserScript(ScriptPhase.POST_OS_MOUNT, "true"))
    assert any(change.startswith("selinux: ") for change in answer.changes)
    for path in ("/etc/fstab", "/etc/dracut.conf.d/isthmus.conf"):
        command = ["debugfs", "-R", f"ea_get {path} security.selinux", f"{disk.path}?offset={disk.offset}"]
        assert "etc_t" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_dracut_that_fails_is_told(directory: Path) -> None:
    def change(tree: Path) -> None:
        make_redhat(tree)
        (tree / "usr/bin/dracut").write_text("#!/bin/sh\necho no space left; exit 1\n")

    disk = synthetic_guest.make(directory, change)
    with synthetic_guest.served(disk.path) as uri, pytest.raises(StepFailed, match=r"dracut failed.*no space left"):
        _morph(uri)


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ('ID="rhel"\nVERSION_ID="6.10"\nPRETTY_NAME="RHEL 6.10"\n', r"RHEL 6.10 is not supported.*skip_os_morphing"),
        ('ID="amzn"\nVERSION_ID="2018.03"\nPRETTY_NAME="Amazon Linux AMI"\n', r"Amazon Linux AMI is not supported"),
        ('ID="sles"\nVERSION_ID="11.4"\nPRETTY_NAME="SLES 11"\n', r"SLES 11 is not supported"),
        ('ID="opensuse-microos"\nVERSION_ID="20240101"\n', r"read-only snapshot"),
    ],
)
def test_a_release_that_is_not_supported_names_the_way_on(directory: Path, release: str, message: str) -> None:
    def change(tree: Path) -> None:
        (tree / "etc/os-release").write_text(release)

    disk = synthetic_guest.make(directory, change)
    with synthetic_guest.served(disk.path) as uri, pytest.raises(NotSupported, match=message):
        _morph(uri)


@pytest.mark.parametrize(
    ("kind", "subvolume", "make"), [("xfs", "", make_redhat), ("btrfs", "", make_redhat), ("btrfs", "@", make_suse)]
)
def test_a_guest_on_another_file_system(
    directory: Path, kind: str, subvolume: str, make: Callable[[Path], None]
) -> None:
    with (
        file_system(directory, kind, make, subvolume=subvolume) as disk,
        synthetic_guest.served(disk) as uri,
    ):
        answer = _morph(uri)
        again = _morph(uri)
    assert {REMOVED, MADE} <= set(answer.changes)
    assert any(change.startswith("fstab: / is mounted by UUID=") for change in answer.changes)
    assert again.changes == (MADE,)
