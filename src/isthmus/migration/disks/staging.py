"""Disks that lie on a worker between the two legs of their way: what was sent of each, with the hash of every chunk.

A disk is two sparse files, its data and 16 bytes for each chunk: 15 of its hash and what it is. A chunk that was not
sent has no record, one that became zeros is only recorded, so what is staged is the increment and its list of extents
in one. A record is written after its data is on stable storage, and what is read for the second leg must have the hash
with which it came.

The disks of one copy are an `Area`: a directory that appears with all its files or not at all, under a name and with an
identity of ours. A sender's journal belongs to the identity: where an area was lost, another is made, and all is sent
again.
"""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.migration.disks.beside import Beside
from isthmus.migration.disks.connection import Done, Wheel
from isthmus.migration.disks.extents import CHUNK, Range, chunks_in
from isthmus.migration.disks.settling import runs
from isthmus.migration.disks.source import RangesDone
from isthmus.migration.disks.staged_file import StagedFile
from isthmus.migration.disks.state import HASH_BYTES, RECORD_BYTES, Kind, digest
from isthmus.migration.disks.target import Hashes, HashesDone

NOT_STAGED = b"\xff" * HASH_BYTES
"""Told as the hash of a chunk that was not sent: no chunk has it, so whoever compares sends it."""

_THREADS = 2
_STEP = 1 << 30
_IDENTITY = "identity"
_FRESH = ".new"
_ZERO_RECORD = bytes(HASH_BYTES) + bytes((Kind.ZERO,))


def room_for(data_bytes: int, sizes: Sequence[int]) -> int:
    """Return the bytes that an area takes at most: so much data of disks of these sizes, two records for each chunk.

    The second record is that of the second leg's journal.
    """
    records = sum(chunks_in(size) * RECORD_BYTES for size in sizes)
    return data_bytes + 2 * records + (len(sizes) << 16)


class StagedDisk:
    """A staged disk while it is written or read; its calls block, and may be made by several threads."""

    def __init__(self, file: StagedFile) -> None:
        """Raises Unavailable if the files cannot be opened."""
        self.file = file
        self._descriptors: list[int] = []
        try:
            for path in (file.data, file.records):
                self._descriptors.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            self.close()
            raise Unavailable(
                f"what is staged cannot be opened on {file.where}: {error.strerror}; check its [worker] staging_dir"
            ) from None
        self._data, self._records = self._descriptors

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def write(self, offset: int, data: memoryview) -> int:
        """Write data, not yet its records; return 0 or an errno."""
        try:
            while len(data):
                written = os.pwrite(self._data, data, offset)
                data, offset = data[written:], offset + written
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def settle(self, parts: Sequence[tuple[int, bytes]]) -> int:
        """Bring data to stable storage, then the records of these parts (offset, records); return 0 or an errno."""
        try:
            os.fdatasync(self._data)
            for offset, records in parts:
                os.pwrite(self._records, records, offset // CHUNK * RECORD_BYTES)
            os.fdatasync(self._records)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def records(self, offset: int, length: int) -> list[bytes]:
        """Return the record of each chunk; one that is not there reads as untouched."""
        count = chunks_in(length)
        raw = os.pread(self._records, count * RECORD_BYTES, offset // CHUNK * RECORD_BYTES).ljust(
            count * RECORD_BYTES, b"\0"
        )
        return [raw[at : at + RECORD_BYTES] for at in range(0, len(raw), RECORD_BYTES)]

    def hashes(self, offset: int, length: int) -> list[bytes]:
        """Return the hash of each chunk as it lies in the file, NOT_STAGED for what was not sent."""
        found = []
        for number, record in enumerate(self.records(offset, length)):
            at = number * CHUNK
            size = min(CHUNK, length - at)
            kind = record[HASH_BYTES]
            if kind == Kind.DATA:
                found.append(digest(os.pread(self._data, size, offset + at)))
            else:
                found.append(digest(bytes(size)) if kind == Kind.ZERO else NOT_STAGED)
        return found

    def read(self, offset: int, into: memoryview) -> int:
        """Fill `into` with chunks that were sent; EBADMSG if one has not the hash with which it came, or an errno."""
        try:
            if os.preadv(self._data, [into], offset) != len(into):
                return errno.EIO
        except OSError as error:
            return error.errno or errno.EIO
        for number, record in enumerate(self.records(offset, len(into))):
            chunk = into[number * CHUNK : (number + 1) * CHUNK]
            if record[HASH_BYTES] != Kind.DATA or digest(chunk) != record[:HASH_BYTES]:
                return errno.EBADMSG
        return 0

    def ranges(self, offset: int, end: int) -> list[Range]:
        """Return what was sent between two offsets."""
        kinds = [record[HASH_BYTES] for record in self.records(offset, end - offset)]
        return [
            Range(offset + first * CHUNK, min(end, offset + last * CHUNK) - offset - first * CHUNK, kind == Kind.ZERO)
            for first, last, kind in runs(kinds)
            if kind in {Kind.DATA, Kind.ZERO}
        ]


class StagingTarget:
    """A staged disk as the destination of the first leg."""

    def __init__(self, disk: StagedDisk, beside: Beside) -> None:
        self._disk = disk
        self._beside = beside
        self._written: list[tuple[int, bytes]] = []

    def write(self, offset: int, data: memoryview, hashes: Hashes, done: Done) -> None:
        """Write chunks with their hashes."""
        records = b"".join(value + bytes((Kind.DATA,)) for value in hashes)
        self._beside.run(partial(self._disk.write, offset, data), partial(self._have_written, offset, records, done))

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Record that a part is zeros."""
        self._have_written(offset, _ZERO_RECORD * chunks_in(length), done, 0)

    def flush(self, done: Done) -> None:
        """Bring data, then records to stable storage."""
        parts, self._written = self._written, []
        self._beside.run(partial(self._disk.settle, parts), partial(self._have_settled, done))

    def hashes(self, offset: int, length: int, done: HashesDone) -> None:
        """Read and hash what was sent."""
        self._beside.run(partial(self._hashes, offset, length), partial(done, 0))

    def read_back(self, offset: int, length: int, wanted: Hashes, done: HashesDone) -> None:  # noqa: ARG002
        """Read from the file."""
        self.hashes(offset, length, done)

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for what the file system answers. A full one is tried again: others' data goes."""
        where = f"[worker] staging_dir of {self._disk.file.where}"
        if code in {errno.ENOSPC, errno.EDQUOT}:
            return Unavailable(
                f"{where} is full, at offset {offset} of a disk of {self._disk.file.size} bytes, although its room was "
                "reserved: something else has taken it; make room there"
            )
        return StepFailed(f"{where} cannot be written at offset {offset} ({os.strerror(code)}); check that disk")

    def _hashes(self, offset: int, length: int) -> Hashes:
        try:
            return self._disk.hashes(offset, length)
        except OSError as error:
            raise self.failure(error.errno or errno.EIO, offset) from None

    def _have_written(self, offset: int, records: bytes, done: Done, code: int) -> None:
        if code:
            raise self.failure(code, offset)
        self._written.append((offset, records))
        done(0)

    def _have_settled(self, done: Done, code: int) -> None:
        if code:
            raise self.failure(code, 0)
        done(0)


class StagedSource:
    """A staged disk as the source of the second leg: what was sent, and nothing else."""

    def __init__(self, disk: StagedDisk, wheel: Wheel, beside: Beside, disk_id: str) -> None:
        self._disk = disk
        self._wheel = wheel
        self._beside = beside
        self._disk_id = disk_id

    def ranges_from(self, offset: int, done: RangesDone) -> None:
        """Tell what was sent from `offset` on."""
        end = min(self._disk.file.size, offset + _STEP)
        self._wheel.later(partial(done, end, self._disk.ranges(offset, end)))

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        """Fill `into`, and compare it with the hashes that it came with."""
        self._beside.run(partial(self._disk.read, offset, into), done)

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for a part that cannot be had."""
        where = f"disk {self._disk_id} at offset {offset}: what is staged on {self._disk.file.where}"
        if code == errno.EBADMSG:
            return StepFailed(f"{where} is not what was sent; check the disk under its staging_dir, then run it again")
        return StepFailed(f"{where} cannot be read ({os.strerror(code)}); check the disk under its staging_dir")


@contextmanager
def opened(file: StagedFile, wheel: Wheel, name: str) -> Iterator[tuple[StagedDisk, Beside]]:
    """A staged disk with the threads that read and write it."""
    disk = StagedDisk(file)
    try:
        beside = Beside(wheel, name, threads=_THREADS)
        try:
            yield disk, beside
        finally:
            beside.close()
    finally:
        disk.close()


class Area:
    """The staged disks of one copy, on `where`'s disk."""

    def __init__(self, place: Path, identity: str, files: tuple[StagedFile, ...]) -> None:
        self.place = place
        self.identity = identity
        self.files = files

    @classmethod
    def prepare(
        cls, home: Path, name: str, sizes: Sequence[int], where: str, new_identity: Callable[[], str]
    ) -> "Area":
        """Find the area of this name (a UUID) for disks of these sizes, or make one, with a new identity.

        Raises Unavailable if it cannot be made.
        """
        found = cls._found(home, name, sizes, where)
        if found is not None:
            return found
        try:
            return cls._made(home, name, sizes, where, new_identity())
        except OSError as error:
            raise Unavailable(
                f"nothing can be staged on {where}: {error.strerror}; check its [worker] staging_dir {home.parent}"
            ) from None

    @classmethod
    def find(cls, home: Path, name: str, identity: str, sizes: Sequence[int], where: str) -> "Area":
        """Return an area that was filled. Raises StepFailed if it is gone, or another has taken its place."""
        found = cls._found(home, name, sizes, where)
        if found is None or found.identity != identity:
            raise StepFailed(
                f"what was staged on {where} is gone: something else than Isthmus has cleared its staging_dir; run the "
                "execution again"
            )
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others out, and who removes it. Raises Unavailable while another attempt is in it."""
        descriptor = os.open(self.place / _IDENTITY, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Unavailable("another attempt still has what is staged; it is tried again") from None
        finally:
            os.close(descriptor)

    @classmethod
    def _found(cls, home: Path, name: str, sizes: Sequence[int], where: str) -> "Area | None":
        place = _place(home, name)
        try:
            identity = (place / _IDENTITY).read_text().strip()
        except OSError:
            return None
        files = _files(place, sizes, where)
        return cls(place, identity, files) if all(each.is_whole() for each in files) else None

    @classmethod
    def _made(cls, home: Path, name: str, sizes: Sequence[int], where: str, identity: str) -> "Area":
        remove(home, name)
        place = _place(home, name)
        fresh = place.with_name(place.name + _FRESH)
        home.mkdir(mode=0o700, exist_ok=True)
        fresh.mkdir(mode=0o700)
        for each in _files(fresh, sizes, where):
            each.make()
        written = fresh / _IDENTITY
        written.write_text(f"{identity}\n")
        for path in (written, fresh):
            _sync(path)
        fresh.rename(place)
        _sync(home)
        return cls(place, identity, _files(place, sizes, where))


def remove(home: Path, name: str) -> None:
    """Remove an area. Already done: it is not there. Raises Unavailable if it cannot be removed."""
    place = _place(home, name)
    for path in (place, place.with_name(place.name + _FRESH)):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unavailable(f"what was staged in {path} cannot be removed: {error.strerror}") from None


def names(home: Path) -> list[str]:
    """Return the names of all areas, also of those that were not finished."""
    try:
        found = {path.name.removesuffix(_FRESH) for path in home.iterdir()}
    except FileNotFoundError:
        return []
    return sorted(each for each in found if _is_name(each))


def _is_name(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _place(home: Path, name: str) -> Path:
    if not _is_name(name):
        raise StepFailed(f"{name!r} is no name of staged disks")
    return home / name


def _files(place: Path, sizes: Sequence[int], where: str) -> tuple[StagedFile, ...]:
    return tuple(
        StagedFile(place / f"{number}.data", place / f"{number}.records", size, where)
        for number, size in enumerate(sizes)
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
