"""Hash a disk where it lies, so that two far-apart disks can be compared without moving their data.

A disk is cut into stretches; the hash of a stretch is that of its chunks' hashes. What a server says is zero is not
read: it hashes like zeros that were read.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from blake3 import blake3

from isthmus.control.errors import InvalidInput
from isthmus.migration.disks.connection import Export, Wheel
from isthmus.migration.disks.extents import CHUNK, Range, chunks_in, pieces
from isthmus.migration.disks.job import CopyJob, Reads, Side
from isthmus.migration.disks.limiter import Limiter
from isthmus.migration.disks.progress import Meter
from isthmus.migration.disks.slots import make_slots
from isthmus.migration.disks.source import ALLOCATION, Source
from isthmus.migration.disks.state import digest
from isthmus.migration.disks.target import SLOT, hashes_of
from isthmus.migration.reporting import Report

MIB = 1 << 20
_SLOTS = 8
_HASH_BYTES = 16
_TURN_SECONDS = 0.5


@dataclass(frozen=True)
class HashJob:
    """One disk to hash: the first `size_bytes` of it, in stretches of `stretch_bytes` (a multiple of 1 MiB).

    `role` is "source" or "destination", for messages. With a `dirty_context` the stretches that it says have changed
    are told and not read. `skip` are the numbers of stretches that nobody wants to know.
    """

    disk_id: str
    side: Side
    size_bytes: int
    stretch_bytes: int
    role: str
    dirty_context: str | None = None
    skip: frozenset[int] = frozenset()


@dataclass(frozen=True)
class DiskHashes:
    """The hash of each stretch as hexadecimal text, empty for one that was not read; and those that have changed."""

    disk_id: str
    size_bytes: int
    stretch_bytes: int
    hashes: tuple[str, ...]
    changed: tuple[int, ...] = ()


def stretch_bytes(total_bytes: int, most: int) -> int:
    """Return the smallest stretch, a power of two of at least 1 MiB, that cuts so many bytes into at most `most`."""
    size = MIB
    while total_bytes > size * most:
        size *= 2
    return size


def hash_disk(job: HashJob, *, limiter: Limiter, connections: int, report: Report) -> DiskHashes:
    """Hash one disk in this thread. Raises as `copy.copy_disks` does; nothing is written."""
    wheel = Wheel(report.check)
    with ExitStack() as stack:
        contexts = [ALLOCATION, *([job.dirty_context] if job.dirty_context else [])]
        export = Export(wheel, job.side, disk_id=job.disk_id, role=job.role, contexts=contexts)
        stack.callback(export.close)
        export.open(max(1, connections), writes=False)
        if export.size < job.size_bytes:
            raise InvalidInput(
                f"disk {job.disk_id} has {export.size} bytes at the {job.role}, {job.size_bytes} were expected: "
                "execute the transfer again"
            )
        changed = _changed(job, export, wheel) if job.dirty_context else frozenset()
        hashes = _Hashing(job, export, wheel, job.skip | changed, limiter=limiter, report=report).run()
    return DiskHashes(job.disk_id, job.size_bytes, job.stretch_bytes, hashes, tuple(sorted(changed)))


def _reader(job: HashJob, export: Export, reads: Reads) -> Source:
    # The reader of a copy asks for what a copy wants to know; there is none here, so nothing of this is used but names.
    copy = CopyJob(
        disk_id=job.disk_id,
        source=job.side,
        destination=job.side,
        size_bytes=job.size_bytes,
        reads=reads,
        state_file=Path("/dev/null"),
        point="",
        dirty_context=job.dirty_context,
    )
    return Source(export, copy)


def _each_range(source: Source, wheel: Wheel, size: int, take: Callable[[Sequence[Range]], None]) -> None:
    position = 0

    def answered(reached: int, found: list[Range]) -> None:
        nonlocal position
        position = reached
        take(found)

    while position < size:
        asked = position
        source.ranges_from(position, answered)
        while position == asked:
            wheel.turn(_TURN_SECONDS)


def _changed(job: HashJob, export: Export, wheel: Wheel) -> frozenset[int]:
    found: set[int] = set()

    def take(ranges: Sequence[Range]) -> None:
        for each in ranges:
            last = (each.offset + each.length - 1) // job.stretch_bytes
            found.update(range(each.offset // job.stretch_bytes, last + 1))

    _each_range(_reader(job, export, Reads.DIRTY), wheel, job.size_bytes, take)
    return frozenset(found)


class _Hashing:
    """Reads one disk, several parts at once; used once."""

    def __init__(
        self,
        job: HashJob,
        export: Export,
        wheel: Wheel,
        unwanted: frozenset[int],
        *,
        limiter: Limiter,
        report: Report,
    ) -> None:
        self._job = job
        self._source = _reader(job, export, Reads.ALLOCATION)
        self._wheel = wheel
        self._limiter = limiter
        self._report = report
        self._unwanted = unwanted
        self._chunks = chunks_in(job.size_bytes)
        self._digests: dict[int, bytes] = {}
        self._slots = make_slots(_SLOTS, SLOT)
        self._queue: deque[Range] = deque()

    def run(self) -> tuple[str, ...]:
        """Return the hash of each stretch."""
        ranges: list[Range] = []
        _each_range(self._source, self._wheel, self._job.size_bytes, ranges.extend)
        wanted = [piece for whole in ranges for piece in self._wanted(whole)]
        data = [piece for piece in wanted if not piece.zero]
        meter = Meter(f"disk {self._job.disk_id}", sum(piece.length for piece in data))
        self._queue.extend(data)
        while self._queue or len(self._slots) < _SLOTS:
            pause = self._begin(meter)
            self._report.progress(meter.progress())
            self._wheel.turn(min(pause, _TURN_SECONDS) if pause else _TURN_SECONDS)
        self._report.progress(meter.progress())
        count = -(-self._job.size_bytes // self._job.stretch_bytes)
        return tuple("" if number in self._unwanted else self._stretch(number) for number in range(count))

    def _wanted(self, whole: Range) -> list[Range]:
        return [piece for piece in pieces(whole, SLOT) if piece.offset // self._job.stretch_bytes not in self._unwanted]

    def _begin(self, meter: Meter) -> float:
        """Begin reads where there is room; seconds to wait for the bandwidth limit, 0 if that is not what holds us."""
        while self._queue and self._slots:
            if pause := self._limiter.wait():
                return pause
            piece = self._queue.popleft()
            slot = self._slots.pop()
            self._limiter.take(piece.length)
            self._source.read(piece.offset, slot[: piece.length], partial(self._have_read, piece, slot, meter))
        return 0.0

    def _have_read(self, piece: Range, slot: memoryview, meter: Meter, code: int) -> None:
        if code:
            raise self._source.failure(code, piece.offset)
        first = piece.offset // CHUNK
        for index, each in enumerate(hashes_of(slot[: piece.length])):
            self._digests[first + index] = each
        meter.add(piece.length)
        self._slots.append(slot)

    def _stretch(self, number: int) -> str:
        first = number * (self._job.stretch_bytes // CHUNK)
        last = min(self._chunks, first + self._job.stretch_bytes // CHUNK)
        whole = blake3()
        for chunk in range(first, last):
            length = min(CHUNK, self._job.size_bytes - chunk * CHUNK)
            whole.update(self._digests.get(chunk) or _digest_of_zeros(length))
        return whole.digest(_HASH_BYTES).hex()


@lru_cache(8)
def _digest_of_zeros(length: int) -> bytes:
    return digest(bytes(length))
