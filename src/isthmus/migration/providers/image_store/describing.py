"""The machines of a place of images: which objects are one, and what it is, by the few bytes that say so."""

import logging
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from isthmus.control.errors import NotFound, StepFailed
from isthmus.migration.machine import Disk, Machine
from isthmus.migration.providers.image_store.contract import Store, Stored
from isthmus.migration.providers.image_store.ranges import opened
from isthmus.migration.providers.images import catalogue, ovf, packages
from isthmus.migration.providers.images.formats import ENDINGS
from isthmus.migration.providers.images.headers import claimed_size
from isthmus.migration.providers.images.inspection import LARGEST_DISK

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Described:
    """A machine, and the objects that must be staged for it; the first of them is the one that it is found by."""

    machine: Machine
    objects: tuple[Stored, ...]


class Shelf:
    """What a place holds, as listed once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._objects: Mapping[str, Stored] = {each.key: each for each in store.listing()}
        described = {_directory(key) for key in self._objects if _ending(key) == ".ovf"}
        self._candidates = [each for each in self._objects.values() if _can_be_one(each, described)]

    def machines(self) -> list[Machine]:
        """Return all machines ordered by id, without disks; what cannot be read is left out, and told by `find`."""
        found = []
        for stored in self._candidates:
            try:
                found.append(replace(self._look(stored), nics=()))
            except StepFailed as error:
                log.warning("%s is left out of the list: %s", stored.key, error.message)
        return found

    def find(self, instance: str) -> Described:
        """Return a machine by id or name, whole. Raises `NotFound`, `Conflict`, `StepFailed` if it cannot be read."""
        stored = self._choose(instance)
        machine, objects = self._look(stored), [stored]
        try:
            with opened(self._store, stored) as file:
                if _ending(stored.file) == ".ova":
                    disks = _disks_inside(file, stored)
                elif _ending(stored.file) == ".ovf":
                    disks, beside = self._disks_beside(file, stored)
                    objects += beside
                else:
                    image_format = ENDINGS[_ending(stored.file)]
                    size = claimed_size(image_format, file, 0, stored.size)
                    disks = [catalogue.disk_of("disk1", image_format, "", size, stored.size)]
        except ValueError as error:
            raise _not_sound(stored, error) from error
        for disk in disks:
            if not 0 < disk.size_bytes <= LARGEST_DISK:
                raise StepFailed(
                    f"disk {disk.id} of {stored.key} would have {disk.size_bytes} bytes: get the image again"
                )
        return Described(replace(machine, disks=tuple(disks)), tuple(objects))

    def _choose(self, instance: str) -> Stored:
        named = [each for each in self._candidates if each.key == instance]
        named = named or [each for each in self._candidates if self._name(each) == instance]
        if not named:
            raise NotFound(f"there is no machine {instance!r} in {self._store.label}; list the endpoint's instances")
        if len(named) > 1:
            raise catalogue.ambiguous(self._store.label, instance, ", ".join(each.key for each in named))
        return named[0]

    def _name(self, stored: Stored) -> str:
        try:
            return self._look(stored).name
        except StepFailed:
            # What cannot be read is still found by its object's name, so that its fault can be told.
            return PurePosixPath(stored.file).stem

    def _look(self, stored: Stored) -> Machine:
        """Return the machine as its descriptor has it, without disks."""
        if _ending(stored.file) in ENDINGS:
            return _lone(stored)
        try:
            with opened(self._store, stored) as file:
                facts, _ = _inside(file, stored) if _ending(stored.file) == ".ova" else (_parse(file, stored), None)
        except ValueError as error:
            raise _not_sound(stored, error) from error
        machine = catalogue.packaged_machine(stored.key, facts, ())
        return replace(machine, name=stored.facts.name) if stored.facts else machine

    def _disks_beside(self, file: IO[bytes], stored: Stored) -> tuple[list[Disk], list[Stored]]:
        """Return the disks of a descriptor, and the objects beside it that belong to it."""
        objects, disks = [], []
        for disk in _parse(file, stored).disks:
            image = self._beside(stored, disk.file)
            if image is None:
                raise ValueError(f"it names image {disk.file}, which is not beside it")
            with opened(self._store, image) as reading:
                disks.append(_disk(disk, reading, 0, image.size))
            objects.append(image)
        manifest = self._beside(stored, packages.manifest_of(PurePosixPath(stored.key).name))
        return disks, [*objects, *([manifest] if manifest else [])]

    def _beside(self, stored: Stored, name: str) -> Stored | None:
        return self._objects.get(str(PurePosixPath(stored.key).with_name(name)))


def _lone(stored: Stored) -> Machine:
    facts = stored.facts
    machine = catalogue.lone_machine(stored.key, facts.name if facts else PurePosixPath(stored.file).stem)
    if facts is None:
        return machine
    return replace(
        machine,
        memory_mb=facts.memory_mb or machine.memory_mb,
        firmware=facts.firmware or machine.firmware,
        os_type=facts.os_type or machine.os_type,
    )


def _disks_inside(file: IO[bytes], stored: Stored) -> list[Disk]:
    facts, members = _inside(file, stored)
    missing = [disk.file for disk in facts.disks if disk.file not in members]
    if missing:
        raise ValueError(f"it names image {missing[0]}, which is not in it")
    return [_disk(disk, file, members[disk.file].offset, members[disk.file].length) for disk in facts.disks]


def _inside(file: IO[bytes], stored: Stored) -> tuple[ovf.Description, Mapping[str, packages.Member]]:
    """Return what an archive's descriptor says, and where its files lie. Raises `ValueError`, `StepFailed`."""
    try:
        members = dict(packages.read_archive(file, Path(stored.file)))
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(str(error)) from error
    descriptors = [name for name in members if _ending(name) == ".ovf"]
    if len(descriptors) != 1:
        raise ValueError(f"it holds {len(descriptors)} OVF descriptors, and must hold one")
    member = members[descriptors[0]]
    return ovf.parse(_part(file, member.offset, member.length), stored.key), members


def _parse(file: IO[bytes], stored: Stored) -> ovf.Description:
    return ovf.parse(_part(file, 0, stored.size), stored.key)


def _part(file: IO[bytes], offset: int, length: int) -> bytes:
    if length > ovf.LARGEST_DESCRIPTOR:
        raise ValueError("its descriptor is larger than 4 MiB")
    file.seek(offset)
    return file.read(length)


def _disk(disk: ovf.OvfDisk, file: IO[bytes], offset: int, length: int) -> Disk:
    image_format = packages.format_of(disk)
    size = claimed_size(image_format, file, offset, length)
    return catalogue.disk_of(disk.id, image_format, disk.bus, size, length)


def _not_sound(stored: Stored, why: Exception) -> StepFailed:
    return StepFailed(f"{stored.key} is not what its name says ({why}): get it again")


def _directory(key: str) -> str:
    return str(PurePosixPath(key).parent)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _can_be_one(stored: Stored, described: Collection[str]) -> bool:
    """Tell whether an object is a machine: an image beside a descriptor belongs to that."""
    name = PurePosixPath(stored.file).name
    is_image = _ending(name) in ENDINGS and not catalogue.PART_OF_VMDK.search(name)
    is_alone = _directory(stored.key) not in described
    is_hidden = any(part.startswith(".") for part in PurePosixPath(stored.file).parts)
    return not is_hidden and ((is_image and is_alone) or _ending(name) in (".ova", ".ovf"))
