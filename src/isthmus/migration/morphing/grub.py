"""GRUB's configuration: the root by UUID and a console on the target. Pure text to text.

grub.cfg is edited where it stands rather than made again by update-grub: grub-probe would look at the worker's block
devices. /etc/default/grub gets the same, so that the guest's next update-grub writes what was written here.
"""

import re
from collections.abc import Sequence

from isthmus.migration.morphing.contract import FileSystem
from isthmus.migration.morphing.device_names import is_tied, resolve

_LINUX_LINE = re.compile(r"^(\s*linux(?:16|efi)?\s+\S+)(.*)$", re.MULTILINE)
_DEVICE_ITEM = re.compile(r"(?<=[\s\"'=])(root|resume)=(\"?)(/dev/[^\s\"']+)\2")
_VARIABLE = re.compile(r"^(GRUB_CMDLINE_LINUX(?:_DEFAULT)?=)([\"']?)(.*?)\2[ \t]*$", re.MULTILINE)
_OPTIONS = re.compile(r"^(options)(\s.*)$", re.MULTILINE)
_KERNEL_OPTIONS = re.compile(r"^(kernelopts=)(.*)$", re.MULTILINE)
_ENVIRONMENT_BYTES = 1024
_KERNEL_LINE = "/etc/kernel/cmdline"
_DISABLE_UUID = re.compile(r"^(\s*)(GRUB_DISABLE_LINUX_(?:PART)?UUID=.*)$", re.MULTILINE)
_SERIAL_CONSOLE = re.compile(r"(?<!\S)console=((?:ttyS|ttyAMA|hvc|xvc)\d+)(,\S+)?(?!\S)")
_SPEED = "115200"
# Items that only make sense on the source's hypervisor.
_SOURCE_ITEMS = re.compile(
    r"(?<!\S)(?:xen_blkfront|xen_nopvspin|xen_emul_unplug|hv_netvsc|rootdelay)(?:[.=]\S+)?(?!\S) ?"
)


def configuration(text: str, found: Sequence[FileSystem], console: str) -> tuple[str, list[str]]:
    """Return grub.cfg whose kernels find their root by UUID and talk on `console`, and one line for each change."""
    changes: list[str] = []

    def edit(match: re.Match[str]) -> str:
        arguments, made = kernel_arguments(match.group(2), found, console)
        changes.extend(f"grub.cfg: {change}" for change in made)
        return match.group(1) + arguments

    return _LINUX_LINE.sub(edit, text), list(dict.fromkeys(changes))


def defaults(text: str, found: Sequence[FileSystem], console: str) -> tuple[str, list[str]]:
    """Return /etc/default/grub with the same, and one line for each change."""
    changes: list[str] = []

    def edit(match: re.Match[str]) -> str:
        wanted = console if match.group(1) == "GRUB_CMDLINE_LINUX=" else ""
        arguments, made = kernel_arguments(f" {match.group(3)}", found, wanted)
        changes.extend(f"/etc/default/grub: {change}" for change in made)
        return f'{match.group(1)}"{arguments.strip()}"' if made else match.group(0)

    text = _VARIABLE.sub(edit, text)
    text, count = _DISABLE_UUID.subn(r"\1# \2", text)
    if count:
        changes.append("/etc/default/grub: the kernel's root is named by UUID again (GRUB_DISABLE_LINUX_UUID off)")
    return text, changes


def boot_entry(text: str, found: Sequence[FileSystem], console: str) -> tuple[str, list[str]]:
    """Return a Boot Loader Specification entry (/boot/loader/entries) fit for the target.

    An entry that says `$kernelopts` takes its options from GRUB's environment, which is edited there.
    """
    changes: list[str] = []

    def edit(match: re.Match[str]) -> str:
        wanted = "" if "$kernelopts" in match.group(2) else console
        arguments, made = kernel_arguments(match.group(2), found, wanted)
        changes.extend(f"boot entries: {change}" for change in made)
        return match.group(1) + arguments

    return _OPTIONS.sub(edit, text), changes


def environment(text: str, found: Sequence[FileSystem], console: str) -> tuple[str, list[str]]:
    """Return GRUB's environment block with `kernelopts` fit for the target: 1024 bytes, filled up with "#".

    Unchanged if the longer options do not fit: GRUB reads nothing from a block of another size.
    """
    changes: list[str] = []

    def edit(match: re.Match[str]) -> str:
        arguments, made = kernel_arguments(f" {match.group(2)}", found, console)
        changes.extend(f"grubenv: {change}" for change in made)
        return match.group(1) + arguments.lstrip()

    after = _KERNEL_OPTIONS.sub(edit, text.rstrip("#"))
    if not changes:
        return text, []
    if len(after.encode(errors="surrogateescape")) > _ENVIRONMENT_BYTES:
        return text, []
    return after + "#" * (_ENVIRONMENT_BYTES - len(after.encode(errors="surrogateescape"))), changes


def kernel_line(text: str, found: Sequence[FileSystem], console: str) -> tuple[str, list[str]]:
    """Return /etc/kernel/cmdline, from which the next kernel's boot entry is made, fit for the target."""
    arguments, made = kernel_arguments(f" {text.strip()}", found, console)
    return (f"{arguments.strip()}\n", [f"{_KERNEL_LINE}: {change}" for change in made]) if made else (text, [])


def kernel_arguments(arguments: str, found: Sequence[FileSystem], console: str) -> tuple[str, list[str]]:
    """Return a kernel command line (with its leading blank) fit for the target, and what was changed in it.

    With an empty `console` the consoles are left as they are.
    """
    changes: list[str] = []

    def rename(match: re.Match[str]) -> str:
        key, device = match.group(1), match.group(3)
        meant = resolve(device, found)
        if not is_tied(device) or not meant or not meant.uuid:
            return match.group(0)
        changes.append(f"{key}=UUID={meant.uuid} instead of {device}")
        return f"{key}=UUID={meant.uuid}"

    arguments = _DEVICE_ITEM.sub(rename, arguments)
    if dropped := [item.group(0).strip() for item in _SOURCE_ITEMS.finditer(arguments)]:
        arguments = _SOURCE_ITEMS.sub("", arguments)
        changes.append(f"{', '.join(dropped)} dropped")
    arguments, change = _with_console(arguments, console)
    return arguments, changes + change


def _with_console(arguments: str, console: str) -> tuple[str, list[str]]:
    present = [match.group(1) for match in _SERIAL_CONSOLE.finditer(arguments)]
    if not console or console in present:
        return arguments, []
    wanted = f"console={console},{_SPEED}" if console.startswith("ttyS") else f"console={console}"
    if present:
        return _SERIAL_CONSOLE.sub(wanted, arguments, count=1), [f"{wanted} instead of console={present[0]}"]
    if "console=" in arguments:
        return f"{arguments.rstrip()} {wanted}", [f"{wanted} added"]
    # tty0 first: the last console named is /dev/console, and a screen must not go dark.
    return f"{arguments.rstrip()} console=tty0 {wanted}", [f"console=tty0 {wanted} added"]


def boots_by_grub(boot_sector: bytes) -> bool:
    """Return whether a disk's first sector is a boot sector of GRUB 2's (it holds the text "GRUB ")."""
    return boot_sector[510:512] == b"\x55\xaa" and b"GRUB " in boot_sector[:440]
