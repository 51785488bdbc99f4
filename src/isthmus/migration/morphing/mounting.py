"""Find the guest's root file system and mount it, a Linux guest's with all that its fstab names."""

import posixpath
from collections.abc import Sequence

from isthmus.control.errors import NotSupported, StepFailed
from isthmus.migration.morphing import fstab
from isthmus.migration.morphing.contract import FileSystem, GuestDisks
from isthmus.migration.morphing.device_names import resolve
from isthmus.migration.morphing.windows_paths import find_path

WAY_ON = "deploy with skip_os_morphing to start it as it is"
_MOUNTABLE = ("ext4", "ext3", "ext2", "xfs", "btrfs")
# Where the files that morphing reads and writes can be; other file systems stay untouched.
_NEEDED = ("/boot", "/usr", "/var", "/etc", "/opt", "/var/lib", "/usr/local", "/var/cache")
_LOCKED = {
    "LVM2_member": "LVM",
    "crypto_LUKS": "LUKS",
    "linux_raid_member": "software RAID",
    "zfs_member": "ZFS",
    "BitLocker": "BitLocker",
}
_ADVICE = {
    "LUKS": "give its key by luks_keys and choose the appliance as morphing_way_in",
    "LVM": "choose the appliance as morphing_way_in",
    "BitLocker": "suspend BitLocker in the source machine (manage-bde -protectors -disable) or decrypt it",
}
_PROBE = "/isthmus-can-write"
_REGISTRY = "/Windows/System32/config/SYSTEM"


def mount_guest(disks: GuestDisks) -> None:
    """Mount the guest's root. Raises `NotSupported` if there is no OS, `StepFailed` for a damaged file system."""
    found = disks.file_systems()
    if mount_windows(disks, found):
        return
    root, subvolume = _find_root(disks, found)
    disks.check(root)
    disks.mount(root, "/", subvolume=subvolume)
    entries = fstab.parse(disks.read("/etc/fstab") or "")
    # Shorter paths first: /var is there before /var/lib is mounted on it.
    for entry in sorted(entries, key=lambda each: each.mount_point.count("/")):
        place = posixpath.normpath(entry.mount_point)
        if place not in _NEEDED or entry.type in ("tmpfs", "vfat"):
            continue
        meant = resolve(entry.device, found)
        if meant is None:
            raise StepFailed(f"{place} of the guest is on {entry.device}, which none of its disks holds: add that disk")
        if meant != root:
            disks.check(meant)
        if meant != root or entry.subvolume:
            disks.mount(meant, place, subvolume=entry.subvolume)


def mount_windows(disks: GuestDisks, found: Sequence[FileSystem]) -> bool:
    """Mount the first NTFS volume that holds a Windows as "/"; return whether there is one.

    Raises `StepFailed` if it can only be read: it was not shut down wholly.
    """
    for volume in found:
        if volume.type != "ntfs":
            continue
        try:
            disks.mount(volume, "/")
        except (NotSupported, StepFailed) as error:
            # It may be the data volume of a Linux guest, which is not needed.
            if any(each.type in _MOUNTABLE for each in found):
                continue
            if isinstance(error, NotSupported):
                raise NotSupported(f"{error.message}; choose the appliance as morphing_way_in, or {WAY_ON}") from error
            raise
        if find_path(disks, _REGISTRY) is None:
            disks.unmount_all()
            continue
        try:
            disks.write(_PROBE, "")
        except StepFailed as error:
            raise StepFailed(
                "Windows was not shut down wholly, so its volume can only be read: switch hibernation and fast startup "
                f"off (powercfg /h off), shut it down (shutdown /s /t 0) and execute the transfer again. {error}"
            ) from error
        disks.remove(_PROBE)
        return True
    return False


def _find_root(disks: GuestDisks, found: Sequence[FileSystem]) -> tuple[FileSystem, str]:
    """Return the root file system and its btrfs subvolume."""
    damaged: StepFailed | None = None
    for file_system in found:
        if file_system.type not in _MOUNTABLE:
            continue
        # Ubuntu keeps its btrfs root in a subvolume of this name.
        for subvolume in ("@", "") if file_system.type == "btrfs" else ("",):
            try:
                disks.check(file_system)
                disks.mount(file_system, "/", subvolume=subvolume)
            except StepFailed as error:
                damaged = damaged if subvolume else error
                continue
            is_root = disks.exists("/etc/fstab") and (
                disks.exists("/etc/os-release") or disks.exists("/etc/debian_version")
            )
            disks.unmount_all()
            if is_root:
                return file_system, subvolume
    if damaged:
        raise damaged
    locked = sorted({_LOCKED[fs.type] for fs in found if fs.type in _LOCKED})
    if locked:
        advice = "; ".join(_ADVICE[name] for name in locked if name in _ADVICE)
        raise NotSupported(
            f"the guest's root is inside {', '.join(locked)}, which cannot be opened here: "
            f"{advice}{', or ' if advice else ''}{WAY_ON}"
        )
    if not any(file_system.type in _MOUNTABLE for file_system in found):
        # A destroyed superblock leaves nothing to know a file system by.
        raise NotSupported(
            "the machine's disks hold no file system that can be read here; one that should be there is damaged: "
            f"repair it at the source and execute the transfer again, or {WAY_ON}"
        )
    raise NotSupported(f"no operating system was found on the machine's disks: {WAY_ON}")
