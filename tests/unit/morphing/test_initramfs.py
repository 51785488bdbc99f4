from isthmus.migration.machine import Firmware
from isthmus.migration.morphing import initramfs
from isthmus.migration.morphing.contract import Target

VIRTIO = Target("libvirt", "virtio", "virtio", Firmware.BIOS)
SATA = Target("libvirt", "sata", "e1000e", Firmware.BIOS)


def test_the_last_policy_wins() -> None:
    assert initramfs.policy(["MODULES=most\n", "# MODULES=netboot\nMODULES=list\n"]) == "list"
    assert initramfs.policy([]) == "most"


def test_modules_fit_the_target() -> None:
    assert initramfs.wanted_modules(VIRTIO) == ("virtio_pci", "virtio_blk", "virtio_net")
    assert initramfs.wanted_modules(SATA) == ("ahci", "sd_mod", "e1000e")
    assert initramfs.needed_modules(SATA) == ("ahci", "sd_mod")


def test_modules_are_added_once() -> None:
    text, added = initramfs.with_modules("# mine\nvirtio-pci\n", ("virtio_pci", "virtio_blk"))
    assert text == f"# mine\nvirtio-pci\n{initramfs.MARK}\nvirtio_blk\n"
    assert added == ["virtio_blk"]
    assert initramfs.with_modules(text, ("virtio_pci", "virtio_blk")) == (text, [])


def test_drivers_are_read_from_both_listings() -> None:
    listing = "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko\nkernel/fs/ext4/ext4.ko\n"
    assert {"virtio_blk", "ext4"} <= initramfs.drivers(listing)
    assert "snd_pcm" in initramfs.drivers("kernel/sound/core/snd-pcm.ko.xz: kernel/sound/core/snd.ko.xz\n")


def test_drivers_that_were_forbidden_are_freed() -> None:
    text = "blacklist virtio_blk\ninstall virtio-net /bin/true\nblacklist pcspkr\n"
    after, freed = initramfs.without_blacklist(text, ("virtio_blk", "virtio_net"))
    assert after == "# blacklist virtio_blk\n# install virtio-net /bin/true\nblacklist pcspkr\n"
    assert freed == ["virtio_blk", "virtio-net"]
