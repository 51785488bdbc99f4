"""Images on their way out of a place.

They are carried whole to the worker's staging directory, compared with what the place says of them, and gone when the
reading is closed.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import IO

from isthmus.control.errors import InvalidInput, StepFailed
from isthmus.migration.providers.image_store.contract import Store, Stored
from isthmus.migration.providers.image_store.describing import Described
from isthmus.migration.reporting import Level, Progress, Report

_PART = ".part"
_DONE = ".complete"
_SPARE = 64 << 20
"""Bytes that stay free for others."""


def check_space(staging: Path, described: Described) -> None:
    """Raise `InvalidInput` if the machine's images do not fit in what is free."""
    needed = sum(each.size for each in described.objects)
    free = shutil.disk_usage(_existing(staging)).free - _SPARE
    if needed > free:
        raise InvalidInput(
            f"the images of {described.machine.name} have {needed} bytes, and the worker's staging directory has "
            f"{free} free: make room there, or have the operator set staging_dir in [worker]"
        )


def staged(root: Path) -> Path | None:
    """Return the file by which a machine that is whole in `root` is found; None if none is."""
    try:
        return root / (root / _DONE).read_text()
    except OSError:
        return None


def stage(store: Store, described: Described, root: Path, report: Report) -> Path:
    """Carry the machine's objects into `root`; return the file that it is found by."""
    check_space(root, described)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stored in described.objects:
        _fetch(store, stored, root, report)
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
    part = file.with_name(file.name + _PART)
    digest = hashlib.new(stored.algorithm, usedforsecurity=False) if stored.algorithm else None
    done = 0
    try:
        with part.open("wb") as target:
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


def _fetch(store: Store, stored: Stored, root: Path, report: Report) -> None:
    file = root / stored.file
    # Names come from a tenant's place.
    if file.parent not in (root, root / Path(stored.file).parts[0]) or ".." in Path(stored.file).parts:
        raise StepFailed(f"object {stored.key!r} of {store.label} has a name that no file can have: rename it")
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        fetch(store, stored, file, report)


def _write(target: IO[bytes], piece: bytes) -> None:
    """Write a piece, zeros as a hole."""
    if piece.count(0) == len(piece):
        target.seek(len(piece), os.SEEK_CUR)
    else:
        target.write(piece)


def _existing(place: Path) -> Path:
    return next(each for each in (place, *place.parents) if each.exists())
