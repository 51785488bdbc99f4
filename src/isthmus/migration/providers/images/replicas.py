"""The destination's disks before they belong to a machine: images in the hidden directory `.isthmus` of the path.

They lie on the file system of the machines' directories, so that a machine is made of them by links and one rename.
Their names are made of the caller's ids. What is being made has another name until it is whole.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.control.errors import InvalidInput, NotFound, StepFailed, Unavailable
from isthmus.migration.machine import DestinationDisk, DiskMapping, Machine
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.images.catalogue import STORAGE
from isthmus.migration.providers.images.formats import ImageFile, ImageFormat, open_image
from isthmus.migration.providers.images.inspection import virtual_size
from isthmus.migration.reporting import Progress, Report

HIDDEN = ".isthmus"
_PART = ".part"
_TOOL_SECONDS = 3600
_UNIT = 1 << 20
_OPTIONS = {
    ImageFormat.QCOW2: ("-o", "lazy_refcounts=off,compat=1.1"),
    ImageFormat.VMDK: ("-o", "subformat=monolithicSparse"),
    ImageFormat.VHD: ("-o", "subformat=dynamic,force_size=on"),
    ImageFormat.VHDX: ("-o", "subformat=dynamic"),
}
_GROWING = (ImageFormat.RAW, ImageFormat.QCOW2)


@dataclass(frozen=True)
class Replicas:
    """The images of one destination directory."""

    root: Path

    @property
    def hidden(self) -> Path:
        """Where they are; made if it is missing."""
        place = self.root / HIDDEN
        try:
            place.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self.root} cannot be written ({error.strerror}): mount it, or correct path") from error
        return place

    def check_space(
        self, transfer_id: str, machine: Machine, environment: Environment, disks: Sequence[DiskMapping]
    ) -> None:
        """Raise `InvalidInput` if the disks do not fit in what is free; what this transfer already has counts."""
        image_format = ImageFormat(environment.get("disk_format") or ImageFormat.QCOW2)
        needed = 0
        for mapping in disks:
            _check_storage(mapping)
            whole = mapping.disk.size_bytes
            if environment.get("allow_overcommit") and mapping.disk.allocated_bytes is not None:
                whole = mapping.disk.allocated_bytes
            # The instance may have been given by id or by name.
            names = {_replica(transfer_id, each, mapping.disk.id, image_format) for each in (machine.name, machine.id)}
            files = [self.root / HIDDEN / name for name in names]
            needed += max(0, whole - sum(file.stat().st_blocks * 512 for file in files if file.exists()))
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise InvalidInput(
                f"{self.root} has {free} bytes free and the disks of {machine.name} need {needed}: make room, or set "
                "allow_overcommit"
            )

    def ensure_disks(
        self, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
    ) -> list[DestinationDisk]:
        """Make or grow the replica's images; those that this call made are gone again if it fails."""
        image_format = ImageFormat(environment.get("disk_format") or ImageFormat.QCOW2)
        made: list[Path] = []
        found = []
        try:
            for mapping in disks:
                _check_storage(mapping)
                file = self.hidden / _replica(transfer_id, instance, mapping.disk.id, image_format)
                is_new = not file.exists()
                if is_new:
                    _create(file, image_format, mapping.disk.size_bytes)
                    made.append(file)
                elif virtual_size(open_image(file, image_format)) < mapping.disk.size_bytes:
                    _grow(file, image_format, mapping.disk.size_bytes)
                found.append(self._disk(mapping.disk.id, file, image_format, is_zero=is_new))
        except BaseException:
            for file in made:
                file.unlink(missing_ok=True)
            raise
        return found

    def delete(self, disks: Sequence[DestinationDisk]) -> None:
        """Delete images. Already done: they are gone."""
        for disk in disks:
            self.path(disk).unlink(missing_ok=True)

    def path(self, disk: DestinationDisk) -> Path:
        """Return a disk's file. Raises `InvalidInput` for a name that is none of ours."""
        directory, _, name = disk.volume_id.rpartition("/")
        if directory != HIDDEN or name in ("", ".", "..") or "\0" in name:
            raise InvalidInput(f"{disk.volume_id!r} is not an image of ours; execute the transfer again")
        return self.root / HIDDEN / name

    def image(self, disk: DestinationDisk) -> ImageFile:
        """Return a disk's image. Raises `NotFound`."""
        file = self.path(disk)
        if not file.exists():
            raise NotFound(f"image {disk.volume_id} is not in {self.root}; execute the transfer again")
        return open_image(file, ImageFormat(disk.format))

    def clone(
        self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
    ) -> list[DestinationDisk]:
        """Copy the replica's images. Already done: a whole copy has its name."""
        clones = []
        for disk in disks:
            file = self.hidden / _clone(deployment_id, instance, disk)
            if not file.exists():
                _copy(self.image(disk).path, file, report)
            clones.append(self._disk(disk.disk_id, file, ImageFormat(disk.format), is_zero=False))
        return clones

    def delete_clones(self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete a deployment's copies, whole or not."""
        for disk in disks:
            for name in (_clone(deployment_id, instance, disk), _clone(deployment_id, instance, disk) + _PART):
                (self.hidden / name).unlink(missing_ok=True)

    def keep(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Keep the images' content beside them. Already done: it is kept."""
        for disk in disks:
            file = self.hidden / _kept(deployment_id, disk)
            if not file.exists():
                _copy(self.image(disk).path, file)

    def restore(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Put the kept content in the images' place."""
        for disk in disks:
            kept = self.hidden / _kept(deployment_id, disk)
            if not kept.exists():
                raise StepFailed(f"nothing is kept of {disk.volume_id}: execute the transfer again")
            _copy(kept, self.path(disk))

    def forget(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete the kept content."""
        for disk in disks:
            for name in (_kept(deployment_id, disk), _kept(deployment_id, disk) + _PART):
                (self.hidden / name).unlink(missing_ok=True)

    def _disk(self, disk_id: str, file: Path, image_format: ImageFormat, *, is_zero: bool) -> DestinationDisk:
        size = virtual_size(open_image(file, image_format))
        return DestinationDisk(disk_id, f"{HIDDEN}/{file.name}", size, image_format.value, STORAGE, is_zero)


def _check_storage(mapping: DiskMapping) -> None:
    if mapping.destination_storage != STORAGE:
        raise InvalidInput(f"storage {mapping.destination_storage!r} is not there; the only one is {STORAGE!r}")


def _digest(*parts: str) -> str:
    return hashlib.blake2s("\0".join(parts).encode(), digest_size=10).hexdigest()


def _replica(transfer_id: str, instance: str, disk_id: str, image_format: ImageFormat) -> str:
    return f"replica-{_digest(transfer_id, instance, disk_id)}.{image_format}"


def _clone(deployment_id: str, instance: str, disk: DestinationDisk) -> str:
    return f"clone-{_digest(deployment_id, instance, disk.disk_id)}.{disk.format}"


def _kept(deployment_id: str, disk: DestinationDisk) -> str:
    return f"kept-{_digest(deployment_id, disk.volume_id)}.{disk.format}"


@contextlib.contextmanager
def _appearing(file: Path) -> Iterator[Path]:
    """Yield the name under which a file is made; it gets its own when it is whole and on the disk."""
    part = file.with_name(file.name + _PART)
    part.unlink(missing_ok=True)
    try:
        yield part
        with part.open("rb") as made:
            os.fsync(made.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _create(file: Path, image_format: ImageFormat, size: int) -> None:
    whole = -(-size // _UNIT) * _UNIT if image_format is ImageFormat.VHDX else size
    with _appearing(file) as part:
        options = _OPTIONS.get(image_format, ())
        _run(["qemu-img", "create", "-q", "-f", image_format.driver, *options, str(part), str(whole)], file)


def _grow(file: Path, image_format: ImageFormat, size: int) -> None:
    if image_format in _GROWING:
        _run(["qemu-img", "resize", "-q", "-f", image_format.driver, str(file), str(size)], file)
        return
    # QEMU cannot resize the others: a larger one is made and filled.
    larger = file.with_name(f"larger-{file.name}")
    _create(larger, image_format, size)
    with _appearing(file) as part:
        larger.replace(part)
        driver = image_format.driver
        # -n: the target is there, and has the larger size.
        _run(["qemu-img", "convert", "-n", "-f", driver, "-O", driver, str(file), str(part)], file)


def _run(command: Sequence[str], file: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
    if done.returncode:
        raise StepFailed(f"{command[1]} of {file.name} failed: {done.stderr.strip()[-300:]}")


def _copy(source: Path, target: Path, report: Report | None = None) -> None:
    """Copy an image, holes as holes, or share its blocks where the file system can."""
    total = source.stat().st_size
    with _appearing(target) as part:
        process = subprocess.Popen(
            ["cp", "--sparse=always", "--reflink=auto", "--", str(source), str(part)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                while process.poll() is None:
                    if report:
                        report.check()
                        done = part.stat().st_blocks * 512 if part.exists() else 0
                        report.progress(Progress(f"copy of {source.name}", min(done, total), total))
                    time.sleep(0.1)
            except BaseException:
                process.kill()
                raise
            words = process.stderr.read() if process.stderr else ""
        if process.returncode:
            raise StepFailed(f"{source.name} cannot be copied: {words.strip()[-300:]}; make room and try again")
