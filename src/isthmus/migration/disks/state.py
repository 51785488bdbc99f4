"""The state file: what the destination holds, chunk by chunk, and what this pass has done. Journal and hash map in one.

Layout (little endian), all of fixed size, sparse where nothing was written:

    0      header, 512 bytes: magic, version, chunk size, disk size, generation, blank, hash of the point, checksum
    4096   one byte for each GiB of the disk ("region"): 1 while chunks in it may hold something else than recorded
    …      one record of 16 bytes for each chunk: 15 bytes of its BLAKE3, 1 byte kind (2 bits) and generation (6 bits)

A record is one aligned write inside one disk sector, so hash and mark cannot come apart. 120 bits of hash: with 2^36
chunks (4 PiB) the chance that any two are alike is below 2^-48, and the file for 4 TiB stays at 1 GiB at most. Done
means that the record's generation is the header's; a new point raises the generation, and the old hashes go on being
known.

What makes it safe to kill anything at any time, also the machine's power:

- A region is marked open, and the mark is on disk, before the first write to it. It is closed only after the records of
  all that was written are on disk. So after a crash, what an open region's records say is true only of those that are
  done in the header's generation; the others become UNKNOWN when the file is opened again.
- The caller records a chunk only after the destination has flushed it.
- The file is made whole under another name and renamed. One of another version, length or checksum is not trusted: all
  is unknown then, also that the destination was blank.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Self

from blake3 import blake3

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.migration.disks.extents import CHUNK, chunks_in

HASH_BYTES = 15
RECORD_BYTES = HASH_BYTES + 1
REGION = 1 << 30

_MAGIC = b"ISTHDISK"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQBB32s")
_HEADER_BYTES = 512
_REGIONS_AT = 4096
_REGION_CHUNKS = REGION // CHUNK
_LAST_GENERATION = 63
_REWRITE = 1 << 20


class Kind(IntEnum):
    """What a record says of its chunk on the destination."""

    UNTOUCHED = 0  # never written by us: zeros if the destination was blank, else unknown
    UNKNOWN = 1
    DATA = 2  # holds what the hash says
    ZERO = 3


def digest(data: memoryview | bytes) -> bytes:
    """The hash of one chunk as it is recorded."""
    return bytes(blake3(data).digest(HASH_BYTES))


class StateFile:
    """One disk's state; used by one thread, guarded against a second process by a lock on the file."""

    def __init__(self, descriptor: int, size: int, generation: int, *, blank: bool) -> None:
        self._descriptor = descriptor
        self._regions = -(-size // REGION)
        self._records_at = _records_at(size)
        self.generation = generation
        self.blank = blank
        self._open: set[int] = set()
        self._unsettled: dict[int, int] = {}

    @classmethod
    def open(cls, path: Path, *, size: int, point: str, blank: bool) -> Self:
        """Open or make the state of a disk of `size` bytes for a pass over `point`.

        `blank` is believed only where no state file is. Raises Unavailable while another process has the file, or if
        what tidies up after another machine of the transfer has just removed the directory; StepFailed if it cannot be
        written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mark = blake3(point.encode()).digest()
            descriptor = _locked(path)
            header = None if descriptor is None else _trusted_header(descriptor, size)
            if descriptor is None or header is None:
                replaced = descriptor is not None
                descriptor = _created(path, size, mark, blank=blank and not replaced, replaced=descriptor)
                header = (1, blank and not replaced, mark)
            try:
                return cls._resumed(descriptor, size, header, mark)
            except OSError:
                os.close(descriptor)
                raise
        except FileNotFoundError:
            raise Unavailable(f"the directory of state file {path} was just removed; it is tried again") from None
        except OSError as error:
            raise StepFailed(f"state file {path} cannot be used: {error.strerror}; check the worker's disk") from error

    @classmethod
    def _resumed(cls, descriptor: int, size: int, header: tuple[int, bool, bytes], mark: bytes) -> Self:
        generation, blank, earlier = header
        state = cls(descriptor, size, generation, blank=blank)
        state._distrust_open_regions()
        if earlier != mark:
            if generation == _LAST_GENERATION:
                state._forget_generations()
                state.generation = 0
            state.generation += 1
            os.pwrite(descriptor, _header(size, state.generation, blank, mark), 0)
            os.fdatasync(descriptor)
        return state

    def records(self, first: int, count: int) -> bytes:
        """The records of `count` chunks from chunk `first`."""
        return os.pread(self._descriptor, count * RECORD_BYTES, self._records_at + first * RECORD_BYTES)

    def is_done(self, status: int) -> bool:
        """Whether a record's last byte says that this pass has done the chunk."""
        return status >> 2 == self.generation

    def known_zero(self, status: int) -> bool:
        """Whether a record's last byte says that the chunk reads as zeros."""
        kind = status & 3
        return kind == Kind.ZERO or (kind == Kind.UNTOUCHED and self.blank)

    def before_write(self, offset: int, length: int) -> None:
        """Make sure on disk that what is recorded of these bytes is in doubt, before they are written.

        Counts them as unsettled until `settle`. One fdatasync for each GiB of the disk that is written to. What this
        pass has done may not be written again: after a crash its record would be believed. ValueError if it is tried.
        """
        statuses = self.records(offset // CHUNK, -(-length // CHUNK))[HASH_BYTES::RECORD_BYTES]
        if any(self.generation << 2 | kind in statuses for kind in Kind):
            raise ValueError(
                f"a chunk from {offset} to {offset + length} is done in this pass and would be written again"
            )
        for region, bytes_inside in _by_region(offset, length):
            self._unsettled[region] = self._unsettled.get(region, 0) + bytes_inside
        fresh = [region for region, _ in _by_region(offset, length) if region not in self._open]
        if not fresh:
            return
        for region in fresh:
            os.pwrite(self._descriptor, b"\1", _REGIONS_AT + region)
            self._open.add(region)
        os.fdatasync(self._descriptor)
        self._close_settled()

    def settle(self, offset: int, length: int, records: bytes) -> None:
        """Record written chunks as done; ends what `before_write` began for the same bytes."""
        self.note(offset, records)
        self.withdraw(offset, length)

    def withdraw(self, offset: int, length: int) -> None:
        """What `before_write` began for these bytes will be begun again: they are to be written once more."""
        for region, bytes_inside in _by_region(offset, length):
            self._unsettled[region] -= bytes_inside

    def note(self, offset: int, records: bytes) -> None:
        """Record chunks as done that were found equal and not written."""
        os.pwrite(self._descriptor, records, self._records_at + offset // CHUNK * RECORD_BYTES)

    def data_record(self, value: bytes) -> bytes:
        """The record of a chunk that holds data of this hash."""
        return value + bytes((self.generation << 2 | Kind.DATA,))

    def zero_record(self) -> bytes:
        """The record of a chunk that reads as zeros."""
        return bytes(HASH_BYTES) + bytes((self.generation << 2 | Kind.ZERO,))

    def finish(self) -> None:
        """The pass is over and all is settled: bring the records to disk, then close the regions."""
        os.fdatasync(self._descriptor)
        self._close_settled()
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the file back; what is not settled stays in doubt."""
        os.close(self._descriptor)

    def _close_settled(self) -> None:
        """Called right after the records were brought to disk; that the region's own mark follows later is harmless."""
        for region in [region for region in self._open if not self._unsettled.get(region)]:
            os.pwrite(self._descriptor, b"\0", _REGIONS_AT + region)
            self._open.discard(region)

    def _distrust_open_regions(self) -> None:
        marks = os.pread(self._descriptor, self._regions, _REGIONS_AT)
        regions = [region for region, mark in enumerate(marks) if mark]
        doubtful = bytes(s if self.is_done(s) else Kind.UNKNOWN for s in range(256))
        for region in regions:
            self._rewrite(region * _REGION_CHUNKS, _REGION_CHUNKS, doubtful)
        if regions:
            os.fdatasync(self._descriptor)
            for region in regions:
                os.pwrite(self._descriptor, b"\0", _REGIONS_AT + region)

    def _forget_generations(self) -> None:
        kinds = bytes(status & 3 for status in range(256))
        total = (os.fstat(self._descriptor).st_size - self._records_at) // RECORD_BYTES
        self._rewrite(0, total, kinds)
        os.fdatasync(self._descriptor)

    def _rewrite(self, first: int, count: int, table: bytes) -> None:
        position = self._records_at + first * RECORD_BYTES
        end = min(position + count * RECORD_BYTES, os.fstat(self._descriptor).st_size)
        while position < end:
            block = bytearray(os.pread(self._descriptor, min(_REWRITE, end - position), position))
            statuses = block[HASH_BYTES::RECORD_BYTES]
            changed = statuses.translate(table)
            if changed != statuses:
                block[HASH_BYTES::RECORD_BYTES] = changed
                os.pwrite(self._descriptor, block, position)
            position += len(block)


def _by_region(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The regions that hold these bytes, with how many of the bytes each holds."""
    end = offset + length
    for region in range(offset // REGION, (end - 1) // REGION + 1):
        yield region, min(end, (region + 1) * REGION) - max(offset, region * REGION)


def _records_at(size: int) -> int:
    regions = -(-size // REGION)
    return _REGIONS_AT + -(-regions // 4096) * 4096


def _length(size: int) -> int:
    return _records_at(size) + chunks_in(size) * RECORD_BYTES


def _header(size: int, generation: int, blank: bool, mark: bytes) -> bytes:
    body = _HEADER.pack(_MAGIC, _VERSION, CHUNK, size, generation, blank, mark)
    return (body + blake3(body).digest()).ljust(_HEADER_BYTES, b"\0")


def _trusted_header(descriptor: int, size: int) -> tuple[int, bool, bytes] | None:
    """Generation, blank and the point's mark; None if this is not the state of such a disk."""
    raw = os.pread(descriptor, _HEADER_BYTES, 0)
    if len(raw) < _HEADER_BYTES or os.fstat(descriptor).st_size != _length(size):
        return None
    magic, version, chunk, disk, generation, blank, mark = _HEADER.unpack_from(raw)
    if raw[_HEADER.size : _HEADER.size + 32] != blake3(raw[: _HEADER.size]).digest():
        return None
    if (magic, version, chunk, disk) != (_MAGIC, _VERSION, CHUNK, size):
        return None
    return generation, bool(blank), mark


def _locked(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    _lock(descriptor, path)
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(
            f"another copy is using state file {path.name}; it is tried again when that has ended"
        ) from None


def _created(path: Path, size: int, mark: bytes, *, blank: bool, replaced: int | None) -> int:
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    _lock(descriptor, fresh)
    os.truncate(descriptor, _length(size))
    os.pwrite(descriptor, _header(size, 1, blank, mark), 0)
    os.fsync(descriptor)
    fresh.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    if replaced is not None:
        os.close(replaced)
    return descriptor
