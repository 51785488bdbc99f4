"""A disk that looks like a Debian guest's to a morpher, made in a second: for tests that need no booting.

Its shell is busybox; dpkg, dpkg-query and update-initramfs are stand-ins that keep their records in files.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT_UUID = "11111111-2222-3333-4444-555555555555"
MAC = "52:54:00:ab:cd:ef"
KERNEL = "6.1.0-0-test"
SECTOR = 512
DISK_BYTES = 96 << 20
_FILES = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "etc/debian_version": "12.11\n",
    "etc/fstab": "/dev/sda1 / ext4 errors=remount-ro 0 1\n",
    "etc/default/grub": 'GRUB_CMDLINE_LINUX="root=/dev/sda1"\n',
    "etc/network/interfaces": "auto ens3\niface ens3 inet static\n    address 10.0.0.5/24\n",
    "etc/initramfs-tools/initramfs.conf": "MODULES=dep\n",
    "etc/initramfs-tools/modules": "virtio_scsi\n",
    "etc/cloud/cloud.cfg.d/90_dpkg.cfg": "datasource_list: [ Ec2 ]\n",
    "etc/modprobe.d/source.conf": "blacklist virtio_blk\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "boot/grub/grub.cfg": f"menuentry 'Debian' {{\n\tlinux /vmlinuz-{KERNEL} root=/dev/sda1 ro quiet\n}}\n",
    f"boot/vmlinuz-{KERNEL}": "kernel",
    f"lib/modules/{KERNEL}/modules.dep": "".join(
        f"kernel/drivers/{name}.ko:\n" for name in ("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi")
    ),
    "lib/systemd/systemd": "",
    "var/lib/dpkg/arch": "amd64\n",
    "var/lib/installed": "open-vm-tools\n",
}
_PROGRAMS = {
    "usr/bin/dpkg-query": '#!/bin/sh\nwhile read -r name; do echo "ii  $name"; done < /var/lib/installed\n',
    "usr/bin/dpkg": '#!/bin/sh\n[ "$1" = --purge ] && : > /var/lib/installed\n',
    "usr/sbin/update-initramfs": '#!/bin/sh\necho "$@" >> /var/log/update-initramfs\n',
}
_APPLETS = (
    "sh",
    "cat",
    "echo",
    "env",
    "id",
    "ip",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "sleep",
    "tail",
    "timeout",
    "touch",
)
_MORE_APPLETS = ("base64", "printf", "ps", "rm", "head", "seq", "chroot")


@dataclass(frozen=True)
class SyntheticDisk:
    """A raw disk; `offset` is the byte where its root begins, different for every disk, so that it is told by it."""

    path: Path
    offset: int


def make(directory: Path, change: Callable[[Path], None] | None = None, *, esp: bool = False) -> SyntheticDisk:
    """Make a disk in `directory` from the tree after `change(tree)`; with an EFI system partition if `esp`."""
    tree = directory / "tree"
    make_tree(tree)
    if change:
        change(tree)
    disk = SyntheticDisk(directory / "disk.raw", random.randrange(64, 512) * 64 * SECTOR)
    root_bytes = 48 << 20
    with disk.path.open("wb") as file:
        file.truncate(DISK_BYTES)
    rest = (disk.offset + root_bytes) // SECTOR
    layout = f"label: dos\n{disk.offset // SECTOR},{root_bytes // SECTOR},83,*\n{rest},{(24 << 20) // SECTOR},ef\n"
    subprocess.run(["sfdisk", "--quiet", str(disk.path)], input=layout, text=True, check=True)
    subprocess.run(
        [
            *("mke2fs", "-q", "-t", "ext4", "-U", ROOT_UUID, "-d", str(tree)),
            *("-E", f"offset={disk.offset}", str(disk.path), f"{root_bytes // 1024}k"),
        ],
        check=True,
    )
    if esp:
        make_esp(disk.path, rest)
    shutil.rmtree(tree)
    return disk


def make_tree(tree: Path) -> None:
    """Lay out the guest's files."""
    for name, content in {**_FILES, **_PROGRAMS}.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o755 if name in _PROGRAMS else 0o644)
    for name in ("bin", "dev", "proc", "run", "sys", "tmp", "root", "var/tmp", "var/log"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for applet in (*_APPLETS, *_MORE_APPLETS):
        os.symlink("busybox", tree / "bin" / applet)


def make_esp(disk: Path, start: int) -> None:
    """Put a FAT file system with Debian's loader, and no fallback, at sector `start`."""
    image = f"{disk}@@{start * SECTOR}"
    loader = disk.with_suffix(".efi")
    loader.write_bytes(b"MZ loader")
    subprocess.run(
        ["mkfs.vfat", "--offset", str(start), "-n", "ESP", str(disk), str((24 << 20) // 1024)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for directory in ("::/EFI", "::/EFI/debian"):
        subprocess.run(["mmd", "-i", image, directory], check=True)
    for name in ("shimx64.efi", "grubx64.efi"):
        subprocess.run(["mcopy", "-i", image, str(loader), f"::/EFI/debian/{name}"], check=True)


@contextmanager
def served(disk: Path, image_format: str = "raw") -> Iterator[str]:
    """Serve a disk by qemu-nbd; yield its URI."""
    socket = disk.with_suffix(".sock")
    server = subprocess.Popen(
        # unsafe: the disk is thrown away, and each fsync of the host's costs time
        [
            "qemu-nbd",
            "--persistent",
            "--shared=8",
            "--cache=unsafe",
            "-f",
            image_format,
            "-x",
            "disk",
            "-k",
            str(socket),
            str(disk),
        ]
    )
    try:
        while not socket.exists():
            if server.poll() is not None:
                raise RuntimeError(f"qemu-nbd does not serve {disk}")
            time.sleep(0.02)
        yield f"nbd+unix:///disk?socket={socket}"
    finally:
        server.terminate()
        server.wait()
        socket.unlink(missing_ok=True)
