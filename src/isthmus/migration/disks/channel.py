"""The data channel: a copy between two workers, for links where NBD itself is too much talk.

NBD knows no compression, and reading back over the link doubles what crosses it. So a worker next to the destination
receives (`receiving`), the worker near the source sends: `ChannelTarget`, a Target like any other, so that the journal,
the hash map and resuming are the same. To verify, only hashes cross the link.
"""

import errno
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial

import zstandard

from isthmus.control.errors import IsthmusError, Unavailable
from isthmus.migration.disks.connecting import connected
from isthmus.migration.disks.connection import Done, Waiting, Wheel, failure_of
from isthmus.migration.disks.extents import chunks_in
from isthmus.migration.disks.job import Accepted, Channel
from isthmus.migration.disks.state import HASH_BYTES
from isthmus.migration.disks.target import Hashes, HashesDone
from isthmus.migration.disks.wire import COMPRESSED, GREETING_SECONDS, Frame, Kind, Wire

_TURN_SECONDS = 0.5
# zstd's fastest ordinary level: a link that is worth compressing for is slower than it; a higher one costs much CPU.
_LEVEL = 1
_WORTH_IT = 0.95


class ChannelTarget:
    """The sending end, as the destination of one disk."""

    def __init__(self, wheel: Wheel, connection: ssl.SSLSocket, disk_id: str, *, compress: bool) -> None:
        self.name = f"the data channel of disk {disk_id}"
        self.in_flight = 0
        self.size = 0
        self._disk = disk_id
        self._wheel = wheel
        self._number = 0
        self._asked: dict[int, Callable[[int, memoryview], None]] = {}
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL) if compress else None
        self._wire = Wire(connection, self.name, self._received, lambda: True)
        wheel.turned.append(self)

    @classmethod
    def connect(cls, wheel: Wheel, channel: Channel | Accepted, *, disk_id: str) -> "ChannelTarget":
        """Connect if need be, and wait for the greeting; Unavailable if the right one does not answer."""
        connection = channel.connection if isinstance(channel, Accepted) else connected(channel, disk_id)
        target = cls(wheel, connection, disk_id, compress=channel.compress)
        try:
            target._await_greeting()
        except BaseException:
            target.close()
            raise
        return target

    def _await_greeting(self) -> None:
        deadline = time.monotonic() + GREETING_SECONDS
        while not self.size:
            self._wheel.turn(_TURN_SECONDS)
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} does not greet; check that the worker at its other end runs")

    def waiting(self) -> Iterable[Waiting]:
        """What the connection waits for."""
        return self._wire.waiting()

    def write(self, offset: int, data: memoryview, hashes: Hashes, done: Done) -> None:
        """Send chunks with their hashes, compressed if that makes them smaller."""
        payload, flags = data, 0
        if self._compressor is not None:
            smaller = self._compressor.compress(data)
            if len(smaller) < len(data) * _WORTH_IT:
                payload, flags = memoryview(smaller), COMPRESSED
        proof = memoryview(b"".join(hashes))
        number = self._ask(lambda code, _: done(code))
        self._wire.send(Kind.WRITE, number, proof, payload, offset=offset, size=len(data), flags=flags)

    def zero(self, offset: int, length: int, done: Done) -> None:
        """Have a part read as zeros."""
        self._wire.send(Kind.ZERO, self._ask(lambda code, _: done(code)), offset=offset, size=length)

    def flush(self, done: Done) -> None:
        """Have the far side flush."""
        self._wire.send(Kind.FLUSH, self._ask(lambda code, _: done(code)))

    def hashes(self, offset: int, length: int, done: HashesDone) -> None:
        """Have the far side read and hash."""

        def answered(code: int, payload: memoryview) -> None:
            if not code and len(payload) != chunks_in(length) * HASH_BYTES:
                raise Unavailable(f"{self.name} answers with {len(payload)} bytes of hashes; check its far worker")
            done(code, [bytes(payload[at : at + HASH_BYTES]) for at in range(0, len(payload), HASH_BYTES)])

        self._wire.send(Kind.HASHES, self._ask(answered), offset=offset, size=length)

    def read_back(self, offset: int, length: int, wanted: Hashes, done: HashesDone) -> None:  # noqa: ARG002
        """Read at the far side."""
        self.hashes(offset, length, done)

    def failure(self, code: int, offset: int) -> IsthmusError:
        """The error for what the far side answered."""
        if code == errno.EBADMSG:
            return Unavailable(f"disk {self._disk} at offset {offset}: damaged on the way; it is sent again later")
        return failure_of(code, disk_id=self._disk, role="destination", offset=offset)

    def say_goodbye(self) -> None:
        """Tell the far side that all is copied, and wait until it knows."""
        self._wire.send(Kind.GOODBYE, self._ask(lambda _code, _payload: None))
        while self.in_flight:
            self._wheel.turn(_TURN_SECONDS)

    def close(self) -> None:
        """Drop the connection."""
        self._wire.close()
        if self in self._wheel.turned:
            self._wheel.turned.remove(self)

    def _ask(self, answered: Callable[[int, memoryview], None]) -> int:
        self._number += 1
        self.in_flight += 1
        self._asked[self._number] = answered
        return self._number

    def _received(self, frame: Frame) -> None:
        if frame.kind == Kind.GREETING:
            self.size = frame.size
            return
        answered = self._asked.pop(frame.number, None)
        if frame.kind != Kind.ANSWER or answered is None:
            raise Unavailable(f"{self.name} answers what was not asked; check what listens there")
        self.in_flight -= 1
        self._wheel.later(partial(answered, frame.offset, frame.payload))
