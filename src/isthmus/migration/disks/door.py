"""Where a worker receives disks: one port for all copies that it receives, open only while there is any.

A sender names in TLS' server name which copy and which disk of it it comes for (`name_of`). So the certificate that it
must show is known before it shows one: that copy's, and no other. A name is no secret, and opens nothing.
"""

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Self

from isthmus.control.errors import InvalidInput, Unavailable
from isthmus.migration.disks.trust import Identity, is_peer, receiving, unnamed

# Whoever connects and says nothing is dropped; so many strangers at once do not keep the right one out for long.
_HANDSHAKE_SECONDS = 5.0
_HANDSHAKES_AT_ONCE = 64
_PAUSE_SECONDS = 0.1
_NAME = re.compile(r"d(\d{1,4})\.([0-9a-f]{32})\.isthmus")
_LISTEN = re.compile(r"(?P<address>.+):(?P<first>\d{1,5})(-(?P<last>\d{1,5}))?")
_LAST_PORT = 65535


def name_of(visit: str, disk: int) -> str:
    """Return the server name by which a sender asks for a disk (its number among the copy's) of a visit (32 hex)."""
    return f"d{disk}.{visit}.isthmus"


@dataclass(frozen=True)
class Listen:
    """An address and a range of ports, of which the first that is free is taken; port 0 lets the system choose."""

    address: str
    first: int
    last: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse `address:port` or `address:port-port`, an IPv6 address in brackets. Raises InvalidInput."""
        found = _LISTEN.fullmatch(text.strip())
        first = int(found["first"]) if found else -1
        last = int(found["last"] or first) if found else -1
        if found is None or not 0 <= first <= last <= _LAST_PORT:
            raise InvalidInput(
                f"[worker] channel_listen = {text}: write address:port or address:port-port, as 0.0.0.0:7670-7679"
            )
        return cls(found["address"].strip("[]"), first, last)

    def open(self) -> socket.socket:
        """Return a listening socket; Unavailable names the address if no port is free."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        reason = ""
        for port in range(self.first, self.last + 1):
            try:
                return socket.create_server((self.address, port), family=family, backlog=_HANDSHAKES_AT_ONCE)
            except OSError as error:
                reason = f"port {port}: {error.strerror or error}"
        raise Unavailable(
            f"the data channel cannot listen on {self.address} ({reason}); correct [worker] channel_listen, or give it "
            "more ports"
        )


class Arrivals:
    """Connections that have come, by the number of the disk that they are for."""

    def __init__(self) -> None:
        self._come: SimpleQueue[tuple[int, ssl.SSLSocket] | None] = SimpleQueue()

    def put(self, disk: int, connection: ssl.SSLSocket) -> None:
        """One has come."""
        self._come.put((disk, connection))

    def next(self, seconds: float) -> tuple[int, ssl.SSLSocket] | None:
        """Wait for a disk's connection; None after `seconds`, or after `wake`."""
        with suppress(Empty):
            return self._come.get(timeout=seconds)
        return None

    def wake(self) -> None:
        """Have `next` return."""
        self._come.put(None)

    def close(self) -> None:
        """Drop what came and was not taken."""
        with suppress(Empty):
            while True:
                if come := self._come.get_nowait():
                    come[1].close()


class Visit(Arrivals):
    """One attempt at a copy, as a door waits for it: each disk's connection once, with the right certificate."""

    def __init__(self, tls: ssl.SSLContext, peer: str) -> None:
        super().__init__()
        self.tls = tls
        self.port = 0
        self._peer = peer
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._closed = False

    def admit(self, disk: int, connection: ssl.SSLSocket) -> bool:
        """Take a connection after its handshake, if it shows the right certificate and is the disk's first."""
        with self._lock:
            if self._closed or disk in self._seen or not is_peer(connection, self._peer):
                return False
            self._seen.add(disk)
            self.put(disk, connection)
            return True

    def close(self) -> None:
        """Take no more, and drop what was not taken."""
        with self._lock:
            self._closed = True
        super().close()


class Door:
    """The one place of a worker where others may connect. Used by many threads."""

    def __init__(self, listen: Listen, address: str | None = None) -> None:
        """`address`: the name by which others reach it, or `name:port` where a port is forwarded to it."""
        self._listen = listen
        self._address = address
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}
        self._listener: socket.socket | None = None
        self._handshakes = threading.Semaphore(_HANDSHAKES_AT_ONCE)

    def address_of(self, visit: Visit) -> tuple[str, int]:
        """Return host and port at which others reach it."""
        if self._address is None:
            anywhere = self._listen.address in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
            return (socket.gethostname() if anywhere else self._listen.address), visit.port
        host, _, port = self._address.rpartition(":")
        if host and port.isdigit() and (host.endswith("]") or ":" not in host):
            return host.strip("[]"), int(port)
        return self._address.strip("[]"), visit.port

    @contextmanager
    def expecting(self, name: str, identity: Identity, peer: str) -> Iterator[Visit]:
        """Let the sender with the certificate `peer` in for the visit of this name, while the context lasts.

        Raises Unavailable if no port can be had, or `peer` is no certificate.
        """
        visit = Visit(receiving(identity, peer), peer)
        with self._lock:
            visit.port = self._opened()
            self._visits[name] = visit
        try:
            yield visit
        finally:
            with self._lock:
                del self._visits[name]
                if not self._visits:
                    self._shut()
            visit.close()

    def _opened(self) -> int:
        if self._listener is None:
            self._listener = self._listen.open()
            threading.Thread(target=self._accept, args=(self._listener,), name="door", daemon=True).start()
        return int(self._listener.getsockname()[1])

    def _shut(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                if self._listener is not listener:
                    return  # shut
                # Whoever came is gone again, or this process has as many files open as it may.
                time.sleep(_PAUSE_SECONDS)
                continue
            if not self._handshakes.acquire(blocking=False):
                plain.close()
                continue
            threading.Thread(target=self._welcome, args=(plain,), name="door", daemon=True).start()

    def _welcome(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(_HANDSHAKE_SECONDS)
            self._shake_hands(plain)
        except OSError:
            # Not one of ours, or gone again: TLS has refused it, the right one may still come.
            plain.close()
        finally:
            self._handshakes.release()

    def _shake_hands(self, plain: socket.socket) -> None:
        meant: list[tuple[Visit, int]] = []

        def named(connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
            found = _NAME.fullmatch(name or "")
            visit = self._visits.get(found[2]) if found else None
            if found is None or visit is None:
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
            meant.append((visit, int(found[1])))
            connection.context = visit.tls
            return None

        tls = unnamed()
        tls.sni_callback = named  # type: ignore[assignment]
        connection = tls.wrap_socket(plain, server_side=True)
        visit, disk = meant[0] if meant else (None, 0)
        if visit is None or not visit.admit(disk, connection):
            connection.close()
