"""Machines that make a migration hard, most of them never started: for tests of what goes wrong.

Each function writes disks into a lab cloud's pool and defines a machine of the same name, off. The images are the
smallest that show the trouble, so that a test of it takes seconds.
"""

import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lab import synthetic_guest
from lab.clouds import LibvirtCloud
from lab.tiny_guest import domain_xml

MIB = 1 << 20
LAST_WORDS = "no root file system: giving up"
"""What the talker says on its serial console, again after each reset, and nothing more."""
SUPERBLOCK = 1024
"""Where ext4 keeps its first superblock (Documentation/filesystems/ext4/super.rst)."""


def talker(cloud: LibvirtCloud, name: str) -> None:
    """Define a machine whose boot sector prints `LAST_WORDS` and halts: it boots in a second and is no OS."""
    path = _raw(cloud, name, 8 * MIB)
    path.write_bytes(_boot_sector(LAST_WORDS))
    os.truncate(path, 8 * MIB)
    _define(cloud, name, path, "raw")


def random_bytes(cloud: LibvirtCloud, name: str, size_mib: int) -> None:
    """Define a machine with so much on its qcow2 disk that no compression or hole shortens its copy."""
    path = _raw(cloud, name, 0)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))
    _define(cloud, name, _converted(path, "-O", "qcow2"), "qcow2")


def packed(cloud: LibvirtCloud, name: str, size_mib: int) -> None:
    """Define a machine whose compressed disk takes a fraction of the room that its copy will need."""
    path = _raw(cloud, name, 0)
    with path.open("wb") as file:
        for index in range(size_mib):
            file.write(bytes([index % 255 + 1]) * MIB)
    _define(cloud, name, _converted(path, "-c", "-O", "qcow2"), "qcow2")


def vast(cloud: LibvirtCloud, name: str) -> None:
    """Define a machine with an empty disk of 100 TiB, more than any pool here has."""
    path = cloud.pool_directory / f"{name}.qcow2"
    _run("qemu-img", "create", "-q", "-f", "qcow2", str(path), "100T")
    _define(cloud, name, path, "qcow2")


def broken(cloud: LibvirtCloud, name: str) -> None:
    """Define a machine whose qcow2 image has lost its first bytes."""
    path = cloud.pool_directory / f"{name}.qcow2"
    path.write_bytes(b"\xa5" * MIB)
    _define(cloud, name, path, "qcow2")


def shared(cloud: LibvirtCloud, name: str) -> None:
    """Define a machine whose disk may be used by others at the same time."""
    _define(
        cloud, name, _raw(cloud, name, MIB), "raw", change=lambda xml: xml.replace("<target", "<shareable/><target")
    )


def debian(cloud: LibvirtCloud, name: str, *, os_release: str | None = None, smash: bool = False) -> None:
    """Define a machine with what a morpher takes for Debian, or for what `os_release` says.

    `smash` overwrites the first superblock of its root, as a dying disk does.
    """

    def change(tree: Path) -> None:
        if os_release is not None:
            (tree / "etc/os-release").write_text(os_release)
            (tree / "etc/debian_version").unlink()

    directory = cloud.directory / name
    directory.mkdir()
    disk = synthetic_guest.make(directory, change)
    if smash:
        with disk.path.open("r+b") as file:
            # Its magic stays: what still looks like ext4 and is not is the hardest to tell.
            file.seek(disk.offset + SUPERBLOCK)
            file.write(b"\xa5" * 56)
            file.seek(disk.offset + SUPERBLOCK + 58)
            file.write(b"\xa5" * 900)
    path = cloud.pool_directory / f"{name}.raw"
    disk.path.rename(path)
    directory.rmdir()
    _define(cloud, name, path, "raw")


def _boot_sector(text: str) -> bytes:
    """Return 16-bit code that writes a text to the first serial port and halts."""
    code = bytes.fromhex("31c08ed8fcbaf803be1c7cac84c07403eeebf8f4ebfd")
    # xor ax,ax; mov ds,ax; cld; mov dx,3f8h; mov si,7c1ch; again: lodsb; test al,al; jz end; out dx,al; jmp again;
    # end: hlt; jmp end
    return (code.ljust(0x1C, b"\0") + f"\r\n{text}\r\n".encode("ascii") + b"\0").ljust(510, b"\0") + b"\x55\xaa"


def _raw(cloud: LibvirtCloud, name: str, size: int) -> Path:
    path = cloud.pool_directory / f"{name}.raw"
    path.touch()
    os.truncate(path, size)
    return path


def _converted(path: Path, *options: str) -> Path:
    target = path.with_suffix(".qcow2")
    _run("qemu-img", "convert", "-f", "raw", *options, str(path), str(target))
    path.unlink()
    return target


def _define(
    cloud: LibvirtCloud, name: str, disk: Path, disk_format: str, change: Callable[[str], str] = lambda xml: xml
) -> None:
    with closing(cloud.connect()) as connection:
        connection.defineXML(change(domain_xml(name, [disk], disk_format, memory_mib=64)))
        connection.storagePoolLookupByName("default").refresh()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
