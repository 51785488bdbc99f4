"""A share that a client has mounted: files with contents that can be told apart, written and read through the mount."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 4096
MIB = 1 << 20


@dataclass(frozen=True)
class Contents:
    """What a file holds: its length in bytes and its CRC-32."""

    length: int
    crc: int

    @classmethod
    def of(cls, data: bytes) -> "Contents":
        """Return those of `data`."""
        return cls(len(data), zlib.crc32(data))


@dataclass(frozen=True)
class Pattern:
    """Contents of `length` bytes, other ones for every seed and 4 KiB block; a guest composes them by itself."""

    seed: int
    length: int

    @property
    def data(self) -> bytes:
        """Return the bytes."""
        blocks = range(-(-self.length // BLOCK))
        lines = (f"pattern {self.seed:016x} block {number:016x} of 4096 bytes..\n" for number in blocks)
        return b"".join(line.encode() * (BLOCK // 64) for line in lines)[: self.length]

    @property
    def contents(self) -> Contents:
        """Return what a file that holds the pattern is to hold."""
        return Contents.of(self.data)


@dataclass(frozen=True)
class Space:
    """What statvfs says, in bytes."""

    total: int
    free: int
    available: int


class Caller(Protocol):
    """Who makes a share's system calls: `lab.share_guest.KernelClient`."""

    def call(self, name: str, *arguments: object, limit: float = 120) -> list[str]:
        """Make a call and return its values; OSError if it fails."""


class MountedShare:
    """A mounted share. Names are relative to it; every call is the guest's kernel's, with its OSError."""

    def __init__(self, caller: Caller, path: str) -> None:
        self._caller = caller
        self.path = path

    def write(self, name: str, pattern: Pattern, *, limit: float = 300) -> None:
        """Make the file hold the pattern, on the server's disk."""
        with self.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            file.write_through(pattern, limit=limit)

    def read(self, name: str) -> Contents:
        """Return what the file holds."""
        with self.open(name, os.O_RDONLY) as file:
            return file.read()

    @contextlib.contextmanager
    def open(self, name: str, flags: int) -> Iterator["OpenFile"]:
        """Open a file with the `O_` flags of `os`, and close it at the end of the block."""
        (number,) = self._caller.call("open", self._of(name), flags, 0o666)
        file = OpenFile(self._caller, int(number))
        try:
            yield file
        finally:
            file.close()

    def names(self) -> list[str]:
        """Return what lies in the share's root, sorted."""
        return sorted(self._caller.call("list", self.path))

    def space(self) -> Space:
        """Return the space of the share as its client sees it."""
        return Space(*map(int, self._caller.call("space", self.path)))

    def size(self, name: str) -> int:
        """Return a file's length."""
        return int(self._caller.call("facts", self._of(name))[0])

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._caller.call("unlink", self._of(name))

    def make_directory(self, name: str) -> None:
        """Make a directory."""
        self._caller.call("mkdir", self._of(name), 0o777)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        self._caller.call("rename", self._of(old), self._of(new))

    def unmount(self, *, force: bool = False) -> None:
        """Unmount; with `force` also a share whose server is gone, or in which files are open."""
        self._caller.call("umount", self.path, 2 if force else 0)  # MNT_DETACH

    def _of(self, name: str) -> str:
        return f"{self.path}/{name}"


class OpenFile:
    """A file that a client holds open."""

    def __init__(self, caller: Caller, number: int) -> None:
        self._caller = caller
        self._number = number
        self._closed = False

    def write(self, pattern: Pattern, *, offset: int = 0, limit: float = 300) -> None:
        """Write a pattern at an offset that is a multiple of 4096."""
        self._caller.call("write", self._number, offset, pattern.length, pattern.seed, limit=limit)

    def write_through(self, pattern: Pattern, *, offset: int = 0, limit: float = 300) -> None:
        """Write as `write` does, and have it on the server's disk."""
        self.write(pattern, offset=offset, limit=limit)
        self.sync()

    def read(self) -> Contents:
        """Return what the whole file holds."""
        length, crc = map(int, self._caller.call("read", self._number))
        return Contents(length, crc)

    def sync(self) -> None:
        """Have the server put on its disk what was written."""
        self._caller.call("fsync", self._number)

    def allocate(self, length: int) -> None:
        """Reserve the file's space without writing it (fallocate)."""
        self._caller.call("fallocate", self._number, 0, length)

    def lock(self, kind: int) -> None:
        """Take or give back (`fcntl.F_WRLCK`, `F_UNLCK`) a lock of the whole file, without waiting: EAGAIN, EACCES."""
        self._caller.call("lock", self._number, kind)

    def close(self) -> None:
        """Close, once; errors of writing behind come to light here too."""
        if not self._closed:
            self._closed = True
            self._caller.call("close", self._number)
