"""Trees in the shape of guests with rpm, dracut and GRUB 2, for disks that look like theirs to a morpher.

rpm is the real one, Debian's, with a real database in which a package that the test built is installed. dracut is a
stand-in that records how it was called: the real one wants a whole distribution.
"""

import atexit
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.synthetic_guest import make_tree

KERNEL = "5.14.0-427.el9.x86_64"
LABEL = b"system_u:object_r:etc_t:s0\0"
_DEBIAN = ("etc/debian_version", "etc/initramfs-tools", "etc/network", "boot", "lib/modules", "var/lib/dpkg")
_DRACUT = (
    '#!/bin/sh\necho "$@" >> /var/log/dracut\nfor i in "$@"; do case $i in /boot/*) echo image > "$i";; esac; done\n'
)
_COMMON = {
    "etc/default/grub": 'GRUB_CMDLINE_LINUX="root=/dev/sda1 rootdelay=300"\n',
    "etc/cloud/cloud.cfg.d/90_source.cfg": "datasource_list: [ VMware ]\n",
    "etc/modprobe.d/source.conf": "blacklist virtio_blk\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/lvm/devices/system.devices": "IDTYPE=sys_wwid IDNAME=naa.600 DEVNAME=/dev/sda2\n",
    "lib/systemd/systemd": "",
}
_KERNELOPTS = "saved_entry=x\nkernelopts=root=/dev/sda1 ro crashkernel=auto\n"
_REDHAT = {
    "etc/os-release": 'NAME="Rocky Linux"\nVERSION="9.4 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
    'VERSION_ID="9.4"\nPRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n',
    "etc/redhat-release": "Rocky Linux release 9.4 (Blue Onyx)\n",
    "etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
    "etc/kernel/cmdline": "root=/dev/sda1 ro\n",
    "etc/NetworkManager/system-connections/ens192.nmconnection": "[connection]\nid=ens192\ntype=ethernet\n"
    "interface-name=ens192\n\n[ipv4]\nmethod=manual\naddress1=10.0.0.5/24,10.0.0.1\ndns=10.0.0.2;\n",
    "boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
    "boot/grub2/grubenv": _KERNELOPTS + "#" * (1024 - len(_KERNELOPTS)),
    "boot/loader/entries/0123-5.14.conf": f"title Rocky\nlinux /vmlinuz-{KERNEL}\noptions root=/dev/sda1 ro $tuned\n",
    f"boot/vmlinuz-{KERNEL}": "kernel",
    f"boot/initramfs-{KERNEL}.img": "old",
}
_SUSE = {
    "etc/os-release": 'NAME="SLES"\nVERSION="15-SP5"\nVERSION_ID="15.5"\nID="sles"\nID_LIKE="suse"\n'
    'PRETTY_NAME="SUSE Linux Enterprise Server 15 SP5"\n',
    "etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='static'\nSTARTMODE='auto'\nIPADDR='10.0.0.5/24'\n",
    "boot/grub2/grub.cfg": f"menuentry 'SLES' {{\n\tlinux /boot/vmlinuz-{KERNEL} root=/dev/sda1 quiet\n}}\n",
    f"boot/vmlinuz-{KERNEL}": "kernel",
    f"boot/initrd-{KERNEL}": "old",
}


def make_redhat(tree: Path) -> None:
    """Change a Debian-shaped tree into Rocky Linux 9's shape, labelled by SELinux."""
    _make(tree, _REDHAT)
    os.setxattr(tree / "etc/fstab", "security.selinux", LABEL)
    os.setxattr(tree / "etc", "security.selinux", LABEL)


def make_suse(tree: Path) -> None:
    """Change a Debian-shaped tree into SLES 15's shape."""
    _make(tree, _SUSE)


def _make(tree: Path, files: dict[str, str]) -> None:
    for name in _DEBIAN:
        path = tree / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    modules = "".join(f"kernel/{name}.ko.xz:\n" for name in ("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi"))
    for name, content in {**_COMMON, **files, f"lib/modules/{KERNEL}/modules.dep": modules}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tree / "usr/bin/dracut").write_text(_DRACUT)
    (tree / "usr/bin/dracut").chmod(0o755)
    _install_rpm(tree)


def _install_rpm(tree: Path) -> None:
    """Put rpm, what it needs, and a database with one package into the tree."""
    shutil.copy("/usr/bin/rpm", tree / "usr/bin/rpm")
    linked = subprocess.run(["ldd", "/usr/bin/rpm"], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(?:=> )?(/\S+) \(0x", linked):
        target = tree / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    shutil.copytree("/usr/lib/rpm", tree / "usr/lib/rpm", symlinks=True)
    with (tree / "usr/lib/rpm/macros").open("a") as macros:
        macros.write("\n%_dbpath /var/lib/rpm\n")
    database = ["--root", str(tree), "--define", "_dbpath /var/lib/rpm"]
    subprocess.run(["rpm", *database, "--nodeps", "--install", str(agent_package())], check=True)


@functools.cache
def agent_package() -> Path:
    """Build a package named like VMware's agent, whose removal runs a script; return its file."""
    directory = Path(tempfile.mkdtemp(prefix="isthmus-rpm-"))
    atexit.register(shutil.rmtree, directory)
    spec = directory / "agent.spec"
    spec.write_text(
        "Name: open-vm-tools\nVersion: 12\nRelease: 1\nSummary: agent\nLicense: none\nBuildArch: noarch\n"
        "%description\nagent\n%install\nmkdir -p %{buildroot}/usr/bin\necho x > %{buildroot}/usr/bin/vmtoolsd\n"
        "%preun\necho stopped > /var/log/agent-removal\n%files\n/usr/bin/vmtoolsd\n"
    )
    command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {directory}", str(spec)]
    subprocess.run(command, check=True, capture_output=True)
    return next(directory.glob("RPMS/noarch/*.rpm"))


_FILL = """
mount -o loop "$1" "$2"
if [ -n "$4" ]; then btrfs -q subvolume create "$2/$4"; fi
cp -a "$3/." "$2/$4"
if [ -n "$4" ]; then btrfs subvolume set-default "$2/$4"; fi
umount "$2"
"""
"""Fill the file system of image $1, mounted at $2, from tree $3; in subvolume $4, made the default one, if named."""


@contextmanager
def file_system(directory: Path, kind: str, make: Callable[[Path], None], *, subvolume: str = "") -> Iterator[Path]:
    """Make a raw disk with one partition of an xfs or btrfs file system that holds the guest; yield it."""
    tree, disk = directory / "tree", directory / "disk.raw"
    make_tree(tree)
    make(tree)
    size = 512 << 20
    with disk.open("wb") as file:
        file.truncate(size)
    subprocess.run(["sfdisk", "-q", str(disk)], input="label: dos\n2048,,83,*\n", text=True, check=True)
    image = directory / "root.raw"
    with image.open("wb") as file:
        file.truncate(size - (1 << 20))
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True, stdout=subprocess.DEVNULL)
    mounted = directory / "mounted"
    mounted.mkdir()
    # In a mount namespace of its own: one that another program makes meanwhile would keep the file system mounted.
    command = ["unshare", "--mount", "sh", "-euc", _FILL, "sh", str(image), str(mounted), str(tree), subvolume]
    subprocess.run(command, check=True)
    command = ["dd", f"if={image}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]
    subprocess.run(command, check=True)
    image.unlink()
    shutil.rmtree(tree)
    yield disk
