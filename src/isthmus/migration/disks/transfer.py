"""One pass over one disk: read, hash, write, flush, read back, record.

A chunk goes through these stages; many are under way at once and nothing blocks:

    block status -> read -> hashed -> [compare] -> write or zero -> batch -> flush -> read back -> recorded as done

This module has the way to the write, `settling` the rest. Whatever dies, at most UNSETTLED bytes of a disk are sent
again.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import nbd

from isthmus.migration.disks.connection import Wheel
from isthmus.migration.disks.extents import CHUNK, Range, chunks_in, interleaved
from isthmus.migration.disks.job import CopyJob, CopyReport, Reads
from isthmus.migration.disks.limiter import Limiter
from isthmus.migration.disks.measuring import count_data
from isthmus.migration.disks.progress import Meter
from isthmus.migration.disks.settling import Settlement, Tally, Written, runs
from isthmus.migration.disks.slots import make_slots
from isthmus.migration.disks.source import Origin
from isthmus.migration.disks.state import HASH_BYTES, RECORD_BYTES, Kind, StateFile, digest
from isthmus.migration.disks.target import SLOT, Hashes, Target
from isthmus.migration.reporting import Report

SLOTS = 32
UNSETTLED = 60 << 20
_ZERO_PIECE = 128 << 20
_ZEROS_IN_FLIGHT = 16
_QUEUE_LOW = 64
_REPORT_SECONDS = 0.5

# How a chunk of zeros is written among hashes.
ZERO = b""


@dataclass
class Work:
    """A read under way: its buffer, what the records said, what the hashes are, how many writes are out."""

    offset: int
    length: int
    buffer: memoryview
    statuses: bytes
    known: list[bytes | None]
    hashes: list[bytes] = field(default_factory=list)
    writes: int = 0


class Transfer:
    """Copies one disk; used by one thread and once."""

    def __init__(
        self,
        job: CopyJob,
        *,
        wheel: Wheel,
        source: Origin,
        target: Target,
        state: StateFile,
        limiter: Limiter,
        report: Report,
    ) -> None:
        self._job = job
        self._wheel = wheel
        self._source = source
        self._target = target
        self._state = state
        self._limiter = limiter
        self._report = report
        self.tally = Tally()
        self._subject = f"disk {job.disk_id}{job.leg}"
        self._meter = Meter(self._subject, 0)
        self._reported_at = 0.0
        self._asked = False
        self._position = 0
        self._queue: deque[Range] = deque()
        self._slots = make_slots(SLOTS, SLOT)
        self._zeros_out = 0
        self._reading = 0
        self._settlement = Settlement(job, target=target, state=state, tally=self.tally, settled=self._count_done)

    def run(self) -> CopyReport:
        """Copy; raises Cancelled, Unavailable (resumable), StepFailed."""
        began = time.monotonic()
        self._meter = Meter(self._subject, count_data(self._source, self._job.size_bytes, self._wait))
        while not self._finished():
            self._tell()
            self._ask()
            pause = self._start_work()
            self._settlement.flush_if_due(stalled=self._idle() and not self._asked)
            self._queue.extendleft(self._settlement.take_damaged())
            self._wheel.turn(min(pause, _REPORT_SECONDS) if pause else _REPORT_SECONDS)
        self._state.finish()
        self._report.progress(self._meter.progress())
        done = self.tally
        return CopyReport(
            disk_id=self._job.disk_id,
            bytes_read=done.read,
            bytes_sent=done.sent,
            bytes_zeroed=done.zeroed,
            bytes_skipped=done.skipped,
            bytes_resumed=done.resumed,
            bytes_verified=done.verified,
            seconds=time.monotonic() - began,
        )

    # -- what is to be done ------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._tell()
        self._wheel.turn(_REPORT_SECONDS)

    def _ask(self) -> None:
        if not self._asked and len(self._queue) < _QUEUE_LOW and self._position < self._job.size_bytes:
            self._asked = True
            self._source.ranges_from(self._position, self._answered)

    def _answered(self, reached: int, found: list[Range]) -> None:
        self._asked = False
        self._position = reached
        self._queue.extend(interleaved(found, SLOT))

    def _finished(self) -> bool:
        return (
            self._position >= self._job.size_bytes and not self._queue and self._idle() and self._settlement.is_empty()
        )

    def _idle(self) -> bool:
        return len(self._slots) == SLOTS and not self._zeros_out

    def _start_work(self) -> float:
        """Begin what there is room for; seconds to wait for the bandwidth limit, 0 if it is not what holds us up."""
        while self._queue:
            piece = self._queue[0]
            if piece.zero:
                if self._zeros_out >= _ZEROS_IN_FLIGHT or self._settlement.is_crowded():
                    return 0.0
                self._start_zero(self._cut(_ZERO_PIECE))
                continue
            if not self._slots or self._settlement.unsettled + self._reading + SLOT > UNSETTLED:
                return 0.0
            if pause := self._limiter.wait():
                return pause
            self._start_read(self._cut(SLOT))
            self._tell()
        return 0.0

    def _cut(self, size: int) -> Range:
        whole = self._queue.popleft()
        if whole.length <= size:
            return whole
        self._queue.appendleft(Range(whole.offset + size, whole.length - size, whole.zero))
        return Range(whole.offset, size, whole.zero)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _start_read(self, piece: Range) -> None:
        statuses, records = self._records(piece)
        done = [self._state.is_done(status) for status in statuses]
        run = done.index(not done[0]) if (not done[0]) in done else len(done)
        length = min(piece.length, run * CHUNK)
        if length < piece.length:
            self._queue.appendleft(Range(piece.offset + length, piece.length - length, zero=False))
        if done[0]:
            self.tally.resumed += length
            self.tally.skipped += length
            self._meter.add(length)
            return
        known = [self._known(records[i * RECORD_BYTES : (i + 1) * RECORD_BYTES]) for i in range(run)]
        buffer = self._slots.pop()
        work = Work(piece.offset, length, buffer, statuses[:run], known)
        self._limiter.take(length)
        self._reading += length
        self._source.read(work.offset, buffer[:length], partial(self._have_read, work))

    def _records(self, piece: Range) -> tuple[bytes, bytes]:
        records = self._state.records(piece.offset // CHUNK, chunks_in(piece.length))
        return records[HASH_BYTES::RECORD_BYTES], records

    def _known(self, record: bytes) -> bytes | None:
        """What the destination holds as far as this kind of pass believes the records; None is unknown.

        Only COMPARE believes hashes: the others are there to write whatever they are given.
        """
        status = record[HASH_BYTES]
        if self._job.reads is not Reads.COMPARE:
            return ZERO if self._state.blank and status & 3 == Kind.UNTOUCHED else None
        if self._state.known_zero(status):
            return ZERO
        return record[:HASH_BYTES] if status & 3 == Kind.DATA else None

    def _have_read(self, work: Work, code: int) -> None:
        if code:
            raise self._source.failure(code, work.offset)
        self.tally.read += work.length
        whole = nbd.Buffer.from_buffer(work.buffer)
        for low in range(0, work.length, CHUNK):
            size = min(CHUNK, work.length - low)
            zero = whole.is_zero(low, size)
            work.hashes.append(ZERO if zero else digest(work.buffer[low : low + size]))
        if self._job.reads is Reads.COMPARE and None in work.known:
            self._target.hashes(work.offset, work.length, partial(self._have_asked, work))
        else:
            self._write(work)

    def _have_asked(self, work: Work, code: int, found: Hashes) -> None:
        if code:
            raise self._target.failure(code, work.offset)
        blank = digest(bytes(min(CHUNK, work.length)))
        for index, (known, there) in enumerate(zip(work.known, found, strict=True)):
            if known is None:
                work.known[index] = ZERO if there == blank else there
        self._write(work)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self, work: Work) -> None:
        """Write what differs, zero what has become zero, record what is equal."""
        acts = [
            "equal" if known == found else "zero" if found == ZERO else "send"
            for known, found in zip(work.known, work.hashes, strict=True)
        ]
        work.writes = 1
        self._reading -= work.length
        for first, last, act in runs(acts):
            low, high = first * CHUNK, min(work.length, last * CHUNK)
            part = Written(work.offset + low, high - low, work.hashes[first:last] if act == "send" else [])
            if act == "equal":
                self._state.note(part.offset, b"".join(map(self._record, work.hashes[first:last])))
                self.tally.skipped += part.length
            else:
                work.writes += 1
                self._state.before_write(part.offset, part.length)
                done = partial(self._have_written, work, part)
                if act == "send":
                    self.tally.sent += part.length
                    self._settlement.unsettled += part.length
                    self._target.write(part.offset, work.buffer[low:high], part.hashes, done)
                else:
                    self.tally.zeroed += part.length
                    self._target.zero(part.offset, part.length, done)
            if act != "send":
                self._meter.add(part.length)
        self._give_back(work)

    def _have_written(self, work: Work, part: Written, code: int) -> None:
        if code:
            raise self._target.failure(code, part.offset)
        self._settlement.add(part)
        self._give_back(work)

    def _give_back(self, work: Work) -> None:
        work.writes -= 1
        if not work.writes:
            self._slots.append(work.buffer)

    def _start_zero(self, piece: Range) -> None:
        statuses, _ = self._records(piece)
        if self._state.blank and not any(statuses):
            return
        trusted = self._job.reads is Reads.COMPARE
        needed = [
            not (
                self._state.is_done(status)
                or (self._state.known_zero(status) and (trusted or status & 3 == Kind.UNTOUCHED))
            )
            for status in statuses
        ]
        for first, last, wanted in runs(needed):
            if not wanted:
                continue
            offset = piece.offset + first * CHUNK
            length = min(piece.offset + piece.length, piece.offset + last * CHUNK) - offset
            self._state.before_write(offset, length)
            self._zeros_out += 1
            self.tally.zeroed += length
            self._target.zero(offset, length, partial(self._have_zeroed, Written(offset, length, [])))

    def _have_zeroed(self, part: Written, code: int) -> None:
        if code:
            raise self._target.failure(code, part.offset)
        self._zeros_out -= 1
        self._settlement.add(part)

    def _count_done(self, size: int) -> None:
        self._meter.add(size)

    def _record(self, value: bytes) -> bytes:
        return self._state.data_record(value) if value else self._state.zero_record()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            self._report.progress(self._meter.progress())
