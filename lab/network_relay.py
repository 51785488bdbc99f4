"""Carries TCP from one host of the playground to the loopback of another, at the same ports of its own loopback.

A control plane of one machine listens on 127.0.0.1 only, and its catalogue says so; with this, the agent of a second
host finds Keystone, Barbican and Neutron at the very addresses.
"""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from lab.network_host import NetworkHost

CHUNK = 1 << 16


class LoopbackRelay:
    """Relays ports of `address` from `here` to `there`, None of which is this very namespace; a context manager."""

    def __init__(
        self, here: NetworkHost | None, there: NetworkHost | None, *ports: int, address: str = "127.0.0.1"
    ) -> None:
        self._there = there
        with _inside(here):
            self._listeners = [(port, socket.create_server((address, port), backlog=64)) for port in ports]

    def __enter__(self) -> Self:
        for port, listener in self._listeners:
            threading.Thread(target=self._accept, args=(port, listener), name="relay", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, port: int, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(port, client), name="relay", daemon=True).start()

    def _serve(self, port: int, client: socket.socket) -> None:
        with client:
            try:
                with _inside(self._there):
                    server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                return  # nobody listens: the client finds its connection closed
            with server:
                back = threading.Thread(target=_pump, args=(server, client), name="relay", daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _inside(host: NetworkHost | None) -> contextlib.AbstractContextManager[None]:
    return host.inside() if host else contextlib.nullcontext()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
