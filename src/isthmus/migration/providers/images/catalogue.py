"""The machines of a directory: OVF packages, OVA archives, and single images that belong to no package."""

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from isthmus.control.errors import Conflict, InvalidInput, IsthmusError, NotFound, Unavailable
from isthmus.migration import patterns
from isthmus.migration.machine import Disk, Firmware, Machine, PowerState, StorageBackend
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.images import inspection
from isthmus.migration.providers.images.formats import ENDINGS, ImageFile, ImageFormat, open_image
from isthmus.migration.providers.images.ovf import Description
from isthmus.migration.providers.images.packages import Package, open_package

STORAGE = "images"
_MOST_FILES = 10_000
PART_OF_VMDK = re.compile(r"-(?:flat|s\d{3}|f\d{3}|delta)\.vmdk$")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A machine in the directory with its images, in the order of its disks; `package` is None for a single image."""

    machine: Machine
    images: tuple[ImageFile, ...] = ()
    package: Package | None = None


def check_root(root: Path) -> None:
    """Raise `Unavailable` if the directory is not there: it may be a mount that is missing."""
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise Unavailable(f"directory {root} cannot be read ({error.strerror}): mount it, or correct path") from error


def list_machines(root: Path, pattern: str | None) -> list[Machine]:
    """Return all machines, without disks and NICs. What cannot be read is left out here, and told by `find`."""
    wanted = patterns.names(pattern)
    machines = []
    for path in _candidates(root):
        try:
            machine = _look(root, path).machine
        except IsthmusError as error:
            log.warning("%s is left out of the list: %s", path, error.message)
            continue
        if wanted.is_in(machine.name):
            machines.append(replace(machine, disks=(), nics=()))
    return sorted(machines, key=lambda machine: machine.id)


def find(root: Path, instance: str) -> Found:
    """Return a machine by id (its descriptor's or image's path in the directory) or name, with its images' sizes.

    Raises `NotFound`, `Conflict` if several have that name, `StepFailed` for what cannot be read.
    """
    check_root(root)
    candidates = list(_candidates(root))
    chosen = [path for path in candidates if str(path.relative_to(root)) == instance]
    if not chosen:
        chosen = [path for path in candidates if _name_of(root, path) == instance]
    if not chosen:
        raise NotFound(f"there is no machine {instance!r} in {root}; list the endpoint's instances")
    if len(chosen) > 1:
        raise ambiguous(str(root), instance, ", ".join(str(path.relative_to(root)) for path in chosen))
    found = _look(root, chosen[0])
    disks = tuple(
        replace(disk, size_bytes=inspection.virtual_size(image))
        for disk, image in zip(found.machine.disks, found.images, strict=True)
    )
    return replace(found, machine=replace(found.machine, disks=disks))


def ambiguous(place: str, instance: str, ids: str) -> Conflict:
    """Return the error for a name that several machines have."""
    return Conflict(f"several machines in {place} are named {instance!r}: choose one by its id ({ids})")


def storage(root: Path) -> StorageBackend:
    """Return the directory as a place for disks."""
    check_root(root)
    return StorageBackend(STORAGE, STORAGE, shutil.disk_usage(root).free)


def with_wishes(machine: Machine, environment: Environment) -> Machine:
    """Return the machine with what the source environment says: an image alone does not tell its processors."""
    return replace(
        machine,
        num_cpu=int(environment.get("num_cpu") or machine.num_cpu),
        memory_mb=int(environment.get("memory_mb") or machine.memory_mb),
        firmware=Firmware(environment.get("firmware") or machine.firmware),
        os_type=str(environment.get("os_type") or machine.os_type),
    )


def _name_of(root: Path, path: Path) -> str | None:
    try:
        return _look(root, path).machine.name
    except IsthmusError:
        # A package that cannot be read is still found by its file's name, so that its fault can be told.
        return path.stem


def _candidates(root: Path) -> Iterator[Path]:
    """Yield the descriptors, archives and lone images of the directory and of the directories in it."""
    check_root(root)
    seen = 0
    for directory in (root, *sorted(each for each in root.iterdir() if each.is_dir() and not each.is_symlink())):
        if directory.name.startswith(".") and directory != root:
            continue
        files = [each for each in sorted(directory.iterdir()) if each.is_file() and not each.is_symlink()]
        seen += len(files)
        if seen > _MOST_FILES:
            raise InvalidInput(f"{root} holds more than {_MOST_FILES} files: give the machines' own directory as path")
        packages = [each for each in files if each.suffix.lower() in (".ova", ".ovf") and each.name[0] != "."]
        yield from packages
        taken = {name for each in packages if each.suffix.lower() == ".ovf" for name in _images_of(each)}
        for file in files:
            is_image = file.suffix.lower() in ENDINGS and not PART_OF_VMDK.search(file.name)
            if is_image and file.name not in taken and file.name[0] != ".":
                yield file


def _images_of(descriptor: Path) -> list[str]:
    try:
        return [disk.file for disk in open_package(descriptor).description.disks]
    except IsthmusError:
        return []


def _look(root: Path, path: Path) -> Found:
    """Return what a file describes; the disks' sizes are not asked yet."""
    identity = str(path.relative_to(root))
    if path.suffix.lower() in (".ova", ".ovf"):
        return _packaged(identity, open_package(path))
    image = open_image(path, ENDINGS[path.suffix.lower()])
    disk = disk_of("disk1", image.format, "", 0, _taken([image]))
    return Found(replace(lone_machine(identity, path.stem), disks=(disk,)), (image,))


def lone_machine(identity: str, name: str) -> Machine:
    """Return the machine that an image alone is, without its disk."""
    return Machine(identity, name, 1, 1024, Firmware.BIOS, PowerState.OFF)


def disk_of(disk_id: str, image_format: ImageFormat, bus: str, size: int, taken: int) -> Disk:
    """Return a disk by its image; `size` and `taken` in bytes."""
    return Disk(disk_id, size, image_format.value, STORAGE, bus, can_track_changes=False, allocated_bytes=taken)


def packaged_machine(identity: str, facts: Description, disks: Sequence[Disk]) -> Machine:
    """Return the machine that a descriptor describes, with these disks."""
    return Machine(
        id=identity,
        name=facts.name,
        num_cpu=facts.num_cpu,
        memory_mb=facts.memory_mb,
        firmware=facts.firmware,
        power_state=PowerState.OFF,
        os_type=facts.os_type,
        secure_boot=facts.secure_boot,
        description=facts.description,
        disks=tuple(disks),
        nics=facts.nics,
    )


def _packaged(identity: str, package: Package) -> Found:
    facts = package.description
    images = tuple(package.image(disk) for disk in facts.disks)
    disks = [
        disk_of(disk.id, image.format, disk.bus, 0, _taken([image]))
        for disk, image in zip(facts.disks, images, strict=True)
    ]
    return Found(packaged_machine(identity, facts, disks), images, package)


def _taken(images: Sequence[ImageFile]) -> int:
    return sum(
        image.length if image.offset else sum(each.stat().st_blocks * 512 for each in (image.path, *image.extents))
        for image in images
    )
