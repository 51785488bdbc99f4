from isthmus.migration.morphing import fstab
from isthmus.migration.morphing.contract import FileSystem
from isthmus.migration.morphing.device_names import is_tied, resolve

ROOT = FileSystem("/dev/loop0", "ext4", "1111-root", "root", 0, 1)
SWAP = FileSystem("/dev/loop1", "swap", "2222-swap", "", 0, 2)
DATA = FileSystem("/dev/loop2", "xfs", "3333-data", "data", 1, 1)
FOUND = (ROOT, SWAP, DATA)


def test_kernel_names_become_uuids_and_the_layout_stays() -> None:
    text = "# comment /dev/sda1\n/dev/sda1 /     ext4 errors=remount-ro 0 1\n/dev/xvdb1\t/data\txfs\tdefaults 0 2\n"
    after, changes = fstab.by_uuid(text, FOUND)
    assert after == (
        "# comment /dev/sda1\nUUID=1111-root /     ext4 errors=remount-ro 0 1\n"
        "UUID=3333-data\t/data\txfs\tdefaults 0 2\n"
    )
    assert changes == [
        "fstab: / is mounted by UUID=1111-root instead of /dev/sda1",
        "fstab: /data is mounted by UUID=3333-data instead of /dev/xvdb1",
    ]


def test_swap_is_named_as_swap() -> None:
    after, changes = fstab.by_uuid("/dev/vda2 none swap sw 0 0\n", FOUND)
    assert after == "UUID=2222-swap none swap sw 0 0\n"
    assert changes == ["fstab: swap is mounted by UUID=2222-swap instead of /dev/vda2"]


def test_uuids_labels_and_pseudo_file_systems_stay() -> None:
    text = "UUID=1111-root / ext4 defaults 0 1\nLABEL=data /data xfs defaults 0 2\ntmpfs /tmp tmpfs size=1g 0 0\n"
    assert fstab.by_uuid(text, FOUND) == (text, [])


def test_a_second_run_changes_nothing() -> None:
    once, _ = fstab.by_uuid("/dev/sda1 / ext4 defaults\n/dev/sdz9 /lost ext4 defaults 0 2\n", FOUND)
    assert fstab.by_uuid(once, FOUND) == (once, [])


def test_a_disk_that_did_not_come_along_does_not_stop_the_boot() -> None:
    after, changes = fstab.by_uuid("/dev/sdd1 /scratch ext4 noatime 0 2\n", FOUND)
    assert after == "/dev/sdd1 /scratch ext4 noatime,nofail 0 2\n"
    assert changes == ["fstab: /scratch on /dev/sdd1 is optional (nofail): no disk of this machine holds it"]


def test_nofail_is_added_where_options_are_missing() -> None:
    assert fstab.by_uuid("/dev/sdd1 /scratch ext4\n", FOUND)[0] == "/dev/sdd1 /scratch ext4 nofail\n"


def test_crypttab_names_its_source_by_uuid() -> None:
    after, changes = fstab.crypttab_by_uuid("swap /dev/sda2 /dev/urandom swap\n# /dev/sda1\n", FOUND)
    assert after == "swap UUID=2222-swap /dev/urandom swap\n# /dev/sda1\n"
    assert len(changes) == 1


def test_resume_names_its_swap_by_uuid_or_nothing() -> None:
    assert fstab.resume_by_uuid("RESUME=/dev/sda2\n", FOUND)[0] == "RESUME=UUID=2222-swap\n"
    assert fstab.resume_by_uuid("RESUME=/dev/sdc9\n", FOUND)[0] == "RESUME=none\n"
    assert fstab.resume_by_uuid("RESUME=UUID=2222-swap\n", FOUND) == ("RESUME=UUID=2222-swap\n", [])
    assert fstab.resume_by_uuid("RESUME=auto\n", FOUND) == ("RESUME=auto\n", [])


def test_entries_give_subvolumes_and_blanks() -> None:
    entry = fstab.parse("UUID=x /my\\040home btrfs defaults,subvol=@home 0 0\nbroken\n")[0]
    assert (entry.mount_point, entry.subvolume) == ("/my home", "@home")


def test_names_that_depend_on_the_bus_are_tied() -> None:
    for name in ("/dev/sda1", "/dev/vdb", "/dev/xvda2", "/dev/nvme0n1p1", "/dev/disk/by-path/pci-0000:00:04.0-part1"):
        assert is_tied(name), name
    for name in ("UUID=1111-root", "/dev/mapper/vg-root", "/dev/disk/by-uuid/1111-root", "tmpfs"):
        assert not is_tied(name), name


def test_every_kind_of_name_is_resolved() -> None:
    volume = FileSystem("/dev/my-vg/root", "ext4", "4444", "", -1, 0)
    found = (*FOUND, volume)
    assert resolve("/dev/nvme1n1p1", found) == DATA
    assert resolve('UUID="1111-ROOT"', found) == ROOT
    assert resolve("/dev/disk/by-label/data", found) == DATA
    assert resolve("/dev/disk/by-id/scsi-0QEMU_HARDDISK-part2", found) == SWAP
    assert resolve("/dev/mapper/my--vg-root", found) == volume
    assert resolve("/dev/disk/by-path/pci-0000:00:04.0-part1", found) is None, "two disks have a first partition"
    assert resolve("/dev/sdz1", found) is None
