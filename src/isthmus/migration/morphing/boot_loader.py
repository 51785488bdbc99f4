"""GRUB's configuration files, the disk's boot sector, and the loader that EFI firmware starts without any setting."""

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.morphing import grub
from isthmus.migration.morphing.contract import GuestDisks, Target

_ESP_TYPE = "vfat"
_FALLBACKS = {"x86_64": ("BOOTX64.EFI", "x64"), "aarch64": ("BOOTAA64.EFI", "aa64")}


def configure(guest: GuestDisks, target: Target) -> list[str]:
    """Edit GRUB's files; return one line for each change."""
    changes: list[str] = []
    for path, edit in (("/boot/grub/grub.cfg", grub.configuration), ("/etc/default/grub", grub.defaults)):
        before = guest.read(path)
        if before is None:
            continue
        after, made = edit(before, guest.file_systems(), target.console)
        if after != before:
            guest.write(path, after)
            changes.extend(made)
    if guest.remove("/boot/grub/device.map"):
        changes.append("grub: device.map, which named the source's disks, is removed")
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
    partitions = [file_system for file_system in guest.file_systems() if file_system.type == _ESP_TYPE]
    name, suffix = _FALLBACKS.get(architecture, ("", ""))
    for esp in partitions:
        if guest.esp_exists(esp, f"/EFI/BOOT/{name}"):
            return []
        for vendor in ("debian", "ubuntu"):
            loader = f"/EFI/{vendor}/grub{suffix}.efi"
            if not guest.esp_exists(esp, loader):
                continue
            shim = f"/EFI/{vendor}/shim{suffix}.efi"
            first = shim if guest.esp_exists(esp, shim) else loader
            guest.esp_copy(esp, first, f"/EFI/BOOT/{name}")
            if first == shim:  # shim starts the GRUB that lies beside it
                guest.esp_copy(esp, loader, f"/EFI/BOOT/grub{suffix}.efi")
            return [f"EFI: {first} is copied to /EFI/BOOT/{name}, where firmware without settings looks"]
    raise StepFailed(
        "no EFI loader of Debian's or Ubuntu's is on the disks, and the machine starts by EFI: deploy with BIOS"
    )
