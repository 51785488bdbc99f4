"""How the appliance's own kernel names the guest's disks, for what runs there beside libguestfs."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing.contract import FileSystem

_KERNEL_NAME = re.compile(r"/dev/[a-z0-9]+")


def kernel_names(call: Callable[..., Any], g: Any, file_systems: Sequence[FileSystem]) -> Mapping[str, str]:
    """Return the kernel's name of each file system's device. `call` runs a method of the libguestfs handle `g`.

    libguestfs counts disks as they were added and translates; the kernel names them as it finds them, so that
    `/dev/sda` can be the appliance's own disk. A disk's number is its SCSI target, which udev's paths tell. What was
    opened on top of disks (LVM, LUKS) has one name for both.

    Raises `StepFailed` if the kernel has not just one device for each.
    """
    on_disks = [each for each in file_systems if each.disk_index >= 0]
    asked = "".join(f"readlink -e {_path(each)} || echo none\n" for each in on_disks)
    answers = str(call(g.debug, "sh", [f"udevadm settle\n{asked}"])).split()
    if len(answers) != len(on_disks) or not all(map(_KERNEL_NAME.fullmatch, answers)):
        missing = ", ".join(each.device for each in on_disks)
        raise StepFailed(f"the libguestfs appliance does not tell the devices of {missing} ({answers}): try again")
    told = {each.device: answer for each, answer in zip(on_disks, answers, strict=True)}
    return {each.device: told.get(each.device, each.device) for each in file_systems}


def _path(file_system: FileSystem) -> str:
    part = f"-part{file_system.partition}" if file_system.partition else ""
    return f"/dev/disk/by-path/*-scsi-0:0:{file_system.disk_index}:0{part}"
