"""dracut's images: the RHEL and the SUSE families'."""

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing import initramfs
from isthmus.migration.morphing.contract import GuestAccess, Target
from isthmus.migration.morphing.drivers import free_modules, kernels, see_drivers
from isthmus.migration.morphing.programs import tail_of

_CONFIGURATION = "/etc/dracut.conf.d/isthmus.conf"
_PROGRAMS = ("/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut")
_IMAGES = ("initramfs-{}.img", "initrd-{}")
_SECONDS = 3600


def configure(guest: GuestAccess, target: Target) -> list[str]:
    """Have every image, also those of later kernels, hold the target's drivers; return one line for each change.

    Raises `StepFailed` if no kernel has them.
    """
    see_drivers(guest, target)
    changes = []
    text = configuration(target)
    if guest.read(_CONFIGURATION) != text:
        guest.write(_CONFIGURATION, text)
        changes.append(f"initramfs: {', '.join(initramfs.wanted_modules(target))} added for the target's disks and NIC")
    return changes + free_modules(guest, target)


def configuration(target: Target) -> str:
    """Return the dracut.conf(5) file for a target. The blanks inside the quotes are dracut's rule."""
    return f'{initramfs.MARK}\nadd_drivers+=" {" ".join(initramfs.wanted_modules(target))} "\n'


def update(guest: GuestAccess) -> list[str]:
    """Make the image of every installed kernel again; return one line. Raises `StepFailed`.

    Not for this host only (--no-hostonly): dracut would look at the disks and drivers of the machine that it runs on,
    which is not the target. The guest's next kernel is installed on the target and gets an image by the guest's policy.
    """
    dracut = next((path for path in _PROGRAMS if guest.exists(path)), None)
    if dracut is None:
        raise StepFailed("dracut is not installed in the guest: install it in the source machine and execute again")
    versions = kernels(guest)
    present = guest.list_directory("/boot")
    for version in versions:
        names = [pattern.format(version) for pattern in _IMAGES]
        image = next((name for name in names if name in present), None)
        if image is None:
            image = names[1] if guest.exists("/etc/SUSE-brand") or guest.exists("/etc/products.d") else names[0]
        command = [dracut, "--force", "--no-hostonly", "--no-hostonly-cmdline", f"/boot/{image}", version]
        result = guest.run(command, timeout_seconds=_SECONDS)
        if result.status:
            raise StepFailed(
                f"dracut failed for kernel {version} in the guest: mend it in the source, where /boot must have room "
                f"for a full image. {tail_of(result.output)}"
            )
    return [f"initramfs: made again for kernel {', '.join(versions)}"]
