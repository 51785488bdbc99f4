"""The file of an image, read beside the server that writes it: what a raw or qcow2 disk holds, straight from the file.

Only for what that server has flushed, and only to compare: a reader of its own beside QEMU's. It follows the tables of
qcow2 (QEMU's docs/interop/qcow2.txt) as far as a disk that is being filled has them. Whatever else it meets (backing
files, compressed clusters, encryption, tables that lead out of the file) it refuses with NotReadable; then the server
is to be asked. It opens nothing but the one file, and keeps nothing of it: tables may change with each flush.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQ")  # magic, version, backing file's offset and size, cluster bits, size, crypt, L1
_VERSION_3 = 3
_FEATURES_AT = 72
# Bit 0: the file was not closed, as it is open. All others change how the tables are read, or say that they are wrong.
_HARMLESS = 0x1
_CLUSTER_BITS = range(9, 22)
_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_ENTRY = 8
# What reading past the page cache asks of offsets, lengths and memory: no device's blocks are larger.
_ALIGNMENT = 4096

# sync_file_range(2), which Python's os has not. A call by ctypes lets go of Python's lock.
_sync_file_range = ctypes.CDLL(None).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_SYNC_FILE_RANGE_WRITE = 2  # of <fcntl.h>


class NotReadable(Exception):
    """This file, or this part of it, cannot be read here."""


@dataclass(frozen=True)
class ImageFile:
    """An image that this machine can open: `format` is raw or qcow2, else it cannot be read here.

    With `inode` it is read only if that is still the file's.
    """

    path: Path
    format: str
    inode: int | None = None


@dataclass(frozen=True)
class _Tables:
    """What a qcow2 header says; all in bytes but the entries."""

    cluster: int
    l1_offset: int
    l1_entries: int
    size: int


class ImageReader:
    """A raw or qcow2 image, opened for reading."""

    def __init__(self, image: ImageFile, *, once: bool = False) -> None:
        """Open it; NotReadable if it is nothing that can be read here.

        With `once` the data are read past the page cache, as nobody will want them again: room in the cache is dear,
        most of all in a virtual machine that has given its free memory back to its host. (Asking the cache first, by
        RWF_NOWAIT, has the kernel read ahead into it.)
        """
        if image.format not in {"raw", "qcow2"}:
            raise NotReadable(f"{image.format} images are not read here")
        try:
            # Not a pipe that nobody writes, not a link to somewhere else.
            self._descriptor = os.open(image.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            raise NotReadable(f"{image.path}: {error.strerror}") from error
        self._past_cache: int | None = None
        try:
            self._check(image)
            if once:
                self._past_cache = self._opened_past_cache()
            self._tables = self._header() if image.format == "qcow2" else None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._past_cache is not None:
            os.close(self._past_cache)
        os.close(self._descriptor)

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` with the disk's bytes from `offset`; NotReadable if the file does not tell them."""
        if self._tables is None:
            self._fill_data(offset, into)
            return
        at = 0
        for place, length in self._places(self._tables, offset, len(into)):
            part = into[at : at + length]
            if place is None:
                part[:] = bytes(length)
            else:
                self._fill_data(place, part)
            at += length

    def begin_write_out(self) -> None:
        """Have the kernel begin to bring to the device what was written to the file, by whomever.

        It makes nothing safe, so how it ends is not asked; a flush that comes later finds less to do.
        """
        _sync_file_range(self._descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)

    def _check(self, image: ImageFile) -> None:
        found = os.fstat(self._descriptor)
        if image.inode not in {None, found.st_ino}:
            raise NotReadable(f"{image.path} is another file now")
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            raise NotReadable(f"{image.path} is neither a file nor a block device")

    def _opened_past_cache(self) -> int | None:
        try:
            return os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        except OSError:
            return None  # a file system that knows no such reading

    def _fill_data(self, offset: int, into: memoryview) -> None:
        """Fill `into` with data of the disk: past the page cache if so opened, through it where that cannot be."""
        if self._past_cache is not None and not (offset | len(into)) % _ALIGNMENT:
            with suppress(OSError):  # the device wants another alignment, or is broken: the ordinary read says so
                if os.preadv(self._past_cache, [into], offset) == len(into):
                    return
        self._fill(offset, into)

    def _header(self) -> _Tables:
        head = self._exactly(0, _FEATURES_AT + _ENTRY)
        magic, version, backing, _, bits, size, crypt, entries, l1_offset = _HEADER.unpack_from(head)
        features = int.from_bytes(head[_FEATURES_AT:]) if version >= _VERSION_3 else 0
        if magic != _MAGIC or bits not in _CLUSTER_BITS or backing or crypt or features & ~_HARMLESS:
            raise NotReadable("this qcow2 image is not a plain one")
        return _Tables(1 << bits, l1_offset, entries, size)

    def _places(self, tables: _Tables, offset: int, length: int) -> Iterator[tuple[int | None, int]]:
        """Where in the file a part of the disk lies, piece by piece: (offset, or None for zeros, length)."""
        if offset + length > tables.size:
            raise NotReadable("beyond the disk's end")
        before: int | None = None
        known = 0
        for place, size in self._clusters(tables, offset, length):
            if known and (place is None if before is None else place == before + known):
                known += size
                continue
            if known:
                yield before, known
            before, known = place, size
        yield before, known

    def _clusters(self, tables: _Tables, offset: int, length: int) -> Iterator[tuple[int | None, int]]:
        reach = tables.cluster * (tables.cluster // _ENTRY)
        position, end = offset, offset + length
        while position < end:
            until = min(end, (position // reach + 1) * reach)
            first, last = position % reach // tables.cluster, (until - 1) % reach // tables.cluster
            for entry in self._l2(tables, position // reach, first, last - first + 1):
                if entry & _COMPRESSED:
                    raise NotReadable("a compressed cluster")
                inside = position % tables.cluster
                size = min(tables.cluster - inside, until - position)
                host = entry & _OFFSET
                yield (None if entry & _ZERO or not host else host + inside), size
                position += size

    def _l2(self, tables: _Tables, index: int, first: int, count: int) -> tuple[int, ...]:
        """Entries of one second-level table; all zero where there is no such table."""
        if index >= tables.l1_entries:
            raise NotReadable("the first-level table is too short")
        table = int.from_bytes(self._exactly(tables.l1_offset + index * _ENTRY, _ENTRY)) & _OFFSET
        if not table:
            return (0,) * count
        return struct.unpack(f">{count}Q", self._exactly(table + first * _ENTRY, count * _ENTRY))

    def _exactly(self, offset: int, length: int) -> bytes:
        found = bytearray(length)
        self._fill(offset, memoryview(found))
        return bytes(found)

    def _fill(self, offset: int, into: memoryview) -> None:
        done = 0
        while done < len(into):
            try:
                got = os.preadv(self._descriptor, [into[done:]], offset + done)
            except (OSError, OverflowError) as error:
                raise NotReadable(str(error)) from error
            if not got:
                raise NotReadable("the file ends before")
            done += got
