"""Published ports on the host: what comes in here is sent on from inside the container's own namespace.

Tenants' networks may have the same addresses, and the host is on none of them, so there is nothing that the host could
route or translate to. A socket made in the container's namespace reaches the container whatever its network is, needs
no port of its own in Neutron and no hole in a security group. The price, as with Docker's own proxy: the container
sees its own address as the client's; and while the agent is down nothing is forwarded.
"""

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from isthmus.control.errors import Conflict, NotSupported, Unavailable
from isthmus.networking.binding.contract import NamespaceGone
from isthmus.networking.binding.namespaces import open_namespace, socket_inside
from isthmus.networking.model import IpAddress, Protocol, PublishedPort

log = logging.getLogger(__name__)

_CHUNK = 65536
_MOST_HELD = 4 * _CHUNK
"""Bytes of one direction that wait in the agent for a side that does not read; then its sender is read no more."""
_CONNECT = 10.0
_UDP_IDLE = 60.0
_MOST_CLIENTS = 512
"""TCP connections, or UDP clients, of one published port at once; more are refused until some end."""


@dataclass(frozen=True)
class Inside:
    """Where a published port leads: a namespace's path and the container's address there."""

    netns: str
    address: IpAddress

    def socket(self, kind: int) -> socket.socket:
        """Return a socket of the namespace."""
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        with open_namespace(self.netns) as namespace:
            return socket_inside(namespace, self.netns, family, kind)


class Forward:
    """One published port, from `__init__`, which listens, to `close`."""

    def __init__(self, port: PublishedPort, inside: Inside) -> None:
        self.port = port
        self.inside = inside
        self._closed = threading.Event()
        self._clients = threading.BoundedSemaphore(_MOST_CLIENTS)
        serve = {Protocol.TCP: self._serve_tcp, Protocol.UDP: self._serve_udp}.get(port.protocol)
        if serve is None:
            raise NotSupported(
                f"the host cannot publish {port.protocol} ports; publish TCP or UDP, or by a floating IP"
            )
        self._sockets = _listen(port)
        self._threads = [self._start(serve, each) for each in self._sockets]

    def close(self) -> None:
        """Listen no more; connections that stand are cut."""
        self._closed.set()
        for listener in self._sockets:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _start(self, act: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=act, args=arguments, name=f"forward-{self.port.host_port}", daemon=True)
        thread.start()
        return thread

    def _serve_tcp(self, listener: socket.socket) -> None:
        while not self._closed.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if not self._clients.acquire(blocking=False):
                client.close()
                continue
            self._start(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        try:
            with client, self.inside.socket(socket.SOCK_STREAM) as server:
                server.settimeout(_CONNECT)
                server.connect((str(self.inside.address), self.port.container_port))
                for each in (client, server):
                    each.setblocking(False)
                self._copy(_Way(client, server), _Way(server, client))
        except (OSError, NamespaceGone) as error:
            log.debug("a connection to %s ended: %s", self.port, error)
        finally:
            self._clients.release()

    def _copy(self, *ways: "_Way") -> None:
        """Copy both ways until both sides have ended; an end of one side is passed on."""
        with selectors.DefaultSelector() as selector:
            while not self._closed.is_set() and not all(each.done for each in ways):
                wanted: dict[socket.socket, int] = {}
                for way in ways:
                    for side, event in way.waits_for():
                        wanted[side] = wanted.get(side, 0) | event
                _watch(selector, wanted)
                ready: dict[object, int] = {key.fileobj: events for key, events in selector.select(timeout=1)}
                for way in ways:
                    way.go_on(ready)

    def _serve_udp(self, listener: socket.socket) -> None:
        clients: dict[tuple[Any, ...], socket.socket] = {}
        while not self._closed.is_set():
            try:
                data, client = listener.recvfrom(_CHUNK)
                server = clients.get(client)
                if server is None or server.fileno() < 0:
                    if len(clients) >= _MOST_CLIENTS:
                        clients = {key: value for key, value in clients.items() if value.fileno() >= 0}
                    if len(clients) >= _MOST_CLIENTS:
                        continue
                    server = clients[client] = self.inside.socket(socket.SOCK_DGRAM)
                    server.connect((str(self.inside.address), self.port.container_port))
                    self._start(self._answer_udp, listener, server, client)
                server.send(data)
            except (OSError, NamespaceGone) as error:
                if self._closed.is_set() or listener.fileno() < 0:
                    return
                log.debug("a datagram to %s was lost: %s", self.port, error)

    def _answer_udp(self, listener: socket.socket, server: socket.socket, client: tuple[Any, ...]) -> None:
        server.settimeout(_UDP_IDLE)
        with server, suppress(OSError):
            while not self._closed.is_set():
                listener.sendto(server.recv(_CHUNK), client)


class _Way:
    """One direction of a connection. What one side sent and the other has not taken yet is held, up to a limit.

    The two directions never wait for each other: a side may send all it has before it reads.
    """

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self._source, self._target = source, target
        self._held = bytearray()
        self._ended = False
        self.done = False

    def waits_for(self) -> Iterator[tuple[socket.socket, int]]:
        """Return the sides that this direction goes on with, and by which event."""
        if not self._ended and len(self._held) < _MOST_HELD:
            yield self._source, selectors.EVENT_READ
        if self._held:
            yield self._target, selectors.EVENT_WRITE

    def go_on(self, ready: Mapping[object, int]) -> None:
        """Take and hand on what can be; OSError if a side is lost."""
        if not self._ended and len(self._held) < _MOST_HELD and ready.get(self._source, 0) & selectors.EVENT_READ:
            with suppress(BlockingIOError):
                data = self._source.recv(_CHUNK)
                self._held += data
                self._ended = not data
        if self._held:
            # Also what came just now: most often it is taken at once.
            with suppress(BlockingIOError):
                del self._held[: self._target.send(self._held)]
        if self._ended and not self._held and not self.done:
            self.done = True
            with suppress(OSError):
                self._target.shutdown(socket.SHUT_WR)


def _watch(selector: selectors.BaseSelector, wanted: Mapping[socket.socket, int]) -> None:
    """Have a selector wait for exactly these events."""
    for key in list(selector.get_map().values()):
        if not isinstance(key.fileobj, socket.socket) or wanted.get(key.fileobj) == key.events:
            continue
        if key.fileobj in wanted:
            selector.modify(key.fileobj, wanted[key.fileobj])
        else:
            selector.unregister(key.fileobj)
    known = {key.fileobj for key in selector.get_map().values()}
    for side, events in wanted.items():
        if side not in known:
            selector.register(side, events)


def _listen(port: PublishedPort) -> list[socket.socket]:
    """Return listening sockets, for both families where no address is named."""
    kind = socket.SOCK_STREAM if port.protocol is Protocol.TCP else socket.SOCK_DGRAM
    addresses = [str(port.host_address)] if port.host_address else ["0.0.0.0", "::"]  # noqa: S104 - as `docker run -p`
    made: list[socket.socket] = []
    try:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.socket(family, kind)
            made.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port.host_port))
            if kind == socket.SOCK_STREAM:
                listener.listen(128)
    except OSError as error:
        for each in made:
            each.close()
        raise Conflict(
            f"port {port.host_port}/{port.protocol} of this host cannot be had ({error.strerror}); choose another"
        ) from error
    return made


class Forwards:
    """The published ports of this host, by the name of what they belong to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, list[Forward]] = {}

    def replace(self, key: object, ports: Sequence[PublishedPort], inside: Inside | None) -> None:
        """Have exactly these ports forwarded for a key: all of them, or `Conflict` and none."""
        with self._lock:
            have = self._running.get(key, [])
            if inside is not None and [(each.port, each.inside) for each in have] == [(port, inside) for port in ports]:
                return
            for each in self._running.pop(key, []):
                each.close()
            if inside is None:
                return
            with ExitStack() as undo:
                made: list[Forward] = []
                for port in ports:
                    made.append(self._open(port, inside))
                    undo.callback(made[-1].close)
                undo.pop_all()
            self._running[key] = made

    def _open(self, port: PublishedPort, inside: Inside) -> Forward:
        # A port that was just let go of is free at once; one that is somebody else's stays taken.
        end = time.monotonic() + 1
        while True:
            try:
                return Forward(port, inside)
            except Conflict:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def has(self, key: object) -> bool:
        """Return whether a key's ports are forwarded."""
        with self._lock:
            return key in self._running


def inside_of(netns: str | None, addresses: Sequence[IpAddress]) -> Inside:
    """Return where published ports lead; `Unavailable` if that is not known."""
    if not netns or not addresses:
        raise Unavailable("the container's network namespace is not known; ports are published once it is plugged")
    return Inside(netns, min(addresses, key=lambda each: each.version))
