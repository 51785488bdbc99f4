"""Images whose files this machine has: read from the file, where the server's word is not needed.

A source that nobody writes to is read from its file, its server tells the extents. What a destination was given is
compared with what its file holds. Both spare the way through a server's socket, which is most of what a copy costs.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from isthmus.migration.disks.beside import Beside
from isthmus.migration.disks.connection import Done, Export, Wheel
from isthmus.migration.disks.extents import BY_TURNS, STRETCH
from isthmus.migration.disks.image_file import ImageReader, NotReadable
from isthmus.migration.disks.job import CopyJob, Side
from isthmus.migration.disks.slots import make_slots
from isthmus.migration.disks.target import SLOT, Hashes, HashesDone, NbdTarget, hashes_of

# Threads: reads past the page cache wait for the device, comparing waits for a processor. The one that compares has the
# one buffer for it.
_READING = 4
_COMPARING = 1
# After so many bytes the kernel is to begin to write out. By itself it waits for the flush: the device would have
# nothing to write before it, and nothing to read meanwhile.
_WRITE_OUT = 4 << 20

_LOG = logging.getLogger(__name__)


class NearTarget:
    """An NBD export whose image this machine has: read back from the file, and from the server where that differs.

    The file is believed only when it holds what was wanted. If it is another one than the server's (a worker in a
    container of its own), or is of a kind that cannot be read here, the server has the last word.
    """

    def __init__(self, server: NbdTarget, image: ImageReader, beside: Beside) -> None:
        self._server = server
        self._image = image
        self._beside = beside
        (self._slot,) = make_slots(1, SLOT)
        self._not_begun = 0
        self._beginning = False
        self.zero = server.zero
        self.flush = server.flush
        self.hashes = server.hashes
        self.failure = server.failure

    def write(self, offset: int, data: memoryview, hashes: Hashes, done: Done) -> None:
        """Through the server, and soon on to the device."""
        self._server.write(offset, data, hashes, partial(self._have_written, len(data), done))

    def _have_written(self, length: int, done: Done, code: int) -> None:
        self._not_begun += length
        if self._not_begun >= _WRITE_OUT and not self._beginning:
            self._not_begun, self._beginning = 0, True
            self._beside.run(self._image.begin_write_out, self._have_begun)
        done(code)

    def _have_begun(self, _: None) -> None:
        self._beginning = False

    def read_back(self, offset: int, length: int, wanted: Hashes, done: HashesDone) -> None:
        """From the file, else through the server."""
        self._beside.run(partial(self._look, offset, length), partial(self._have_looked, offset, length, wanted, done))

    def _look(self, offset: int, length: int) -> Hashes:
        part = self._slot[:length]
        try:
            self._image.read(offset, part)
        except NotReadable:
            return []
        return hashes_of(part)

    def _have_looked(self, offset: int, length: int, wanted: Hashes, done: HashesDone, found: Hashes) -> None:
        if list(found) == list(wanted):
            done(0, found)
        else:
            self._server.hashes(offset, length, done)


class NearSource:
    """The bytes of a source that nobody writes to, from its file."""

    def __init__(self, server: Export, images: Sequence[ImageReader], beside: Beside) -> None:
        self._server = server
        self._images = images
        self._beside = beside

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        """Fill `into`, from the file or else through the server."""
        self._beside.run(partial(self._fill, offset, into), partial(self._have_filled, offset, into, done))

    def _fill(self, offset: int, into: memoryview) -> bool:
        # One descriptor for each stretch that is read by turns, so that the kernel sees each read straight on.
        image = self._images[offset // STRETCH % len(self._images)]
        try:
            image.read(offset, into)
        except NotReadable:
            return False
        return True

    def _have_filled(self, offset: int, into: memoryview, done: Done, filled: bool) -> None:
        if filled:
            done(0)
        else:
            self._server.read(offset, into, done)


def near_target(job: CopyJob, wheel: Wheel, server: NbdTarget, stack: ExitStack) -> NearTarget | None:
    """The destination with its file beside it, if this machine has that; closed with `stack`."""
    images = _opened(job, job.destination, 1, stack, once=False)
    return NearTarget(server, images[0], _beside(wheel, job, "destination", _COMPARING, stack)) if images else None


def near_source(job: CopyJob, wheel: Wheel, server: Export, stack: ExitStack) -> NearSource | None:
    """The source's file, if this machine has it; closed with `stack`."""
    images = _opened(job, job.source, BY_TURNS, stack, once=True)
    return NearSource(server, images, _beside(wheel, job, "source", _READING, stack)) if images else None


def _opened(job: CopyJob, side: Side, count: int, stack: ExitStack, *, once: bool) -> list[ImageReader]:
    try:
        return [stack.enter_context(ImageReader(side.image, once=once)) for _ in range(count)] if side.image else []
    except NotReadable as reason:
        _LOG.info("disk %s: its server is asked for all: %s", job.disk_id, reason)
        return []


def _beside(wheel: Wheel, job: CopyJob, role: str, threads: int, stack: ExitStack) -> Beside:
    beside = Beside(wheel, f"the {role}'s file of disk {job.disk_id}", threads=threads)
    stack.callback(beside.close)
    return beside
