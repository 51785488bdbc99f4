"""A guest small enough to build in seconds and to boot under emulation in about ten.

Debian's cloud kernel, an initramfs with busybox and one C program (`tiny_init.c`), GRUB for BIOS and UEFI alike on
one disk. It prints `RECORDS ok=N last=N bad=B` (what it found on its data disks), then `GUEST-UP`, then appends about
20 checksummed records a second to every data disk with fsync, `RECORD n` on the console for each tenth; it obeys the
power button (`GUEST-DOWN last=N`), takes an address by DHCP and listens on TCP port 7; with `agent` it runs QEMU's.

    paths = build_disks(Path("/tmp/ab12"), TinyGuest(disks=2, format="raw"))
    connection.defineXML(domain_xml("web", paths, "raw"))
"""

import gzip
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.initramfs import cloud_kernel, cpio, dynamic_program, load_order, modules_of, static_program

MIB = 1 << 20
_BOOT_START = MIB
_BOOT_SIZE = 24 * MIB
_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ata_piix", "ahci", "button", "evdev", "virtio_net"),
    "virtio_console",
)
_AGENT = Path("/usr/sbin/qemu-ga")
_NETWORK = """busybox sh /agent &
busybox ip link set lo up
busybox ip link set eth0 up || exit 0
busybox udhcpc -q -n -t 20 -T 1 -i eth0 -s /udhcpc >/dev/null 2>&1
while :; do busybox nc -l -p 7 </dev/null >/dev/null 2>&1; done
"""
_START_AGENT = """busybox mkdir -p /sys /run
busybox mount -t sysfs sys /sys
for port in /sys/class/virtio-ports/*; do
    [ "$(busybox cat $port/name)" = org.qemu.guest_agent.0 ] || continue
    exec /usr/sbin/qemu-ga -m virtio-serial -p /dev/${port##*/} -t /run -f /run/qemu-ga.pid
done
"""
_UDHCPC = """#!/bin/busybox sh
[ "$1" = bound ] && busybox ip address add "$ip/$mask" dev "$interface"
exit 0
"""


@dataclass(frozen=True)
class TinyGuest:
    """What to build. Sizes in MiB; the first disk holds 25 MiB of boot partition too.

    `records_per_second` is how fast it writes; `agent` puts Debian's own guest agent into it.
    """

    disks: int = 1
    size_mib: int = 96
    format: str = "qcow2"
    records_per_second: int = 20
    agent: bool = False


def build_disks(directory: Path, guest: TinyGuest | None = None, *, name: str = "tiny") -> list[Path]:
    """Write the guest's disks as `directory/NAME-0.FORMAT` and so on; return their paths in order."""
    guest = guest or TinyGuest()
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        raw = [Path(scratch) / f"{index}.raw" for index in range(guest.disks)]
        _build_boot_disk(raw[0], guest, Path(scratch))
        for path in raw[1:]:
            _truncate(path, guest.size_mib * MIB)
            _make_ext4(path, 0, guest.size_mib * MIB)
        finished = [directory / f"{name}-{index}.{guest.format}" for index in range(guest.disks)]
        for source, target in zip(raw, finished, strict=True):
            if guest.format == "raw":
                source.replace(target)
            else:
                _run("qemu-img", "convert", "-f", "raw", "-O", guest.format, str(source), str(target))
    return finished


def domain_xml(
    name: str,
    disks: Sequence[Path],
    disk_format: str,
    *,
    bus: str = "virtio",
    efi: bool = False,
    network: str | None = "default",
    mac_address: str | None = None,
    memory_mib: int = 192,
    machine_type: str = "pc",
) -> str:
    """Return the XML of a machine of `lab.clouds` with these disks, a pty console and, unless None, one NIC."""
    domain = ET.Element("domain", type="qemu")
    ET.SubElement(domain, "name").text = name
    ET.SubElement(domain, "memory", unit="MiB").text = str(max(memory_mib, 256) if efi else memory_mib)
    ET.SubElement(domain, "vcpu").text = "1"
    system = ET.SubElement(domain, "os", {"firmware": "efi"} if efi else {})
    ET.SubElement(system, "type", arch="x86_64", machine="q35" if efi else machine_type).text = "hvm"
    if efi:
        firmware = ET.SubElement(system, "firmware")
        ET.SubElement(firmware, "feature", enabled="no", name="secure-boot")
        ET.SubElement(firmware, "feature", enabled="no", name="enrolled-keys")
    ET.SubElement(ET.SubElement(domain, "features"), "acpi")
    devices = ET.SubElement(domain, "devices")
    for index, path in enumerate(disks):
        disk = ET.SubElement(devices, "disk", type="file", device="disk")
        ET.SubElement(disk, "driver", name="qemu", type=disk_format, discard="unmap")
        ET.SubElement(disk, "source", file=str(path))
        prefix = "vd" if bus == "virtio" else "sd"
        ET.SubElement(disk, "target", dev=prefix + chr(ord("a") + index), bus=bus)
    if bus == "scsi":
        ET.SubElement(devices, "controller", type="scsi", model="virtio-scsi")
    if network is not None:
        nic = ET.SubElement(devices, "interface", type="network")
        ET.SubElement(nic, "source", network=network)
        ET.SubElement(nic, "model", type="virtio")
        if mac_address:
            ET.SubElement(nic, "mac", address=mac_address)
    ET.SubElement(devices, "console", type="pty")
    return ET.tostring(domain, encoding="unicode")


def _build_boot_disk(path: Path, guest: TinyGuest, scratch: Path) -> None:
    """One MBR disk: GRUB in the gap, a FAT partition (also the ESP) with the kernel, a data partition."""
    size = guest.size_mib * MIB
    _truncate(path, size)
    data_start = _BOOT_START + _BOOT_SIZE
    _make_ext4(path, data_start, size - data_start)
    kernel = cloud_kernel()
    arguments = f"console=ttyS0 panic=10 tiny.disks={guest.disks} tiny.rate={guest.records_per_second}"
    boot = scratch / "boot.fat"
    _truncate(boot, _BOOT_SIZE)
    _run("mkfs.vfat", "-n", "TINYBOOT", str(boot))
    initramfs = scratch / "initrd"
    initramfs.write_bytes(gzip.compress(b"".join(_initramfs(scratch, agent=guest.agent)), 1))
    configuration = scratch / "grub.cfg"
    configuration.write_text(
        f"search --no-floppy --set=root --file /vmlinuz\nlinux /vmlinuz {arguments}\ninitrd /initrd\nboot\n",
        encoding="ascii",
    )
    efi = scratch / "bootx64.efi"
    modules = ["part_msdos", "fat", "search", "search_fs_file", "linux", "boot"]
    _run("grub-mkimage", "-O", "x86_64-efi", "-p", "/", "-c", str(configuration), "-o", str(efi), *modules)
    _run("mmd", "-i", str(boot), "::/EFI", "::/EFI/BOOT")
    for source, target in ((kernel, "::/vmlinuz"), (initramfs, "::/initrd"), (efi, "::/EFI/BOOT/BOOTX64.EFI")):
        _run("mcopy", "-i", str(boot), str(source), target)
    core = scratch / "core.img"
    _run("grub-mkimage", "-O", "i386-pc", "-p", "/", "-c", str(configuration), "-o", str(core), "biosdisk", *modules)
    _write_at(path, _BOOT_START, boot.read_bytes())
    _install_grub(path, core)
    _write_at(
        path, 446, _partition(0x80, 0xEF, _BOOT_START, _BOOT_SIZE) + _partition(0, 0x83, data_start, size - data_start)
    )
    _write_at(path, 510, b"\x55\xaa")


def _partition(flag: int, kind: int, start: int, size: int) -> bytes:
    """Return an entry of an MBR. Not by sfdisk: it calls sync(), which waits for all other writers of the machine."""
    beyond = b"\xfe\xff\xff"  # cylinder, head and sector: unused
    return struct.pack("<B3sB3sII", flag, beyond, kind, beyond, start // 512, size // 512)


def _install_grub(path: Path, core: Path) -> None:
    """Put GRUB's boot sector and core image where grub-bios-setup would: sector 0 (code only) and from sector 1."""
    boot_code = Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440]
    image = bytearray(core.read_bytes())
    # The last 12 bytes of the core's first sector list where its rest is: start (u64), sectors (u16), segment (u16).
    struct.pack_into("<Q", image, 500, 2)
    if len(image) > _BOOT_START - 512:
        raise RuntimeError("GRUB's core image does not fit before the first partition")
    _write_at(path, 0, boot_code)
    _write_at(path, 512, bytes(image))


def _initramfs(scratch: Path, *, agent: bool) -> Iterator[bytes]:
    """Yield a cpio archive (newc format, kernel's buffer-format.rst)."""
    init = static_program(Path(__file__).with_name("tiny_init.c"), scratch / "init")
    modules = modules_of(cloud_kernel())
    # A module that is not there is built in; or the guest's buses are fewer then.
    order = load_order(modules, _MODULES)
    for directory in ("bin", "data"):
        yield cpio(directory, 0o040755, b"")
    yield cpio("init", 0o100755, init)
    yield cpio("bin/busybox", 0o100755, Path(shutil.which("busybox") or "/bin/busybox").read_bytes())
    yield cpio("network", 0o100644, _NETWORK.encode())
    yield cpio("agent", 0o100644, _START_AGENT.encode() if agent else b"")
    for needed in dynamic_program(_AGENT) if agent else ():
        for parent in reversed(needed.parents[:-1]):
            yield cpio(str(parent).lstrip("/"), 0o040755, b"")
        yield cpio(str(needed).lstrip("/"), 0o100755, needed.read_bytes())
    yield cpio("udhcpc", 0o100755, _UDHCPC.encode())
    yield cpio("modules.list", 0o100644, "".join(f"/{Path(module).name}\n" for module in order).encode())
    for module in order:
        yield cpio(Path(module).name, 0o100644, (modules / module).read_bytes())
    yield cpio("TRAILER!!!", 0, b"")


def _make_ext4(path: Path, offset: int, size: int) -> None:
    options = f"offset={offset},lazy_itable_init=0,nodiscard"
    _run("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", options, str(path), f"{size // 1024}k")


def _truncate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def _write_at(path: Path, offset: int, content: bytes) -> None:
    """Write `content`, leaving holes where it is zero all over a MiB."""
    with path.open("r+b") as file:
        for start in range(0, len(content), MIB):
            piece = content[start : start + MIB]
            if any(piece):
                os.pwrite(file.fileno(), piece, offset + start)


def _run(*command: str) -> None:
    """Run a tool; what it said is in the error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr[-500:]}")
