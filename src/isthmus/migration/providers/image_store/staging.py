"""Images on their way out of a place.

They are carried whole to the worker's staging directory, compared with what the place says of them, and gone when the
reading is closed. Their room is taken before the first byte comes: what others find free is free.
"""

import errno
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import IO

from isthmus.control.errors import InvalidInput, StepFailed
from isthmus.migration.providers.image_store.contract import Store, Stored
from isthmus.migration.providers.image_store.describing import Described
from isthmus.migration.reporting import Level, Progress, Report

_PART = ".part"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DONE = ".complete"
_SPARE = 64 << 20
"""Bytes that stay free for others."""


def check_space(staging: Path, described: Described) -> None:
    """Raise `InvalidInput` if the machine's images do not fit in what is free."""
    needed = sum(each.size for each in described.objects)
    free = shutil.disk_usage(_existing(staging)).free - _SPARE
    if needed > free:
        raise _no_room(described, free)


def _no_room(described: Described, free: int) -> InvalidInput:
    needed = sum(each.size for each in described.objects)
    return InvalidInput(
        f"the images of {described.machine.name} have {needed} bytes, and the worker's staging directory has "
        f"{max(0, free)} free: make room there, or have the operator set staging_dir in [worker]"
    )


def staged(root: Path) -> Path | None:
    """Return the file by which a machine that is whole in `root` is found; None if none is."""
    try:
        return root / (root / _DONE).read_text()
    except OSError:
        return None


def stage(store: Store, described: Described, root: Path, report: Report) -> Path:
    """Carry the machine's objects into `root`; return the file that it is found by."""
    files = [_file_of(store, stored, root) for stored in described.objects]
    missing = [(stored, file) for stored, file in zip(described.objects, files, strict=True) if not file.exists()]
    for _, file in missing:
        _part_of(file).unlink(missing_ok=True)  # a worker that died was at it
    check_space(root, replace(described, objects=tuple(stored for stored, _ in missing)))
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stored, file in missing:
        _take_room(described, root, file, stored.size)
    for stored, file in missing:
        _carry(store, stored, file, report)
    first = described.objects[0].file
    part = root / (_DONE + _PART)
    part.write_text(first)
    part.replace(root / _DONE)
    report.event(
        Level.INFO, f"{described.machine.name} is staged: {sum(each.size for each in described.objects)} bytes"
    )
    return root / first


def unstage(root: Path) -> None:
    """Remove what was staged. Already done: nothing is."""
    shutil.rmtree(root, ignore_errors=True)


def fetch(store: Store, stored: Stored, file: Path, report: Report) -> None:
    """Carry one object into a file, which appears whole. Raises `StepFailed` if it is not what the place says."""
    _part_of(file).unlink(missing_ok=True)
    _carry(store, stored, file, report)


def _carry(store: Store, stored: Stored, file: Path, report: Report) -> None:
    """As `fetch`, into a part that reads as zeros, or into a new one."""
    part = _part_of(file)
    digest = hashlib.new(stored.algorithm, usedforsecurity=False) if stored.algorithm else None
    done = 0
    try:
        with part.open("r+b" if part.exists() else "wb") as target:
            for piece in store.pieces(stored.key):
                report.check()
                done += len(piece)
                if done > stored.size:
                    break
                if digest:
                    digest.update(piece)
                _write(target, piece)
                report.progress(Progress(f"stage {stored.key}", done, stored.size))
            target.truncate(done)
            target.flush()
            os.fsync(target.fileno())
        if done != stored.size or (digest and digest.hexdigest() != stored.digest):
            raise StepFailed(
                f"{stored.key} did not come whole from {store.label}, or was replaced meanwhile; try again"
            )
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _file_of(store: Store, stored: Stored, root: Path) -> Path:
    file = root / stored.file
    # Names come from a tenant's place.
    if file.parent not in (root, root / Path(stored.file).parts[0]) or ".." in Path(stored.file).parts:
        raise StepFailed(f"object {stored.key!r} of {store.label} has a name that no file can have: rename it")
    return file


def _part_of(file: Path) -> Path:
    return file.with_name(file.name + _PART)


def _take_room(described: Described, root: Path, file: Path, size: int) -> None:
    """Have the file system set a file's room aside; if it cannot, all that is staged gives its own back."""
    file.parent.mkdir(exist_ok=True)
    with _part_of(file).open("xb") as part:
        try:
            os.posix_fallocate(part.fileno(), 0, max(1, size))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            unstage(root)
            raise _no_room(described, shutil.disk_usage(root.parent).free) from error


def _write(target: IO[bytes], piece: bytes) -> None:
    """Write a piece, zeros as a hole."""
    if piece.count(0) == len(piece):
        target.seek(len(piece), os.SEEK_CUR)
    else:
        target.write(piece)


def _existing(place: Path) -> Path:
    return next(each for each in (place, *place.parents) if each.exists())
