"""GRUB's configuration files, the disk's boot sector, and the loader that EFI firmware starts without any setting."""

import posixpath
from collections.abc import Callable, Sequence

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.morphing import grub
from isthmus.migration.morphing.contract import FileSystem, GuestAccess, GuestDisks, Target

_ESP_TYPE = "vfat"
_FALLBACKS = {"x86_64": ("BOOTX64.EFI", "x64"), "aarch64": ("BOOTAA64.EFI", "aa64")}
_VENDORS = (
    *("debian", "ubuntu", "redhat", "centos", "almalinux", "rocky", "fedora", "oracle", "amzn"),
    *("sles", "sles_sap", "opensuse", "SLES", "sle_micro"),
)
"""Directories of distributions' loaders in the EFI system partition."""
_DIRECTORIES = ("/boot/grub", "/boot/grub2")
_ENTRIES = "/boot/loader/entries"
_DEFAULTS = "/etc/default/grub"
_KERNEL_LINE = "/etc/kernel/cmdline"

Edit = Callable[[str, Sequence[FileSystem], str], tuple[str, list[str]]]


def configure(guest: GuestDisks, target: Target) -> list[str]:
    """Edit GRUB's files and the kernels' boot entries; return one line for each change."""
    edits: list[tuple[str, Edit]] = [(_DEFAULTS, grub.defaults), (_KERNEL_LINE, grub.kernel_line)]
    for directory in _DIRECTORIES:
        edits += [(f"{directory}/grub.cfg", grub.configuration), (f"{directory}/grubenv", grub.environment)]
    for name in guest.list_directory(_ENTRIES):
        if name.endswith(".conf"):
            edits.append((f"{_ENTRIES}/{name}", grub.boot_entry))
    changes: list[str] = []
    for path, edit in edits:
        changes.extend(_edit(guest, path, edit, target))
    changes.extend(_edit_on_esp(guest, target))
    removed = [guest.remove(f"{directory}/device.map") for directory in _DIRECTORIES]
    if any(removed):
        changes.append("grub: device.map, which named the source's disks, is removed")
    return list(dict.fromkeys(changes))


def _edit(guest: GuestAccess, path: str, edit: Edit, target: Target) -> list[str]:
    before = guest.read(path)
    if before is None:
        return []
    after, changes = edit(before, guest.file_systems(), target.console)
    if after == before:
        return []
    guest.write(path, after)
    return changes


def _edit_on_esp(guest: GuestDisks, target: Target) -> list[str]:
    """Edit the configuration that RHEL 7 and 8, CentOS and their kind keep beside the loader of an EFI machine."""
    changes = []
    for esp in _partitions(guest):
        for vendor in _VENDORS:
            for name, edit in (("grub.cfg", grub.configuration), ("grubenv", grub.environment)):
                path = f"/EFI/{vendor}/{name}"
                before = guest.esp_read(esp, path)
                if before is None:
                    continue
                after, made = edit(before, guest.file_systems(), target.console)
                if after != before:
                    guest.esp_write(esp, path, after)
                    changes.extend(made)
    return changes


def check_loader(guest: GuestDisks, target: Target, architecture: str) -> list[str]:
    """See that the target's firmware finds a loader; return one line for each change.

    Raises `StepFailed` where it cannot: the machine would not start.
    """
    if target.firmware == Firmware.EFI:
        return _ensure_fallback(guest, architecture)
    if guest.read_disk(0, 510, 2) != b"\x55\xaa":
        raise StepFailed(
            "the first disk has no boot sector, and the machine starts by BIOS: deploy it with EFI firmware"
        )
    return []


def _ensure_fallback(guest: GuestDisks, architecture: str) -> list[str]:
    """Copy the distribution's loader to where firmware looks when its variables are empty (UEFI 2.10, 3.5.1)."""
    name, suffix = _FALLBACKS.get(architecture, ("", ""))
    for esp in _partitions(guest):
        if guest.esp_exists(esp, f"/EFI/BOOT/{name}"):
            return []
        for vendor in _VENDORS:
            # SUSE calls both by their plain names.
            loaders = (f"/EFI/{vendor}/grub{suffix}.efi", f"/EFI/{vendor}/grub.efi")
            loader = next((path for path in loaders if guest.esp_exists(esp, path)), None)
            if loader is None:
                continue
            shims = (f"/EFI/{vendor}/shim{suffix}.efi", f"/EFI/{vendor}/shim.efi")
            first = next((path for path in shims if guest.esp_exists(esp, path)), loader)
            guest.esp_copy(esp, first, f"/EFI/BOOT/{name}")
            if first != loader:  # shim starts the GRUB that lies beside it
                guest.esp_copy(esp, loader, f"/EFI/BOOT/{posixpath.basename(loader)}")
            return [f"EFI: {first} is copied to /EFI/BOOT/{name}, where firmware without settings looks"]
    raise StepFailed(
        "no EFI loader of a distribution's is on the disks, and the machine starts by EFI: deploy with BIOS"
    )


def _partitions(guest: GuestAccess) -> list[FileSystem]:
    return [file_system for file_system in guest.file_systems() if file_system.type == _ESP_TYPE]
