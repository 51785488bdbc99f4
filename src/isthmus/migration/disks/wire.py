"""Frames over one TLS connection, without blocking: what both ends of a data channel speak.

A frame is a header of 28 bytes (little endian) and a payload:

    kind u8 | flags u8 | nothing u16 | number u32 | offset u64 | size u64 | payload bytes u32

An answer carries its question's number, and in `offset` 0 or an errno. See `trust` for its TLS.
"""

import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from isthmus.control.errors import Unavailable
from isthmus.migration.disks.connection import Waiting

GREETING_SECONDS = 30.0
# A peer whose machine or link is gone says nothing: the system gives the connection up after so long.
SILENT_SECONDS = 30
_PROBE_SECONDS = 10
COMPRESSED = 0x1
# A slot of data, its hashes, and room to spare: nobody makes us keep more.
MAX_PAYLOAD = (1 << 20) + (1 << 16)

_HEADER = struct.Struct("<BBHIQQI")


class Kind(IntEnum):
    """What a frame is."""

    GREETING = 1  # receiver to sender, first of all; size: the destination's bytes
    WRITE = 2  # payload: the chunks' hashes, then their data
    ZERO = 3
    FLUSH = 4
    HASHES = 5  # the answer's payload: the chunks' hashes
    GOODBYE = 6
    ANSWER = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as received."""

    kind: int
    flags: int
    number: int
    offset: int
    size: int
    payload: memoryview


def keep_watch(connection: socket.socket) -> None:
    """Have the system give a connection up whose other end is silent, and send at once what is to be sent."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class WireLost(Unavailable):
    """The other end is gone, or speaks nonsense."""


class Wire:
    """One connection after its TLS handshake; `may_receive` holds back further frames. Raises WireLost."""

    def __init__(
        self, connection: ssl.SSLSocket, name: str, received: Callable[[Frame], None], may_receive: Callable[[], bool]
    ) -> None:
        connection.setblocking(False)
        keep_watch(connection)
        self._connection = connection
        self._name = name
        self._received = received
        self._may_receive = may_receive
        self._out: deque[memoryview] = deque()
        self._header = bytearray(_HEADER.size)
        self._filling = memoryview(self._header)
        self._payload: bytearray | None = None

    def send(
        self, kind: Kind, number: int, *payload: memoryview, offset: int = 0, size: int = 0, flags: int = 0
    ) -> None:
        """Queue a frame. The payload stays as it is until the answer."""
        length = sum(len(part) for part in payload)
        self._out.append(memoryview(_HEADER.pack(kind, flags, 0, number, offset, size, length)))
        self._out.extend(part for part in payload if len(part))

    def waiting(self) -> Iterable[Waiting]:
        """What the connection waits for."""
        events = select.POLLOUT if self._out else 0
        if self._may_receive():
            # What TLS has taken from the socket already would not wake poll(2): a writable socket does.
            events |= select.POLLIN | (select.POLLOUT if self._connection.pending() else 0)
        yield Waiting(self._connection.fileno(), events, self.move)

    def move(self, _events: int) -> None:
        """Send and receive what can be."""
        try:
            self._send_queued()
            while self._may_receive():
                self._receive()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise WireLost(f"the connection to {self._name} was lost: {error}; the copy goes on later") from None

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()

    def _send_queued(self) -> None:
        try:
            while self._out:
                sent = self._connection.send(self._out[0])
                if sent == len(self._out[0]):
                    self._out.popleft()
                else:
                    self._out[0] = self._out[0][sent:]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def _receive(self) -> None:
        got = self._connection.recv_into(self._filling)
        if not got:
            raise WireLost(f"the connection to {self._name} was closed; the copy goes on when it is back")
        self._filling = self._filling[got:]
        if len(self._filling):
            return
        kind, flags, _, number, offset, size, length = _HEADER.unpack(self._header)
        if self._payload is None and length:
            if length > MAX_PAYLOAD:
                raise WireLost(f"{self._name} speaks nonsense: a frame of {length} bytes; check what listens there")
            self._payload = bytearray(length)
            self._filling = memoryview(self._payload)
            return
        payload, self._payload = memoryview(self._payload or b""), None
        self._filling = memoryview(self._header)
        self._received(Frame(kind, flags, number, offset, size, payload))
