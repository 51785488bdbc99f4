"""The machines of a place of images: which objects are one, and what it is, by the few bytes that say so."""

import tarfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from isthmus.control.errors import NotFound, StepFailed
from isthmus.migration.machine import Disk, Firmware, Machine, PowerState
from isthmus.migration.providers.image_store.contract import Store, Stored
from isthmus.migration.providers.image_store.ranges import opened
from isthmus.migration.providers.images import catalogue, ovf, packages
from isthmus.migration.providers.images.formats import ENDINGS, ImageFormat
from isthmus.migration.providers.images.headers import claimed_size
from isthmus.migration.providers.images.inspection import LARGEST_DISK


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
        described = {str(PurePosixPath(key).parent) for key in self._objects if key.lower().endswith(".ovf")}
        self._machines = [each for each in self._objects.values() if _can_be_one(each, described)]

    def machines(self) -> list[Machine]:
        """Return all machines ordered by id, named by their objects, without disks and NICs: nothing is read for it."""
        return [Machine(each.key, _name(each), 1, 1024, Firmware.BIOS, PowerState.OFF) for each in self._machines]

    def find(self, instance: str) -> Described:
        """Return a machine by id or name, whole. Raises `NotFound`, `Conflict`, `StepFailed` if it cannot be read."""
        stored = self._choose(instance)
        ending = PurePosixPath(stored.file).suffix.lower()
        try:
            if ending == ".ova":
                found = self._archive(stored)
            elif ending == ".ovf":
                found = self._package(stored)
            else:
                found = self._lone(stored, ENDINGS[ending])
        except ValueError as error:
            raise StepFailed(f"{stored.key} is not what its name says ({error}): get it again") from error
        for disk in found.machine.disks:
            if not 0 < disk.size_bytes <= LARGEST_DISK:
                raise StepFailed(
                    f"disk {disk.id} of {stored.key} would have {disk.size_bytes} bytes: get the image again"
                )
        return found

    def _choose(self, instance: str) -> Stored:
        named = [each for each in self._machines if each.key == instance]
        named = named or [each for each in self._machines if _name(each) == instance]
        if not named:
            raise NotFound(f"there is no machine {instance!r} in {self._store.label}; list the endpoint's instances")
        if len(named) > 1:
            ids = ", ".join(each.key for each in named)
            raise catalogue.ambiguous(self._store.label, instance, ids)
        return named[0]

    def _lone(self, stored: Stored, image_format: ImageFormat) -> Described:
        with opened(self._store, stored) as file:
            size = claimed_size(image_format, file, 0, stored.size)
        disk = catalogue.disk_of("disk1", image_format, "", size, stored.size)
        machine = catalogue.lone_machine(stored.key, _name(stored), disk)
        if facts := stored.facts:
            machine = replace(
                machine,
                memory_mb=facts.memory_mb or machine.memory_mb,
                firmware=facts.firmware or machine.firmware,
                os_type=facts.os_type or machine.os_type,
            )
        return Described(machine, (stored,))

    def _archive(self, stored: Stored) -> Described:
        with opened(self._store, stored) as file:
            try:
                members = dict(packages.read_archive(file, Path(stored.file)))
            except (tarfile.TarError, EOFError) as error:
                raise ValueError(error) from error
            descriptors = [name for name in members if name.lower().endswith(".ovf")]
            if len(descriptors) != 1:
                raise ValueError(f"it holds {len(descriptors)} OVF descriptors, and must hold one")
            member = members[descriptors[0]]
            facts = ovf.parse(_part(file, member.offset, member.length), stored.key)
            disks = []
            for disk in facts.disks:
                if (image := members.get(disk.file)) is None:
                    raise ValueError(f"it names image {disk.file}, which is not there")
                size = claimed_size(packages.format_of(disk), file, image.offset, image.length)
                disks.append(_disk(disk, size, image.length))
        return Described(_packaged(stored, facts, disks), (stored,))

    def _package(self, stored: Stored) -> Described:
        with opened(self._store, stored) as file:
            facts = ovf.parse(_part(file, 0, stored.size), stored.key)
        beside = PurePosixPath(stored.key)
        objects, disks = [stored], []
        for disk in facts.disks:
            image = self._objects.get(str(beside.with_name(disk.file)))
            if image is None:
                raise StepFailed(f"{stored.key} names image {disk.file}, which is not beside it: get the package again")
            with opened(self._store, image) as file:
                size = claimed_size(packages.format_of(disk), file, 0, image.size)
            objects.append(image)
            disks.append(_disk(disk, size, image.size))
        if manifest := self._objects.get(str(beside.with_name(packages.manifest_of(beside.name)))):
            objects.append(manifest)
        return Described(_packaged(stored, facts, disks), tuple(objects))


def _packaged(stored: Stored, facts: ovf.Description, disks: Sequence[Disk]) -> Machine:
    machine = catalogue.packaged_machine(stored.key, facts, disks)
    return replace(machine, name=stored.facts.name) if stored.facts else machine


def _disk(disk: ovf.OvfDisk, size: int, taken: int) -> Disk:
    return catalogue.disk_of(disk.id, packages.format_of(disk), disk.bus, size, taken)


def _part(file: IO[bytes], offset: int, length: int) -> bytes:
    if length > ovf.LARGEST_DESCRIPTOR:
        raise ValueError("its descriptor is larger than 4 MiB")
    file.seek(offset)
    return file.read(length)


def _name(stored: Stored) -> str:
    return stored.facts.name if stored.facts else PurePosixPath(stored.file).stem


def _can_be_one(stored: Stored, described: Collection[str]) -> bool:
    """Tell whether an object is a machine: an image beside a descriptor belongs to that."""
    name = PurePosixPath(stored.file).name
    ending = PurePosixPath(name).suffix.lower()
    is_image = ending in ENDINGS and not catalogue.PART_OF_VMDK.search(name)
    is_image = is_image and str(PurePosixPath(stored.key).parent) not in described
    return name[0] != "." and (is_image or ending in (".ova", ".ovf"))
