"""What is to be read of a source: block status asked for in steps, while the copy runs."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from isthmus.control.errors import IsthmusError, StepFailed
from isthmus.migration.disks.connection import Done, Export
from isthmus.migration.disks.extents import Range, ranges, settled_end
from isthmus.migration.disks.job import CopyJob, Reads
from isthmus.migration.disks.near import NearSource

ALLOCATION = "base:allocation"
# One question's reach. Servers cut long answers (QEMU at 2^17 extents), so memory is bounded on both ends.
_STEP = 1 << 30

RangesDone = Callable[[int, list[Range]], None]


class Origin(Protocol):
    """Where a copy reads from: what of a disk there is to read, and its bytes. Nothing blocks."""

    def ranges_from(self, offset: int, done: RangesDone) -> None:
        """Ask what is at `offset`; `done` gets the position reached and the ranges up to there."""

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        """Fill `into`; `done` gets 0 or an errno."""

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for a command that failed."""


class Source:
    """The source of one disk: its ranges from the start to the end, and their bytes."""

    def __init__(self, export: Export, job: CopyJob, near: NearSource | None = None) -> None:
        self._export = export
        self._bytes = near or export
        self._size = job.size_bytes
        self._allocation = export.offers(ALLOCATION)
        self._dirty = job.dirty_context if job.reads is Reads.DIRTY else None
        if job.reads is Reads.DIRTY and not (self._dirty and export.offers(self._dirty)):
            raise StepFailed(
                f"the source of disk {job.disk_id} does not offer the dirty map {self._dirty}; "
                "run an execution that reads the whole disk"
            )

    def ranges_from(self, offset: int, done: RangesDone) -> None:
        """Ask what is at `offset`; `done` gets the position reached and the ranges up to there."""
        end = min(self._size, offset + _STEP)
        if not self._allocation and self._dirty is None:
            self._export.later(partial(done, end, [Range(offset, end - offset, zero=False)]))
            return
        self._export.status(offset, end - offset, partial(self._answered, offset, end, done))

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        """Fill `into`."""
        self._bytes.read(offset, into, done)

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for a command that failed."""
        return self._export.failure(code, offset)

    def _answered(
        self, offset: int, end: int, done: RangesDone, code: int, found: dict[str, list[tuple[int, int]]]
    ) -> None:
        if code:
            raise self._export.failure(code, offset)
        wanted = ([ALLOCATION] if self._allocation else []) + ([self._dirty] if self._dirty else [])
        if any(not found.get(context) for context in wanted):
            raise StepFailed(f"{self._export.name} answers no block status at offset {offset}; check its NBD server")
        reached = settled_end(offset, end, *(found[context] for context in wanted))
        allocation = found[ALLOCATION] if self._allocation else None
        dirty = found[self._dirty] if self._dirty else None
        done(reached, ranges(offset, reached, allocation, dirty))
