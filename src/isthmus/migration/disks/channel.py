"""The data channel: a copy between two workers, for links where NBD itself is too much talk.

NBD knows no compression, and reading back over the link doubles what crosses it. So a worker next to the destination
receives (`serve_channel`), the worker near the source sends (`ChannelTarget`, a Target like any other, so that the
journal, the hash map and resuming are the same). The receiver checks each chunk's hash before it writes; to verify,
only hashes cross the link.
"""

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import zstandard

from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.migration.disks.connection import Done, Export, Waiting, Wheel, failure_of
from isthmus.migration.disks.extents import chunks_in
from isthmus.migration.disks.job import Channel, Side
from isthmus.migration.disks.state import HASH_BYTES
from isthmus.migration.disks.target import SLOT, Hashes, HashesDone, NbdTarget, hashes_of
from isthmus.migration.disks.wire import COMPRESSED, HANDSHAKE_SECONDS, Frame, Kind, Wire, WireLost, context
from isthmus.migration.reporting import Report

_PAUSE_ABOVE = 32 << 20
_TURN_SECONDS = 0.5
# Short: whoever connects and says nothing holds up the right one.
_ACCEPT_SECONDS = 5.0
# zstd's fastest ordinary level: a link that is worth compressing for is slower than it; a higher one costs much CPU.
_LEVEL = 1
_WORTH_IT = 0.95


class ChannelTarget:
    """The sending end, as the destination of one disk."""

    def __init__(self, wheel: Wheel, connection: ssl.SSLSocket, channel: Channel, disk_id: str) -> None:
        self.name = f"the data channel of disk {disk_id}"
        self.in_flight = 0
        self.size = 0
        self._disk = disk_id
        self._wheel = wheel
        self._number = 0
        self._asked: dict[int, Callable[[int, memoryview], None]] = {}
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL) if channel.compress else None
        self._wire = Wire(connection, self.name, self._received, lambda: True)
        wheel.turned.append(self)

    @classmethod
    def connect(cls, wheel: Wheel, channel: Channel, *, disk_id: str) -> "ChannelTarget":
        """Connect and wait for the greeting; Unavailable if nobody trustworthy answers."""
        tls = context(channel.tls_certificates, server=False)
        try:
            plain = socket.create_connection((channel.host, channel.port), timeout=HANDSHAKE_SECONDS)
            connection = tls.wrap_socket(plain, server_hostname=channel.host)
        except OSError as error:
            raise Unavailable(f"the data channel of disk {disk_id} cannot be reached: {error}") from None
        target = cls(wheel, connection, channel, disk_id)
        deadline = time.monotonic() + HANDSHAKE_SECONDS
        while not target.size:
            wheel.turn(_TURN_SECONDS)
            if time.monotonic() > deadline:
                raise Unavailable(f"{target.name} does not greet; check that its far worker runs")
        return target

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


class _Receiver:
    """The receiving end of one connection, in front of the destination's NBD."""

    def __init__(self, wheel: Wheel, connection: ssl.SSLSocket, target: NbdTarget, size: int) -> None:
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
        if data is None or b"".join(hashes_of(data)) != frame.payload[:proof]:
            self._answer(frame.number, errno.EBADMSG)
            return
        self._held += len(data)
        done = partial(self._have_written, frame.number, len(data))
        self._target.write(frame.offset, data, [], done)

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


def serve_channel(
    address: str,
    port: int,
    certificates: Path,
    destination: Side,
    *,
    disk_id: str,
    connections: int,
    report: Report,
    listening: Callable[[int], None],
) -> None:
    """Receive one disk and write it to `destination`, until its sender says that all is copied.

    Listens on `address` and `port` (0 picks one; `listening` is told which). A sender that is lost may come back: it
    knows from its own state file where to go on. `certificates` has ca-cert.pem, server-cert.pem and server-key.pem.

    Raises Cancelled by `report.check()`, Unavailable if the destination is, StepFailed if the port cannot be had.
    """
    tls = context(certificates, server=True)
    try:
        listener = socket.create_server((address, port))
    except OSError as error:
        raise StepFailed(f"the data channel cannot listen on {address} port {port}: {error.strerror}") from error
    with listener:
        listening(listener.getsockname()[1])
        while True:
            connection = _next_sender(listener, tls, report)
            if connection is not None and _receive_disk(connection, destination, disk_id, connections, report):
                return


def _next_sender(listener: socket.socket, tls: ssl.SSLContext, report: Report) -> ssl.SSLSocket | None:
    report.check()
    if not select.select([listener], [], [], _TURN_SECONDS)[0]:
        return None
    plain, _ = listener.accept()
    plain.settimeout(_ACCEPT_SECONDS)
    try:
        return tls.wrap_socket(plain, server_side=True)
    except OSError:
        # Not one of ours, or gone again: TLS has refused it, the right one may still come.
        plain.close()
        return None


def _receive_disk(connection: ssl.SSLSocket, destination: Side, disk_id: str, connections: int, report: Report) -> bool:
    """Whether the sender has finished; False if it was lost."""
    wheel = Wheel(report.check)
    export = Export(wheel, destination, disk_id=disk_id, role="destination")
    try:
        export.open(connections, writes=True)
        receiver = _Receiver(wheel, connection, NbdTarget(export), export.size)
        try:
            while True:
                wheel.turn(_TURN_SECONDS)
        except WireLost:
            # The sender closes first, also after its goodbye, so that our answer is never lost with the connection.
            return receiver.finished
        finally:
            receiver.close()
    finally:
        export.close()
        connection.close()
