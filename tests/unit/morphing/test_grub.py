from isthmus.migration.morphing import grub
from isthmus.migration.morphing.contract import FileSystem

FOUND = (FileSystem("/dev/loop0", "ext4", "1111", "", 0, 1), FileSystem("/dev/loop1", "swap", "2222", "", 0, 2))
CONFIG = """set root='hd0,msdos1'
menuentry 'Debian' {
	linux	/boot/vmlinuz-6.1 root=/dev/sda1 ro console=ttyS0,115200 resume=/dev/sda2 quiet
	initrd	/boot/initrd.img-6.1
}
"""


def test_kernels_find_their_root_by_uuid() -> None:
    after, changes = grub.configuration(CONFIG, FOUND, "ttyS0")
    assert "root=UUID=1111 ro console=ttyS0,115200 resume=UUID=2222 quiet" in after
    assert "set root='hd0,msdos1'" in after
    assert changes == [
        "grub.cfg: root=UUID=1111 instead of /dev/sda1",
        "grub.cfg: resume=UUID=2222 instead of /dev/sda2",
    ]
    assert grub.configuration(after, FOUND, "ttyS0") == (after, [])


def test_each_change_is_said_once_for_all_kernels() -> None:
    assert len(grub.configuration(CONFIG * 3, FOUND, "ttyS0")[1]) == 2


def test_a_console_is_added_after_the_screen() -> None:
    assert grub.kernel_arguments(" root=UUID=1111 ro", FOUND, "ttyS0") == (
        " root=UUID=1111 ro console=tty0 console=ttyS0,115200",
        ["console=tty0 console=ttyS0,115200 added"],
    )


def test_the_sources_console_is_replaced() -> None:
    assert grub.kernel_arguments(" console=tty0 console=hvc0 ro", FOUND, "ttyS0")[0] == (
        " console=tty0 console=ttyS0,115200 ro"
    )


def test_items_of_the_sources_hypervisor_are_dropped() -> None:
    arguments, changes = grub.kernel_arguments(" ro rootdelay=300 xen_blkfront.max=32 quiet", FOUND, "")
    assert arguments == " ro quiet"
    assert changes == ["rootdelay=300, xen_blkfront.max=32 dropped"]


def test_defaults_follow() -> None:
    text = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="root=/dev/sda1"\nGRUB_DISABLE_LINUX_UUID=true\n'
    after, changes = grub.defaults(text, FOUND, "ttyS0")
    assert after == (
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
        'GRUB_CMDLINE_LINUX="root=UUID=1111 console=tty0 console=ttyS0,115200"\n'
        "# GRUB_DISABLE_LINUX_UUID=true\n"
    )
    assert len(changes) == 3
    assert grub.defaults(after, FOUND, "ttyS0") == (after, [])


def test_a_quoted_root_in_a_comment_stays() -> None:
    text = "# root=/dev/sda1 was here\n"
    assert grub.configuration(text, FOUND, "ttyS0") == (text, [])
