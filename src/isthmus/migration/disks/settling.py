"""The second half of a chunk's way: flush, read back, compare, record as done.

Writes are collected in batches. Once a batch is flushed its chunks are read back and compared, and only then recorded.
While one batch is flushed or read back the next is being written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from isthmus.control.errors import StepFailed
from isthmus.migration.disks.extents import CHUNK, Range, chunks_in
from isthmus.migration.disks.job import CopyJob
from isthmus.migration.disks.state import StateFile
from isthmus.migration.disks.target import SLOT, Hashes, Target

BATCH = 24 << 20
_BATCH_ENTRIES = 4096

T = TypeVar("T")


@dataclass
class Tally:
    """What a pass has done so far, bytes."""

    read: int = 0
    sent: int = 0
    zeroed: int = 0
    skipped: int = 0
    resumed: int = 0
    verified: int = 0


@dataclass(frozen=True)
class Written:
    """Chunks that were written and not yet flushed; without hashes they were zeroed."""

    offset: int
    length: int
    hashes: Hashes


class Settlement:
    """What was written and is not recorded yet. `settled` is told the bytes of data that became done."""

    def __init__(
        self, job: CopyJob, *, target: Target, state: StateFile, tally: Tally, settled: Callable[[int], None]
    ) -> None:
        self._job = job
        self._target = target
        self._state = state
        self._tally = tally
        self._settled = settled
        self.unsettled = 0
        self._batch: list[Written] = []
        self._batch_bytes = 0
        self._flushing = False
        self._verifying = 0
        self._damaged: list[Range] = []
        self._rewritten: set[int] = set()

    def add(self, part: Written) -> None:
        """The destination has taken this; its bytes of data were added to `unsettled` when they were sent."""
        self._batch.append(part)
        if part.hashes:
            self._batch_bytes += part.length

    def is_empty(self) -> bool:
        """Whether all is recorded."""
        return not (self._batch or self._flushing or self._verifying or self._damaged)

    def is_crowded(self) -> bool:
        """Whether so many small parts wait that a flush should come first."""
        return len(self._batch) > _BATCH_ENTRIES

    def take_damaged(self) -> Iterator[Range]:
        """What is to be read and written once more."""
        while self._damaged:
            yield self._damaged.pop()

    def flush_if_due(self, *, stalled: bool) -> None:
        """Flush a batch that is large enough, or any when nothing else is under way. One flush at a time."""
        if self._flushing or not self._batch:
            return
        if self._batch_bytes >= BATCH or len(self._batch) >= _BATCH_ENTRIES or stalled:
            self._flushing = True
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._target.flush(partial(self._have_flushed, batch))

    def _have_flushed(self, batch: list[Written], code: int) -> None:
        if code:
            raise self._target.failure(code, batch[0].offset)
        self._flushing = False
        for part in batch:
            if not part.hashes:
                self._settle(part)
        data = sorted((part for part in batch if part.hashes), key=lambda part: part.offset)
        for part in joined(data, SLOT):
            if self._job.verify:
                self._verifying += 1
                self._target.read_back(part.offset, part.length, part.hashes, partial(self._have_verified, part))
            else:
                self._settle(part)

    def _have_verified(self, part: Written, code: int, found: Hashes) -> None:
        if code:
            raise self._target.failure(code, part.offset)
        self._verifying -= 1
        same = [wanted == there for wanted, there in zip(part.hashes, found, strict=True)]
        for first, last, good in runs(same):
            offset = part.offset + first * CHUNK
            length = min(part.offset + part.length, part.offset + last * CHUNK) - offset
            if good:
                self._tally.verified += length
                self._settle(Written(offset, length, part.hashes[first:last]))
            else:
                self._write_again(offset, length)

    def _write_again(self, offset: int, length: int) -> None:
        """Once: a damaged packet happens, a destination that does not keep what it is given must not go unnoticed."""
        chunks = set(range(offset // CHUNK, offset // CHUNK + chunks_in(length)))
        if twice := chunks & self._rewritten:
            raise StepFailed(
                f"disk {self._job.disk_id} at offset {min(twice) * CHUNK}: the destination does not hold what was "
                "written, also after writing again; check the destination's storage"
            )
        self._rewritten |= chunks
        self.unsettled -= length
        self._state.withdraw(offset, length)
        self._damaged.append(Range(offset, length, zero=False))

    def _settle(self, part: Written) -> None:
        if part.hashes:
            self.unsettled -= part.length
            self._settled(part.length)
            records = b"".join(map(self._state.data_record, part.hashes))
        else:
            records = self._state.zero_record() * chunks_in(part.length)
        self._state.settle(part.offset, part.length, records)


def runs(values: Sequence[T]) -> list[tuple[int, int, T]]:
    """Equal neighbours as (first index, index after the last, value)."""
    found: list[tuple[int, int, T]] = []
    for index, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], index + 1, value)
        else:
            found.append((index, index + 1, value))
    return found


def joined(parts: Sequence[Written], limit: int) -> list[Written]:
    """Neighbours made one, up to `limit` bytes; `parts` are sorted."""
    found: list[Written] = []
    for part in parts:
        last = found[-1] if found else None
        if last and last.offset + last.length == part.offset and last.length + part.length <= limit:
            found[-1] = Written(last.offset, last.length + part.length, [*last.hashes, *part.hashes])
        else:
            found.append(part)
    return found
