"""A disk whose guest is locked: /boot on a partition, the root on LVM in LUKS, as RHEL's installer lays them out."""

from pathlib import Path

import guestfs
from lab.synthetic_guest import make_tree
from tests.rpm_guest import make_redhat

from isthmus.migration.morphing.acceleration import kvm_works

_FSTAB = "/dev/mapper/rhel-root / ext2 defaults 0 0\n/dev/sda1 /boot ext2 defaults 0 0\n"


def make_locked_disk(place: Path, key: str) -> Path:
    """Make the raw disk in a directory, by an appliance."""
    tree, file = place / "tree", place / "disk.raw"
    make_tree(tree)
    make_redhat(tree)
    (tree / "etc/fstab").write_text(_FSTAB)
    with file.open("wb") as opened:
        opened.truncate(256 << 20)
    g = guestfs.GuestFS(python_return_dict=True, close_on_exit=False)
    g.set_backend("direct")
    g.set_backend_setting("force_kvm" if kvm_works() else "force_tcg", "1")
    g.add_drive_opts(str(file), format="raw")
    g.launch()
    g.part_init("/dev/sda", "mbr")
    g.part_add("/dev/sda", "p", 2048, 67583)
    g.part_add("/dev/sda", "p", 67584, -1)
    # A weak derivation of the key: the emulated processor pays for it, and nothing is protected here.
    weak = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000"
    g.debug("sh", [f"printf %s '{key}' | cryptsetup luksFormat -q {weak} /dev/sda2 -"])
    g.cryptsetup_open("/dev/sda2", key, "made")
    g.pvcreate("/dev/mapper/made")
    g.vgcreate("rhel", ["/dev/mapper/made"])
    g.lvcreate_free("root", "rhel", 100)
    g.mkfs("ext2", "/dev/rhel/root")
    g.mkfs("ext2", "/dev/sda1")
    g.mount("/dev/rhel/root", "/")
    g.mkdir("/boot")
    g.mount("/dev/sda1", "/boot")
    for each in sorted(tree.iterdir()):
        g.copy_in(str(each), "/")
    g.shutdown()
    g.close()
    return file
