"""The middle of a data channel where neither end can connect to the other: both connect to a third worker's door.

The relay joins the two connections of each disk and passes on what comes, both ways. It keeps nothing: what one end has
not taken yet is not read from the other. Journal, hashes and verification are between the ends as without it.
"""

import select
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from isthmus.migration.disks.door import Visit
from isthmus.migration.disks.stopping import Stopping
from isthmus.migration.disks.wire import keep_watch
from isthmus.migration.reporting import Report

_PIECE = 256 << 10
_SENT_AT_ONCE = 64 << 10
_MOST_HELD = 4 << 20
_TURN_SECONDS = 0.5


def relay_disks(sender: Visit, receiver: Visit, disks: int, *, report: Report) -> None:
    """Join the connections of so many disks, until each was closed by one of its ends.

    Raises what `report.check()` raises. How a copy went only its ends know.
    """
    stop = threading.Event()
    shared = Stopping(report, stop)
    waiting: dict[int, ssl.SSLSocket] = {}
    joined: list[Future[None]] = []
    with ThreadPoolExecutor(max(1, disks), thread_name_prefix="relay") as pool:
        try:
            while sum(future.done() for future in joined) < disks:
                report.check()
                for visit in (sender, receiver):
                    come = visit.next(_TURN_SECONDS / 4)
                    if come is None or come[0] >= disks:
                        continue
                    number, connection = come
                    if number not in waiting:
                        waiting[number] = connection
                        continue
                    joined.append(pool.submit(_join, waiting.pop(number), connection, shared))
                    joined[-1].add_done_callback(lambda _: sender.wake())
            for each in joined:
                each.result()  # the report may have stopped one before this loop has asked it
        finally:
            stop.set()
            for connection in waiting.values():
                connection.close()


def _join(one: ssl.SSLSocket, other: ssl.SSLSocket, report: Report) -> None:
    ends = (_End(one), _End(other))
    try:
        while all(end.is_open for end in ends):
            report.check()
            _wait(ends)
            for end, peer in (ends, ends[::-1]):
                peer.held += end.receive(_MOST_HELD - len(peer.held))
                peer.send()
        _let_go(ends, report)
    finally:
        one.close()
        other.close()


def _let_go(ends: Sequence["_End"], report: Report) -> None:
    """One end has closed: give the other what it has not taken yet."""
    for end in ends:
        while end.is_open and end.held:
            report.check()
            _wait([end])
            end.send()


def _wait(ends: Sequence["_End"]) -> None:
    poller = select.poll()
    at_once = False
    for at, end in enumerate(ends):
        has_room = len(ends) > 1 and len(ends[1 - at].held) < _MOST_HELD
        events = (select.POLLIN if has_room else 0) | (select.POLLOUT if end.held else 0)
        poller.register(end.connection.fileno(), events)
        at_once = at_once or (has_room and end.connection.pending() > 0)
    poller.poll(0 if at_once else _TURN_SECONDS * 1000)


class _End:
    """One connection, without blocking, and what is still to be sent on it."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.setblocking(False)
        keep_watch(connection)
        self.connection = connection
        self.is_open = True
        self.held = bytearray()

    def receive(self, room: int) -> bytearray:
        """Return what has come, at most `room` bytes."""
        data = bytearray()
        try:
            # TLS gives a record of 16 KiB at a time.
            while (wanted := min(room, _PIECE) - len(data)) > 0 and self.is_open:
                piece = self.connection.recv(wanted)
                self.is_open = bool(piece)
                data += piece
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return data
        except OSError:
            self.is_open = False
        return data

    def send(self) -> None:
        """Send what can be sent of what is held."""
        try:
            while self.held:
                # The same bytes again after "want write", as TLS asks for: what is held only grows at its end.
                sent = self.connection.send(bytes(self.held[:_SENT_AT_ONCE]))
                del self.held[:sent]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self.is_open = False
            self.held.clear()
