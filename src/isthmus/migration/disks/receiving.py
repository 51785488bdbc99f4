"""The receiving end of the data channel: disks that a worker at another site sends, written to exports beside this one.

The receiver checks each chunk's hash before it writes; what it is asked to verify it reads where it lies, and only
hashes go back.
"""

import errno
import ssl
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import zstandard

from isthmus.control.errors import Unavailable
from isthmus.migration.disks.connection import Export, Waiting, Wheel
from isthmus.migration.disks.door import Arrivals
from isthmus.migration.disks.extents import chunks_in
from isthmus.migration.disks.job import Side
from isthmus.migration.disks.staged_file import StagedFile
from isthmus.migration.disks.staging import StagingTarget, opened
from isthmus.migration.disks.state import HASH_BYTES
from isthmus.migration.disks.stopping import Stopping
from isthmus.migration.disks.target import SLOT, Hashes, NbdTarget, Target, hashes_of
from isthmus.migration.disks.wire import COMPRESSED, Frame, Kind, Wire, WireLost
from isthmus.migration.reporting import Report

_PAUSE_ABOVE = 32 << 20
_TURN_SECONDS = 0.5


@dataclass(frozen=True)
class Incoming:
    """One disk that is to come, and the export that it is written to, or the files where it is staged."""

    disk_id: str
    destination: Side | StagedFile


def receive_disks(come_in: Arrivals, disks: Sequence[Incoming], *, connections: int, report: Report) -> None:
    """Receive all disks of one visit, as many at once as the sender sends, until it has said of each that it is copied.

    A disk's number is its place in `disks`. The first failure ends all: the sender learns of it as its connections end,
    and comes again with a visit of its own, for it knows from its state files where to go on.

    Raises Unavailable if the sender is lost or a destination is, and what `report.check()` raises.
    """
    stop = threading.Event()
    shared = Stopping(report, stop)
    done: list[Future[None]] = []
    with ThreadPoolExecutor(max(1, len(disks)), thread_name_prefix="receive") as pool:
        try:
            while sum(_is_over(future) for future in done) < len(disks):
                report.check()
                come = come_in.next(_TURN_SECONDS)
                if come is None:
                    continue
                number, connection = come
                if number >= len(disks):
                    connection.close()
                    continue
                future = pool.submit(_receive_disk, connection, disks[number], connections, shared)
                future.add_done_callback(lambda _: come_in.wake())
                done.append(future)
        finally:
            stop.set()


def _is_over(future: Future[None]) -> bool:
    """Whether a disk has been received; raises what ended it otherwise."""
    if future.done():
        future.result()
    return future.done()


def _receive_disk(connection: ssl.SSLSocket, disk: Incoming, connections: int, report: Report) -> None:
    wheel = Wheel(report.check)
    with ExitStack() as stack:
        stack.callback(connection.close)
        target, size = _opened_target(disk, wheel, connections, stack)
        receiver = _Receiver(wheel, connection, target, size)
        stack.callback(receiver.close)
        try:
            while True:
                wheel.turn(_TURN_SECONDS)
        except WireLost:
            # The sender closes first, also after its goodbye, so that our answer is never lost with the connection.
            if not receiver.finished:
                raise Unavailable(f"the sender of disk {disk.disk_id} was lost; it comes again and goes on") from None


def _opened_target(disk: Incoming, wheel: Wheel, connections: int, stack: ExitStack) -> tuple[Target, int]:
    """Where to write to, and its size in bytes."""
    if isinstance(disk.destination, StagedFile):
        staged, beside = stack.enter_context(opened(disk.destination, wheel, f"the staging of disk {disk.disk_id}"))
        return StagingTarget(staged, beside), disk.destination.size
    export = Export(wheel, disk.destination, disk_id=disk.disk_id, role="destination")
    stack.callback(export.close)
    export.open(connections, writes=True)
    return NbdTarget(export), export.size


class _Receiver:
    """The receiving end of one connection, in front of where its disk is written to."""

    def __init__(self, wheel: Wheel, connection: ssl.SSLSocket, target: Target, size: int) -> None:
        self.name = "the data channel's sender"
        self.in_flight = 0
        self.finished = False
        self._size = size
        self._held = 0
        self._target = target
        self._wire = Wire(connection, self.name, self._received, lambda: self._held <= _PAUSE_ABOVE)
        self._decompressor = zstandard.ZstdDecompressor()
        self._wheel = wheel
        wheel.turned.append(self)
        self._wire.send(Kind.GREETING, 0, size=size)

    def waiting(self) -> Iterable[Waiting]:
        """What the connection waits for; nothing more is read while much is being written."""
        return self._wire.waiting()

    def close(self) -> None:
        """Drop the connection."""
        self._wire.close()
        self._wheel.turned.remove(self)

    def _received(self, frame: Frame) -> None:
        number = frame.number
        if frame.kind == Kind.GOODBYE:
            self._answer(number, 0)
            self.finished = True
        elif frame.kind == Kind.FLUSH:
            self._target.flush(partial(self._answer, number))
        elif frame.offset + frame.size > self._size or not frame.size:
            self._answer(number, errno.EINVAL)
        elif frame.kind == Kind.WRITE:
            self._write(frame)
        elif frame.kind == Kind.ZERO:
            self._target.zero(frame.offset, frame.size, partial(self._answer, number))
        elif frame.kind == Kind.HASHES and frame.size <= SLOT:
            self._target.hashes(frame.offset, frame.size, partial(self._answer_hashes, number))
        else:
            self._answer(number, errno.EINVAL)

    def _write(self, frame: Frame) -> None:
        proof = chunks_in(frame.size) * HASH_BYTES
        data = self._unpacked(frame, frame.payload[proof:]) if frame.size <= SLOT else None
        hashes = hashes_of(data) if data is not None else []
        if data is None or b"".join(hashes) != frame.payload[:proof]:
            self._answer(frame.number, errno.EBADMSG)
            return
        self._held += len(data)
        done = partial(self._have_written, frame.number, len(data))
        self._target.write(frame.offset, data, hashes, done)

    def _unpacked(self, frame: Frame, payload: memoryview) -> memoryview | None:
        if frame.flags & COMPRESSED:
            try:
                if zstandard.frame_content_size(payload) != frame.size:
                    return None
                payload = memoryview(self._decompressor.decompress(payload))
            except zstandard.ZstdError:
                return None
        return payload if len(payload) == frame.size else None

    def _have_written(self, number: int, length: int, code: int) -> None:
        self._held -= length
        self._answer(number, code)

    def _answer(self, number: int, code: int) -> None:
        self._wire.send(Kind.ANSWER, number, offset=code)

    def _answer_hashes(self, number: int, code: int, found: Hashes) -> None:
        self._wire.send(Kind.ANSWER, number, memoryview(b"".join(found)), offset=code)
