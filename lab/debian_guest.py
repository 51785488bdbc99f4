"""The demonstration guest: a small Debian 12 that is tied to its source cloud.

`python -m lab.debian_guest OUT.qcow2` builds it; `cached_image()` builds it once for each recipe.

Its source cloud is a `pc` machine with disks on virtio-scsi and its NIC in PCI slot 3. What ties it to that cloud:
the initramfs holds the driver of that bus only; fstab, swap, resume and the kernel's root= name /dev/sda; the NIC is
configured under its slot's name, ens3; an agent of another cloud is installed; cloud-init is pinned to that cloud's
metadata. So it does not come up on a q35 machine with virtio-blk disks until it is morphed.

What it says on its console (ttyS0): `RECORDS ok=… last=… bad=… gaps=…` at boot, `RECORD n` every few seconds and at
shutdown, and `GUEST-UP virt=… disk=… nic=… address=… machine=…` once DHCP has answered.
"""

import argparse
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

PACKAGES = (
    "linux-image-cloud-amd64",
    "systemd-sysv",
    "udev",
    "grub-pc",
    "initramfs-tools",
    "lz4",
    "iproute2",
    "ifupdown",
    "isc-dhcp-client",
    "netbase",
    "kmod",
    "e2fsprogs",
    "open-vm-tools",
    "acpid",
)
SUITE = "bookworm"
DISK_BYTES = 2 << 30
SWAP_BYTES = 64 << 20
SECTOR = 512
ROOT_START = 1 << 20
FILES = Path(__file__).parent / "debian_guest_files"
# Each costs seconds of boot under emulation and does nothing for a demonstration.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "systemd-logind.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-journal-flush.service",
    "vgauth.service",
)


def cache_key() -> str:
    """Return what an image of this recipe is called: it changes when the recipe or its files change."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(FILES.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(FILES)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def cached_image() -> Path:
    """Return the guest's qcow2, built first if need be (about a minute); safe to call at once twice.

    It is kept in ISTHMUS_CACHE, /var/lib/isthmus/cache by default. Nobody may write to it: make an overlay or a copy.
    """
    directory = Path(os.environ.get("ISTHMUS_CACHE", "/var/lib/isthmus/cache"))
    directory.mkdir(parents=True, exist_ok=True)
    image = directory / f"debian-guest-{cache_key()}.qcow2"
    with (directory / "debian-guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            for old in directory.glob("debian-guest-*.qcow2"):
                old.unlink()
            build(image)
    return image


def build(image: Path) -> None:
    """Build the guest as a qcow2 file. Needs root, and a Debian mirror for mmdebstrap."""
    with tempfile.TemporaryDirectory(prefix="debian-guest-", dir=image.parent) as name:
        work = Path(name)
        root_uuid, swap_uuid = str(uuid.uuid4()), str(uuid.uuid4())
        tree = work / "tree"
        make_tree(tree, root_uuid)
        raw = work / "disk.raw"
        make_disk(raw, tree, root_uuid, swap_uuid)
        run("qemu-img", "convert", "-q", "-O", "qcow2", str(raw), str(work / "disk.qcow2"))
        (work / "disk.qcow2").rename(image)


def make_tree(tree: Path, root_uuid: str) -> None:
    """Bootstrap Debian into `tree` and tie it to its source cloud."""
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc", "info")]
    # INITRD=No: the initramfs is made once, by the last hook, when its configuration is in place.
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=Apt::Install-Recommends "false"',
        *excluded,
        f'--customize-hook=cp -rT --no-preserve=ownership {shlex.quote(str(FILES))} "$1"',
        '--customize-hook=chroot "$1" update-initramfs -c -k all',
        SUITE,
        str(tree),
        environment={"INITRD": "No"},
    )
    for unit in MASKED_UNITS:
        mask = tree / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "records.service").symlink_to("/etc/systemd/system/records.service")
    for program in ("usr/local/sbin/records", "etc/network/if-up.d/guest-up"):
        (tree / program).chmod(0o755)
    (tree / "etc/hostname").write_text("demo-guest\n")
    (tree / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    run("chroot", str(tree), "/usr/sbin/chpasswd", stdin="root:demo\n")
    shutil.rmtree(tree / "var/lib/apt/lists", ignore_errors=True)
    install_grub_files(tree, root_uuid)


def install_grub_files(tree: Path, root_uuid: str) -> None:
    """Do what grub-install and update-grub do on a running machine, without a block device."""
    modules = tree / "boot/grub/i386-pc"
    modules.mkdir(parents=True, exist_ok=True)
    for module in (tree / "usr/lib/grub/i386-pc").glob("*.mod"):
        shutil.copy(module, modules)
    for listing in (tree / "usr/lib/grub/i386-pc").glob("*.lst"):
        shutil.copy(listing, modules)
    version = next((tree / "lib/modules").iterdir()).name
    template = (tree / "boot/grub/grub.cfg.in").read_text()
    (tree / "boot/grub/grub.cfg.in").unlink()
    config = template.replace("@UUID@", root_uuid).replace("@VERSION@", version)
    (tree / "boot/grub/grub.cfg").write_text(config)


def make_disk(raw: Path, tree: Path, root_uuid: str, swap_uuid: str) -> None:
    """Write a BIOS disk: GRUB, an ext4 root from `tree`, and a swap partition."""
    root_bytes = DISK_BYTES - ROOT_START - SWAP_BYTES
    with raw.open("wb") as disk:
        disk.truncate(DISK_BYTES)
    layout = f"{ROOT_START // SECTOR},{root_bytes // SECTOR},83,*\n{(ROOT_START + root_bytes) // SECTOR},,82\n"
    run("sfdisk", "--quiet", str(raw), stdin=f"label: dos\n{layout}")
    run(
        *("mke2fs", "-q", "-t", "ext4", "-L", "root", "-U", root_uuid, "-d", str(tree)),
        *("-E", f"offset={ROOT_START},lazy_itable_init=0", str(raw), f"{root_bytes // 1024}k"),
    )
    swap = raw.with_suffix(".swap")
    with swap.open("wb") as file:
        file.truncate(SWAP_BYTES)
    run("mkswap", "--quiet", "-U", swap_uuid, str(swap))
    with raw.open("r+b") as disk:
        disk.seek(ROOT_START + root_bytes)
        disk.write(swap.read_bytes()[:4096])
    write_boot_loader(raw, tree)


def write_boot_loader(raw: Path, tree: Path) -> None:
    """Put GRUB's boot sector and core image where grub-install puts them: sector 0 and the gap that follows it."""
    core = raw.with_suffix(".core")
    modules = tree / "usr/lib/grub/i386-pc"
    run(
        *("grub-mkimage", "-O", "i386-pc", "-d", str(modules), "-p", "(,msdos1)/boot/grub", "-o", str(core)),
        *("biosdisk", "part_msdos", "ext2"),
    )
    boot = (modules / "boot.img").read_bytes()
    with raw.open("r+b") as disk:
        disk.write(boot[:440])
        disk.seek(SECTOR)
        disk.write(core.read_bytes())


def run(*command: str, stdin: str | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a program; CalledProcessError if it fails."""
    subprocess.run(command, input=stdin, text=True, check=True, env={**os.environ, **(environment or {})})


def main() -> None:
    """Build the guest from the command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.debian_guest", description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="the qcow2 file to make")
    build(parser.parse_args().image.resolve())


if __name__ == "__main__":
    main()
