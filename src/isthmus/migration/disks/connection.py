"""NBD connections driven without blocking: a wheel that turns them, and the several connections to one export.

A connection's handshake is moved here; once it is ready a pump (pump.c) moves it, in a thread of its own for each side
of a disk. What that completes is collected and called here, so the engine's Python stays in one thread for each disk.
"""

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from mmap import mmap
from typing import Any, Protocol

import nbd

from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.migration.disks.job import Side
from isthmus.migration.disks.pump import Pump

Done = Callable[[int], None]
StatusDone = Callable[[int, dict[str, list[tuple[int, int]]]], None]

CONNECT_SECONDS = 30.0
STALL_SECONDS = 60.0

# See Export._loosen: once a copy has turned out not to be small. What is written is read back anyway, a little more of
# that is no matter; of a source hardly more should be read than is wanted.
_LOOSEN_AFTER_WRITTEN = 16 << 20
_LOOSEN_AFTER_READ = 128 << 20
_LOOSEN_BYTES = 8 << 20

_LOST = {errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ECONNREFUSED}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A descriptor, the poll(2) events it waits for, and what to call with those that came."""

    descriptor: int
    events: int
    move: Callable[[int], None]


class Turned(Protocol):
    """What a wheel turns: the connections to one server."""

    name: str
    in_flight: int

    def waiting(self) -> Iterable[Waiting]:
        """What its connections wait for now."""


class Wheel:
    """Turns all connections of one disk's copy; one thread. `check` is called in each turn and may raise."""

    def __init__(self, check: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._clock = clock
        self._completed: deque[Callable[[], None]] = deque()
        self._moved_at = clock()
        self.turned: list[Turned] = []

    def later(self, call: Callable[[], None]) -> None:
        """Call this in the next turn, outside of libnbd."""
        self._completed.append(call)

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for anything to move, then call what has completed.

        Raises Unavailable when requests have been out for STALL_SECONDS and nothing at all came back.
        """
        self._check()
        if not self._completed:
            self._poll(seconds)
        if self._completed:
            self._moved_at = self._clock()
        for _ in range(len(self._completed)):
            self._completed.popleft()()
        if not any(each.in_flight for each in self.turned):
            self._moved_at = self._clock()
        elif self._clock() - self._moved_at > STALL_SECONDS:
            stuck = next(each for each in self.turned if each.in_flight)
            raise Unavailable(f"{stuck.name} has not answered for {STALL_SECONDS:.0f} s; the copy goes on when it does")

    def _poll(self, seconds: float) -> None:
        poller = select.poll()
        moves: dict[int, Callable[[int], None]] = {}
        for each in self.turned:
            for waiting in each.waiting():
                poller.register(waiting.descriptor, waiting.events)
                moves[waiting.descriptor] = waiting.move
        for descriptor, events in poller.poll(seconds * 1000):
            moves[descriptor](events)


class Export:
    """One side of a disk's copy: the connections to one NBD export, and its commands."""

    def __init__(self, wheel: Wheel, side: Side, *, disk_id: str, role: str, contexts: Sequence[str] = ()) -> None:
        self._wheel = wheel
        self._side = side
        self._role = role
        self._disk = disk_id
        self._contexts = contexts
        self._ready: list[Any] = []
        self._joining: list[Any] = []
        self._pump = Pump()
        self._until_loosened = 0
        self.in_flight = 0
        self.name = f"the {role} of disk {disk_id}"
        wheel.turned.append(self)

    def open(self, connections: int, *, writes: bool) -> None:
        """Connect; further connections join while the copy runs, if the server is one that can have several.

        A server that allows fewer clients than it says leaves the others waiting; nothing depends on them.
        """
        first = self._start()
        deadline = time.monotonic() + CONNECT_SECONDS
        while not first.aio_is_ready():
            self._wheel.turn(0.2)
            if first.aio_is_dead() or first.aio_is_closed() or time.monotonic() > deadline:
                raise Unavailable(f"{self.name} does not answer; check that its NBD server runs")
        self._admit(first)
        self._until_loosened = _LOOSEN_AFTER_WRITTEN if writes else _LOOSEN_AFTER_READ
        if connections > 1 and (first.can_multi_conn() or not writes):
            for _ in range(connections - 1):
                self._start()

    def waiting(self) -> Iterable[Waiting]:
        """What the pump has completed, and what each handshake waits for."""
        yield Waiting(self._pump.fileno(), select.POLLIN, self._collect)
        for handle in self._joining:
            direction = handle.aio_get_direction()
            reads = select.POLLIN if direction & nbd.AIO_DIRECTION_READ else 0
            writes = select.POLLOUT if direction & nbd.AIO_DIRECTION_WRITE else 0
            yield Waiting(handle.aio_get_fd(), reads | writes, partial(self._join, handle, direction))

    def _collect(self, _events: int) -> None:
        """Take what the pump has completed; Unavailable if a connection has died."""
        for done, code, found in self._pump.completed():
            self.in_flight -= 1
            self._wheel.later(partial(done, code, found))
        if reason := self._pump.failure():
            raise self._lost(reason)

    def _join(self, handle: Any, direction: int, events: int) -> None:
        """Let one handshake go on; Unavailable if it dies and no other connection is there."""
        wrong = ""
        try:
            if direction & nbd.AIO_DIRECTION_READ and events & ~select.POLLOUT:
                handle.aio_notify_read()
            elif direction & nbd.AIO_DIRECTION_WRITE:
                handle.aio_notify_write()
        except nbd.Error as error:
            wrong = error.string
        if handle.aio_is_dead() or handle.aio_is_closed():
            if not self._ready:
                raise self._lost(wrong)
            self._joining.remove(handle)
        elif handle.aio_is_ready():
            self._admit(handle)

    @property
    def size(self) -> int:
        """Bytes, as the server tells."""
        return int(self._ready[0].get_size())

    def offers(self, context: str) -> bool:
        """Whether the server answers block status for this meta context."""
        return bool(self._ready[0].can_meta_context(context))

    def can_zero(self) -> bool:
        """Whether the server has NBD_CMD_WRITE_ZEROES."""
        return bool(self._ready[0].can_zero())

    def can_flush(self) -> bool:
        """Whether the server has NBD_CMD_FLUSH; one that has not keeps nothing back."""
        return bool(self._ready[0].can_flush())

    def read(self, offset: int, into: memoryview, done: Done) -> None:
        """Fill `into`, which must stay as it is until `done`."""
        self._pump.read(offset, into, self._sent(done))
        self._count_moved(len(into))

    def write(self, offset: int, data: memoryview, done: Done) -> None:
        """Write `data`, which must stay as it is until `done`."""
        self._pump.write(offset, data, self._sent(done))
        self._count_moved(len(data))

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Make a part read as zeros; the server may make a hole of it."""
        self._pump.zero(offset, length, self._sent(done))

    def flush(self, done: Done) -> None:
        """Bring to stable storage all writes that were completed before; holds for all connections (NBD multi-conn)."""
        self._pump.flush(self._sent(done))

    def status(self, offset: int, length: int, done: StatusDone) -> None:
        """Ask for extents; `done` gets for each context a list of (length, flags) from `offset`, perhaps too short."""
        self.in_flight += 1
        self._pump.status(offset, length, done)

    def later(self, call: Callable[[], None]) -> None:
        """Call this in the wheel's next turn."""
        self._wheel.later(call)

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for a command that failed."""
        return failure_of(code, disk_id=self._disk, role=self._role, offset=offset)

    def close(self) -> None:
        """Drop the connections at once, whoever still holds a handle: an error's traceback may."""
        self._pump.stop()
        for handle in (*self._ready, *self._joining):
            if handle.aio_is_ready():
                handle.aio_disconnect()
            if not (handle.aio_is_dead() or handle.aio_is_closed()):
                _hang_up(handle.aio_get_fd())
        self._ready.clear()
        self._joining.clear()
        if self in self._wheel.turned:
            self._wheel.turned.remove(self)

    def _start(self) -> Any:
        handle = nbd.NBD()
        handle.set_pread_initialize(False)
        for context in self._contexts:
            handle.add_meta_context(context)
        if self._side.uri.startswith("nbds"):
            handle.set_tls(nbd.TLS_REQUIRE)
            handle.set_tls_verify_peer(True)
        if self._side.tls_certificates is not None:
            handle.set_tls_certificates(str(self._side.tls_certificates))
        try:
            handle.aio_connect_uri(self._side.uri)
        except nbd.Error as error:
            raise Unavailable(f"{self.name} cannot be reached: {error.string}") from None
        self._joining.append(handle)
        return handle

    def _admit(self, handle: Any) -> None:
        if handle in self._joining:
            self._joining.remove(handle)
            self._ready.append(handle)
            self._pump.add(handle)

    def _count_moved(self, size: int) -> None:
        if self._until_loosened > 0:
            self._until_loosened -= size
            if self._until_loosened <= 0:
                self._loosen()

    def _loosen(self) -> None:
        """One large read whose data nobody wants, to spare the server page faults.

        A server such as QEMU's allocates each request's buffer with malloc. The GNU C library gives freed memory back
        to the system, to be faulted in page by page by the next request, beyond twice the largest block that it has
        seen freed (mallopt(3), M_MMAP_THRESHOLD). After one large block it keeps what requests need.
        """
        length = min(_LOOSEN_BYTES, int(self._ready[0].get_block_size(nbd.SIZE_MAXIMUM)))
        if 0 < length <= self.size:
            # Should it fail, the reads that count tell.
            self._pump.read(0, memoryview(mmap(-1, length)), self._sent(lambda _code: None))

    def _lost(self, reason: str) -> Unavailable:
        because = f": {reason}" if reason else ""
        return Unavailable(f"the connection to {self.name} was lost{because}; the copy goes on when it is back")

    def _sent(self, done: Done) -> StatusDone:
        """`done` as what a pump gives back; counts the request."""
        self.in_flight += 1
        return lambda code, _found: done(code)


def _hang_up(descriptor: int) -> None:
    """End a connection that libnbd owns and that an error's traceback may keep open.

    What the server has sent is taken from the socket: QEMU's server, when it is to end, spins for ever on a socket that
    is shut down while its answers lie unread in it.
    """
    with socket.socket(fileno=os.dup(descriptor)) as connection, suppress(OSError):
        # OSError: it is not connected yet, or no longer; or nothing is left to read.
        connection.shutdown(socket.SHUT_RDWR)
        while connection.recv(1 << 20, socket.MSG_DONTWAIT):
            pass


def failure_of(code: int, *, disk_id: str, role: str, offset: int) -> IsthmusError:
    """The error for a command on a disk's source or destination that ended with this errno."""
    where = f"disk {disk_id} at offset {offset}"
    if code in _LOST:
        return Unavailable(f"the connection to the {role} of disk {disk_id} was lost; the copy goes on when it is back")
    if code in _FULL:
        return StepFailed(
            f"destination is full: {where}; make space in the destination's storage and run the execution again"
        )
    act = "read" if role == "source" else "written"
    return StepFailed(f"{where}: the {role} cannot be {act} ({os.strerror(code)}); check that storage and run it again")
