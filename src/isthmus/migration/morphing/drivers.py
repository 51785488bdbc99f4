"""Make the kernel's early image hold what the target's bus and NIC need: modules, and initramfs-tools' files."""

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing import initramfs
from isthmus.migration.morphing.contract import GuestAccess, Target
from isthmus.migration.morphing.programs import tail_of

_MODULES = "/etc/initramfs-tools/modules"
_OVERRIDE = "/etc/initramfs-tools/conf.d/zz-isthmus"
_UPDATE_SECONDS = 3600


def configure(guest: GuestAccess, target: Target) -> list[str]:
    """Change initramfs-tools' and modprobe's files; return one line for each change. Raises `StepFailed`.

    The guest's policy is kept where it can be: "list" gets the modules added, "most" has them already. "dep" looks at
    the machine that update-initramfs runs on, which is not the target, so it becomes "most".
    """
    see_drivers(guest, target)
    changes = []
    policy = initramfs.policy(_configurations(guest))
    if policy in ("dep", "netboot"):
        guest.write(_OVERRIDE, "# Isthmus: MODULES=dep would look at the machine that makes the image.\nMODULES=most\n")
        changes.append(f"initramfs: MODULES=most instead of {policy}")
    text, added = initramfs.with_modules(guest.read(_MODULES) or "", initramfs.wanted_modules(target))
    if added:
        guest.write(_MODULES, text)
        changes.append(f"initramfs: {', '.join(added)} added for the target's disks and NIC")
    return changes + free_modules(guest, target)


def free_modules(guest: GuestAccess, target: Target) -> list[str]:
    """Take the target's modules out of the blacklists of modprobe.d; return one line for each change."""
    changes = []
    for name in guest.list_directory("/etc/modprobe.d"):
        path = f"/etc/modprobe.d/{name}"
        text, freed = initramfs.without_blacklist(guest.read(path) or "", initramfs.wanted_modules(target))
        if freed:
            guest.write(path, text)
            changes.append(f"modprobe: {', '.join(freed)} is no longer forbidden in {path}")
    return changes


def update(guest: GuestAccess) -> list[str]:
    """Make the initramfs of every installed kernel again; return one line. Raises `StepFailed`."""
    # Always, and not only after a change: an earlier attempt may have been killed between the files and the image.
    result = guest.run(["/usr/sbin/update-initramfs", "-u", "-k", "all"], timeout_seconds=_UPDATE_SECONDS)
    if result.status:
        raise StepFailed(f"update-initramfs failed in the guest: mend it in the source. {tail_of(result.output)}")
    return [f"initramfs: made again for kernel {', '.join(kernels(guest))}"]


def see_drivers(guest: GuestAccess, target: Target) -> None:
    """Raise `StepFailed` unless some installed kernel has the drivers of the target's disk bus."""
    versions = kernels(guest)
    if not versions:
        raise StepFailed("the guest has no kernel with modules in /lib/modules: it cannot be made to boot")
    needed = initramfs.needed_modules(target)
    for version in versions:
        listings = [guest.read(f"/lib/modules/{version}/{name}") or "" for name in ("modules.dep", "modules.builtin")]
        present = initramfs.drivers("\n".join(listings))
        if all(module in present for module in needed):
            return
    raise StepFailed(
        f"no kernel of the guest's ({', '.join(versions)}) has {' and '.join(needed)}: "
        f"choose another disk bus than {target.disk_bus}, or install a kernel that has it in the source machine"
    )


def kernels(guest: GuestAccess) -> list[str]:
    """Return the versions of the kernels that have both an image and modules."""
    images = guest.list_directory("/boot")
    return [version for version in guest.list_directory("/lib/modules") if f"vmlinuz-{version}" in images]


def _configurations(guest: GuestAccess) -> list[str]:
    directory = "/etc/initramfs-tools/conf.d"
    paths = [
        "/etc/initramfs-tools/initramfs.conf",
        *(f"{directory}/{name}" for name in guest.list_directory(directory)),
    ]
    return [guest.read(path) or "" for path in paths]
