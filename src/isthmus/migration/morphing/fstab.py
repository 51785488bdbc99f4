"""/etc/fstab, /etc/crypttab and resume=: by UUID instead of the source's device names."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.migration.morphing.contract import FileSystem, GuestAccess
from isthmus.migration.morphing.device_names import is_tied, resolve

_FIELDS = re.compile(r"^(\s*)(\S+)(\s+)(\S+)(\s+)(\S+)(.*)$", re.DOTALL)
_RESUME = re.compile(r"^(\s*RESUME=)(\S+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One line of fstab(5) that mounts something."""

    device: str
    mount_point: str
    type: str
    options: tuple[str, ...]

    @property
    def subvolume(self) -> str:
        """The btrfs subvolume that it mounts, "" for the default one."""
        return next((option.partition("=")[2] for option in self.options if option.startswith("subvol=")), "")


def name_file_systems(guest: GuestAccess) -> list[str]:
    """Make fstab and crypttab name file systems by UUID; return one line for each change."""
    return edit(guest, "/etc/fstab", by_uuid) + edit(guest, "/etc/crypttab", crypttab_by_uuid)


def edit(
    guest: GuestAccess, path: str, change: Callable[[str, Sequence[FileSystem]], tuple[str, list[str]]]
) -> list[str]:
    """Change a file of the guest's, if it is there and not yet so; return one line for each change."""
    before = guest.read(path)
    if before is None:
        return []
    after, made = change(before, guest.file_systems())
    if after == before:
        return []
    guest.write(path, after)
    return made


def parse(text: str) -> list[Entry]:
    """Return fstab's entries in their order; malformed lines are left out, as mount(8) does."""
    entries = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            options = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            entries.append(Entry(fields[0], fields[1].replace("\\040", " "), fields[2], options))
    return entries


def by_uuid(text: str, found: Sequence[FileSystem]) -> tuple[str, list[str]]:
    """Return fstab with every tied device name replaced by UUID=, and one line for each change.

    A tied name that means none of the machine's file systems gets `nofail`: the guest must not wait for it for ever.
    """
    lines, changes = [], []
    for line in text.splitlines(keepends=True):
        match = _FIELDS.match(line)
        if not match or match.group(2).startswith("#") or not is_tied(match.group(2)):
            lines.append(line)
            continue
        indent, device, gap, mount_point, gap2, kind, rest = match.groups()
        what = "swap" if kind == "swap" else mount_point
        meant = resolve(device, found)
        if meant and meant.uuid:
            lines.append(f"{indent}UUID={meant.uuid}{gap}{mount_point}{gap2}{kind}{rest}")
            changes.append(f"fstab: {what} is mounted by UUID={meant.uuid} instead of {device}")
            continue
        relaxed = _with_nofail(rest)
        lines.append(f"{indent}{device}{gap}{mount_point}{gap2}{kind}{relaxed}")
        if relaxed != rest:
            changes.append(f"fstab: {what} on {device} is optional (nofail): no disk of this machine holds it")
    return "".join(lines), changes


def crypttab_by_uuid(text: str, found: Sequence[FileSystem]) -> tuple[str, list[str]]:
    """Return crypttab with tied device names (second field) replaced by UUID=, and one line for each change."""
    lines, changes = [], []
    for line in text.splitlines(keepends=True):
        fields = line.split()
        meant = resolve(fields[1], found) if len(fields) > 1 and is_tied(fields[1]) else None
        if meant and meant.uuid and not fields[0].startswith("#"):
            lines.append(line.replace(fields[1], f"UUID={meant.uuid}", 1))
            changes.append(f"crypttab: {fields[0]} is opened by UUID={meant.uuid} instead of {fields[1]}")
        else:
            lines.append(line)
    return "".join(lines), changes


def resume_by_uuid(text: str, found: Sequence[FileSystem]) -> tuple[str, list[str]]:
    """Return initramfs-tools' RESUME= by UUID, or RESUME=none where its swap is not on these disks."""
    changes: list[str] = []

    def replace(match: re.Match[str]) -> str:
        device = match.group(2)
        meant = resolve(device, found)
        if not is_tied(device) or (meant is None and not found):
            return match.group(0)
        new = f"UUID={meant.uuid}" if meant and meant.uuid else "none"
        changes.append(f"initramfs: RESUME={new} instead of {device}")
        return f"{match.group(1)}{new}"

    return _RESUME.sub(replace, text), changes


def _with_nofail(rest: str) -> str:
    """Add `nofail` to the options that follow the type; `rest` begins with the blanks before them."""
    match = re.match(r"^(\s+)(\S+)(.*)$", rest, re.DOTALL)
    if not match or rest.strip() == "":
        ending = "\n" if rest.endswith("\n") else ""
        return f" nofail{ending}"
    options = match.group(2).split(",")
    if "nofail" in options:
        return rest
    return f"{match.group(1)}{','.join([*options, 'nofail'])}{match.group(3)}"
