"""Where a copy writes to: what the transfer asks of it, and the destination that is NBD."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from isthmus.control.errors import IsthmusError
from isthmus.migration.disks.connection import Done, Export
from isthmus.migration.disks.extents import CHUNK
from isthmus.migration.disks.slots import make_slots
from isthmus.migration.disks.state import digest

# Measured: of half as much each piece costs Python as much, of twice as much too few are under way.
SLOT = 1 << 20
_READ_BACK_SLOTS = 4
_ZEROS = memoryview(bytes(SLOT))

Hashes = Sequence[bytes]
HashesDone = Callable[[int, Hashes], None]


def hashes_of(data: memoryview) -> list[bytes]:
    """The hash of each chunk in `data`."""
    return [digest(data[low : low + CHUNK]) for low in range(0, len(data), CHUNK)]


class Target(Protocol):
    """The destination of one disk. Nothing blocks; `done` gets 0 or an errno, in the transfer's thread."""

    def write(self, offset: int, data: memoryview, hashes: Hashes, done: Done) -> None:
        """Write chunks; `data` stays as it is until `done`, `hashes` are theirs."""

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Make a part read as zeros."""

    def flush(self, done: Done) -> None:
        """Bring to stable storage whatever was done before."""

    def hashes(self, offset: int, length: int, done: HashesDone) -> None:
        """Read chunks (at most SLOT bytes) where they lie and give their hashes."""

    def read_back(self, offset: int, length: int, wanted: Hashes, done: HashesDone) -> None:
        """Like `hashes`, of chunks that were written and flushed, and that should have these hashes."""

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for a command that failed."""


class NbdTarget:
    """An NBD export as the destination.

    Reading back goes through the server that wrote. After its flush the server's own picture of the disk is what any
    later reader gets (for qcow2: through the cluster tables that were just written), so it finds what was damaged on
    the way, written to the wrong place, dropped or mapped wrongly. What the storage forgets later no copy can know.
    """

    def __init__(self, export: Export) -> None:
        self._export = export
        self._can_zero = export.can_zero()
        self._can_flush = export.can_flush()
        self._slots = make_slots(_READ_BACK_SLOTS, SLOT)
        self._waiting: deque[tuple[int, int, HashesDone]] = deque()

    def write(self, offset: int, data: memoryview, hashes: Hashes, done: Done) -> None:  # noqa: ARG002
        """Write chunks."""
        self._export.write(offset, data, done)

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Make a part read as zeros, by writing zeros where the server knows nothing better."""
        if self._can_zero:
            self._export.zero(offset, length, done)
        else:
            self._write_zeros(offset, offset + length, done, 0)

    def flush(self, done: Done) -> None:
        """Flush, where the server has it."""
        if self._can_flush:
            self._export.flush(done)
        else:
            self._export.later(partial(done, 0))

    def hashes(self, offset: int, length: int, done: HashesDone) -> None:
        """Read back and hash; waits for a buffer."""
        self._waiting.append((offset, length, done))
        self._read_back()

    def read_back(self, offset: int, length: int, wanted: Hashes, done: HashesDone) -> None:  # noqa: ARG002
        """Through the server."""
        self.hashes(offset, length, done)

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for a command that failed."""
        return self._export.failure(code, offset)

    def _read_back(self) -> None:
        while self._waiting and self._slots:
            offset, length, done = self._waiting.popleft()
            slot = self._slots.pop()
            self._export.read(offset, slot[:length], partial(self._have_read, slot, length, done))

    def _have_read(self, slot: memoryview, length: int, done: HashesDone, code: int) -> None:
        found = [] if code else hashes_of(slot[:length])
        self._slots.append(slot)
        self._read_back()
        done(code, found)

    def _write_zeros(self, offset: int, end: int, done: Done, code: int) -> None:
        if code or offset >= end:
            done(code)
            return
        length = min(SLOT, end - offset)
        self._export.write(offset, _ZEROS[:length], partial(self._write_zeros, offset + length, end, done))
