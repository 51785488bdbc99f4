"""Which file system of a machine's disks a device name of the source meant. Pure."""

import re
from collections.abc import Sequence

from isthmus.migration.morphing.contract import FileSystem

_KERNEL_NAME = re.compile(r"^/dev/(?:[shv]d|xvd)([a-z])(\d*)$")
_NUMBERED_NAME = re.compile(r"^/dev/(?:nvme(\d+)n1|mmcblk(\d+))(?:p(\d+))?$")
_BY_PLACE = re.compile(r"^/dev/disk/by-(?:path|id)/.*?(?:-part(\d+))?$")
_MAPPER_NAME = re.compile(r"^/dev/mapper/((?:[^-]|--)+)-((?:[^-]|--)+)$")
_BY_UUID = re.compile(r"^(?:UUID=|/dev/disk/by-uuid/)(.+)$")
_BY_LABEL = re.compile(r"^(?:LABEL=|/dev/disk/by-label/)(.+)$")


def is_tied(name: str) -> bool:
    """Return whether a device name depends on the source's bus or on the order of its disks."""
    return any(pattern.match(name) for pattern in (_KERNEL_NAME, _NUMBERED_NAME, _BY_PLACE))


def resolve(name: str, found: Sequence[FileSystem]) -> FileSystem | None:
    """Return the file system that `name` meant, None if it is none of these disks'.

    /dev/sdb1 is taken for the second disk's first partition: the request gives disks in the machine's order. A by-path
    or by-id name does not tell the disk; it is resolved only when one disk alone has a file system in that partition.
    """
    name = name.strip("\"'")
    for pattern, fact in ((_BY_UUID, "uuid"), (_BY_LABEL, "label")):
        if match := pattern.match(name):
            wanted = match.group(1).strip("\"'")
            # FAT serial numbers are written in either case.
            return _only([fs for fs in found if str(getattr(fs, fact)).lower() == wanted.lower()])
    if match := _KERNEL_NAME.match(name):
        return _at(found, ord(match.group(1)) - ord("a"), int(match.group(2) or 0))
    if match := _NUMBERED_NAME.match(name):
        return _at(found, int(match.group(1) or match.group(2)), int(match.group(3) or 0))
    if match := _BY_PLACE.match(name):
        return _only([fs for fs in found if fs.partition == int(match.group(1) or 0)])
    if match := _MAPPER_NAME.match(name):  # LVM doubles the hyphens inside the names of groups and volumes
        name = "/dev/{}/{}".format(*(part.replace("--", "-") for part in match.groups()))
    return _only([fs for fs in found if fs.device == name])


def _at(found: Sequence[FileSystem], disk_index: int, partition: int) -> FileSystem | None:
    return _only([fs for fs in found if (fs.disk_index, fs.partition) == (disk_index, partition)])


def _only(candidates: Sequence[FileSystem]) -> FileSystem | None:
    return candidates[0] if len(candidates) == 1 else None
