"""Ports published on the host, with real sockets in real namespaces."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from ipaddress import ip_address

import pytest
from lab.network_space import container_space, in_space, private_space

from isthmus.control.errors import Conflict, NotSupported
from isthmus.networking.attaching.forwarding import Forwards, Inside
from isthmus.networking.binding.namespaces import open_namespace, socket_inside
from isthmus.networking.model import Protocol, PublishedPort

ADDRESS = "10.0.0.5"
LIMIT = 60.0
BIG = b"isthmus" * 300_000


@pytest.fixture
def forwards() -> Iterator[Forwards]:
    with private_space():
        made = Forwards()
        yield made
        for key in ("one", "two"):
            made.replace(key, (), None)


@pytest.fixture
def space(forwards: Forwards) -> Iterator[str]:
    del forwards
    with container_space() as name:
        in_space(name, "ip", "addr", "add", f"{ADDRESS}/32", "dev", "lo")
        yield name


def inside(space: str) -> Inside:
    return Inside(f"/run/netns/{space}", ip_address(ADDRESS))


def bound(space: str, kind: int) -> socket.socket:
    """Return a socket of the namespace on the container's port."""
    path = f"/run/netns/{space}"
    with open_namespace(path) as namespace:
        server = socket_inside(namespace, path, socket.AF_INET, kind)
    server.bind((ADDRESS, 7000))
    return server


@contextmanager
def connected(forwards: Forwards, space: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect to the published port; both ends, the container's last."""
    with bound(space, socket.SOCK_STREAM) as server:
        server.listen()
        forwards.replace("one", [PublishedPort(Protocol.TCP, 7000, 8000)], inside(space))
        with socket.create_connection(("127.0.0.1", 8000), timeout=LIMIT) as client, server.accept()[0] as other:
            yield client, other


def serve(space: str, kind: int) -> socket.socket:
    """Answer one TCP connection with what it said, or each datagram, in the namespace."""
    server = bound(space, kind)

    def answer_tcp() -> None:
        server.listen()
        with closing(server.accept()[0]) as client:
            while data := client.recv(65536):
                client.sendall(data)

    def answer_udp() -> None:
        data, client = server.recvfrom(65536)
        server.sendto(data.upper(), client)

    threading.Thread(target=answer_tcp if kind == socket.SOCK_STREAM else answer_udp, daemon=True).start()
    return server


def _receive(client: socket.socket) -> int:
    client.settimeout(LIMIT)
    count = 0
    while data := client.recv(65536):
        count += len(data)
    return count


def _send(client: socket.socket, what: bytes = BIG) -> None:
    client.sendall(what)
    client.shutdown(socket.SHUT_WR)


def test_a_connection_is_carried_whole_and_both_ways(forwards: Forwards, space: str) -> None:
    with serve(space, socket.SOCK_STREAM):
        forwards.replace("one", [PublishedPort(Protocol.TCP, 7000, 8000)], inside(space))
        with socket.create_connection(("127.0.0.1", 8000), timeout=LIMIT) as client:
            sender = threading.Thread(target=_send, args=(client,))
            sender.start()
            got = b""
            while data := client.recv(65536):
                got += data
            sender.join()
        assert got == BIG


def test_a_side_that_does_not_read_yet_holds_up_nothing_that_it_sends(forwards: Forwards, space: str) -> None:
    # More than all the kernel's buffers on the way hold.
    much = b"isthmus" * (24 * 1024 * 1024 // 7)

    with connected(forwards, space) as (client, other):
        sender = threading.Thread(target=_send, args=(other, much))
        sender.start()
        with ThreadPoolExecutor() as pool:
            arrived = pool.submit(_receive, other)
            _send(client, much)
            returned = _receive(client)
        sender.join()
    assert (arrived.result(), returned) == (len(much), len(much))


def test_an_end_of_one_side_leaves_the_other_way_open(forwards: Forwards, space: str) -> None:
    with connected(forwards, space) as (client, other):
        client.shutdown(socket.SHUT_WR)
        assert _receive(other) == 0
        _send(other, BIG)
        assert _receive(client) == len(BIG)


def test_datagrams_are_carried_and_answered(forwards: Forwards, space: str) -> None:
    with serve(space, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        forwards.replace("one", [PublishedPort(Protocol.UDP, 7000, 8000)], inside(space))
        client.settimeout(LIMIT)
        client.sendto(b"hello", ("127.0.0.1", 8000))
        assert client.recv(100) == b"HELLO"


def test_a_taken_port_is_a_conflict_and_frees_the_others(forwards: Forwards, space: str) -> None:
    with socket.create_server(("127.0.0.1", 8001)):
        wanted = [PublishedPort(Protocol.TCP, 7000, port, ip_address("127.0.0.1")) for port in (8000, 8001)]
        with pytest.raises(Conflict, match="8001/tcp"):
            forwards.replace("one", wanted, inside(space))
    assert not forwards.has("one")
    forwards.replace("two", wanted, inside(space))
    assert forwards.has("two")


def test_what_is_revoked_is_free_at_once(forwards: Forwards, space: str) -> None:
    wanted = [PublishedPort(Protocol.TCP, 7000, 8000)]
    for key in ("one", "two", "one"):
        forwards.replace(key, wanted, inside(space))
        forwards.replace(key, wanted, inside(space))
        forwards.replace(key, (), None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8000), timeout=LIMIT)


def test_a_dead_container_costs_the_client_its_connection_only(forwards: Forwards, space: str) -> None:
    wanted = [PublishedPort(Protocol.TCP, 7000, 8000)]
    forwards.replace("one", wanted, Inside("/run/netns/isthmus-never-was", ip_address(ADDRESS)))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", 8000), timeout=LIMIT) as client:
            assert client.recv(1) == b""


def test_sctp_is_refused_by_name(forwards: Forwards, space: str) -> None:
    with pytest.raises(NotSupported, match="sctp"):
        forwards.replace("one", [PublishedPort(Protocol.SCTP, 7000, 8000)], inside(space))
