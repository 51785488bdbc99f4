"""Answers that go on for minutes, without a thread for each: one thread of the process writes all of them.

A request is checked and begun by one of the server's threads as any other. If its application leaves a `Subscription`
in the WSGI environment, the connection is then taken from the server (`detaching`, `StreamingWorker`) and given to the
hub, which asks the subscription's feed for news once a second. A stream costs a socket, and the queries of its feed,
which many streams share.

A stream ends when its feed says so, when its reader is gone or does not read, and in any case after `lifetime` seconds:
clients connect again (EventSource does so by itself), and their token is checked anew.
"""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from isthmus.control.errors import Unavailable

LOG = logging.getLogger(__name__)

HUB = "isthmus.hub"
SUBSCRIPTION = "isthmus.subscription"
"""Names in the WSGI environment: the process's `Hub`, and what an application leaves for it."""

TICK_SECONDS = 1.0
BEAT_SECONDS = 15.0
MOST_PENDING_BYTES = 4 << 20
"""A reader that is so much behind is given up; it starts again from the last event that it has."""
NOTIFY_SECONDS = 1.0
BEAT = b": beat\n\n"

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Place:
    """Room for one stream of a hub, until it is given back; without a hub (another server than ours) it is nothing."""

    def __init__(self, back: Callable[[], None] = lambda: None) -> None:
        self._back = back
        self._lock = threading.Lock()
        self._held = True

    def give_back(self) -> None:
        """Make room for another stream; nothing happens the second time."""
        with self._lock:
            held, self._held = self._held, False
        if held:
            self._back()


@dataclass(eq=False)
class Subscription:
    """One reader. `feed` appends what is new to `pending` of each of its subscriptions, and sets `over` at the end.

    `place` is given back when it is done with, however that comes; `wanted` and `memory` are the feed's own.
    """

    feed: Callable[[Sequence["Subscription"]], None]
    place: Place
    wanted: Any
    memory: Any = None
    pending: bytearray = field(default_factory=bytearray)
    over: bool = False


@dataclass(eq=False)
class _Line:
    """A connection of ours. Times count seconds of the hub's clock."""

    socket: socket.socket
    subscription: Subscription
    born: float
    wrote: float


class Hub:
    """All streams of one process, at most `most` of them, an owner (a project) a quarter of that. Thread-safe."""

    def __init__(self, most: int, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._new: list[_Line] = []
        self._owners: dict[str, int] = {}
        self._lines: dict[int, _Line] = {}
        self._selector = selectors.DefaultSelector()
        self._thread: threading.Thread | None = None

    def reserve(self, owner: str) -> Place:
        """Take a place for one more stream; `Unavailable` if there are too many, of all or of one owner."""
        with self._lock:
            mine = self._owners.get(owner, 0)
            if sum(self._owners.values()) >= self._most or mine >= max(1, self._most // 4):
                raise Unavailable("too many event streams are open; close some, or try again later")
            self._owners[owner] = mine + 1
        return Place(partial(self._free, owner))

    def _free(self, owner: str) -> None:
        with self._lock:
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]

    def take(self, taken: socket.socket, subscription: Subscription, begun: bytes) -> None:
        """Go on with an answer whose beginning is `begun`; the socket is the hub's from now on."""
        taken.setblocking(False)
        now = self._clock()
        subscription.pending[:0] = begun
        # At once, not at the next tick; what is wrong with the connection is found out then.
        with suppress(OSError):
            _send(taken, subscription.pending)
        with self._lock:
            self._new.append(_Line(taken, subscription, now, now))
            if self._thread is None:
                self._thread = threading.Thread(target=self._turn, name="streams", daemon=True)
                self._thread.start()

    @property
    def count(self) -> int:
        """How many streams are open."""
        with self._lock:
            return sum(self._owners.values())

    def _turn(self) -> None:
        while True:
            began = self._clock()
            self.tick()
            self._listen(began + TICK_SECONDS)

    def tick(self) -> None:
        """Take in new streams, ask all feeds once, write, and let go of those that have ended."""
        with self._lock:
            new, self._new = self._new, []
        for line in new:
            self._lines[line.socket.fileno()] = line
            self._selector.register(line.socket, selectors.EVENT_READ)
            self._write(line)
        self._ask()
        now = self._clock()
        for line in list(self._lines.values()):
            if not line.subscription.pending and now - line.wrote >= BEAT_SECONDS:
                line.subscription.pending += BEAT
            self._write(line)
            done = line.subscription.over or now - line.born >= self._lifetime
            if done and not line.subscription.pending:
                self._end(line)

    def _ask(self) -> None:
        feeds: dict[Any, list[Subscription]] = {}
        for line in self._lines.values():
            if not line.subscription.over:
                feeds.setdefault(line.subscription.feed, []).append(line.subscription)
        for feed, subscriptions in feeds.items():
            try:
                feed(subscriptions)
            except Exception:
                # The database is away, say: readers keep their place and hear of all that they missed afterwards.
                LOG.exception("a feed of %d streams has nothing to tell now", len(subscriptions))

    def _listen(self, until: float) -> None:
        """Wait for the next tick; a reader that closes its side, or says anything more, is let go."""
        while (left := until - self._clock()) > 0:
            if not self._lines:
                time.sleep(left)
                return
            for key, _ in self._selector.select(left):
                self._end(self._lines[key.fd])

    def _write(self, line: _Line) -> None:
        pending = line.subscription.pending
        if not pending or line.socket.fileno() not in self._lines:
            return
        line.wrote = self._clock()
        try:
            _send(line.socket, pending)
        except BlockingIOError:
            if len(pending) > MOST_PENDING_BYTES:
                self._end(line)
        except OSError:
            self._end(line)

    def _end(self, line: _Line) -> None:
        number = line.socket.fileno()
        if self._lines.pop(number, None) is None:
            return
        # The place is free before the reader sees the end, as it may come back at once.
        line.subscription.place.give_back()
        self._selector.unregister(line.socket)
        with suppress(OSError):
            line.socket.shutdown(socket.SHUT_RDWR)
        line.socket.close()


def _send(connection: socket.socket, pending: bytearray) -> None:
    """Write what the reader takes now and keep the rest. Raises the socket's errors, `BlockingIOError` for a rest."""
    while pending:
        del pending[: connection.send(pending[: 1 << 16])]


def detaching(application: Wsgi, hub: Hub) -> Wsgi:
    """Return the application with its streams given to the hub, where the server is `StreamingWorker`'s."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[HUB] = hub
        head: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
            head[:] = [status, headers]
            return start_response(status, headers, *exception)

        taken = False
        try:
            chunks = application(environ, keep)
            subscription, connection = environ.get(SUBSCRIPTION), environ.get("gunicorn.socket")
            if subscription is None or connection is None or not head[0].startswith("200"):
                return chunks
            hub.take(connection.dup(), subscription, _head(*head) + b"".join(chunks))
            taken = True
        finally:
            if not taken and SUBSCRIPTION in environ:
                environ[SUBSCRIPTION].place.give_back()
        _DETACHED.add(connection)
        # Gunicorn's own word for "this connection is done": nothing is written to it any more.
        raise StopIteration

    return answer


def _head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the answer's head. Its body has no length: it ends with the connection."""
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-length", "connection"}]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in kept), "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Detached:
    """Connections that are the hub's now, until their server has let go of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[int] = set()

    def add(self, connection: Any) -> None:
        """Remember a connection."""
        with self._lock:
            self._held.add(id(connection))

    def pop(self, connection: Any) -> bool:
        """Return whether a connection was remembered, and forget it."""
        with self._lock:
            held = id(connection) in self._held
            self._held.discard(id(connection))
            return held


_DETACHED = _Detached()


class StreamingWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's threaded worker; it lets go of a detached connection without shutting that connection down."""

    _noted_at = 0.0

    def notify(self) -> None:
        """Tell the parent that we live, which asks once in minutes: once a second, and not several times a request.

        It is told by a file's time, and on a disk that is a quarter of what an API needs for a small answer.
        """
        now = time.monotonic()
        if now - self._noted_at >= NOTIFY_SECONDS:
            self._noted_at = now
            super().notify()

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Called by gunicorn when one of its threads is done with a connection."""
        if _DETACHED.pop(conn.sock):
            self.nr_conns -= 1
            conn.sock.close()
            return
        super().finish_request(conn, fs)


def event(kind: str, identity: str, data: str) -> bytes:
    """Return one event as the HTML standard's server-sent events have it; `data` has no line breaks."""
    return f"id: {identity}\nevent: {kind}\ndata: {data}\n\n".encode()


HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""What a stream's answer says to proxies: pass it on as it comes."""
