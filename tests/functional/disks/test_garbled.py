"""NBD replies that go wrong in mid-copy: a relay between the copy and a real server spoils what the server says."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab

from isthmus.control.errors import IsthmusError, Unavailable
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, Side

SIZE = 24 * MIB
HANDSHAKE = 2048
"""More than the server says before the first request is answered."""

Spoil = Callable[[int, bytearray], None]


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


@contextmanager
def relay(path: Path, server: Server, spoil: Spoil) -> Iterator[str]:
    """A socket in front of `server`; `spoil` may change what the server says, told how much it has said before."""
    behind = server.uri.partition("socket=")[2]
    held: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def carry(giver: socket.socket, taker: socket.socket, change: Spoil) -> None:
        said = 0
        with suppress(OSError):
            while data := bytearray(giver.recv(1 << 16)):
                change(said, data)
                said += len(data)
                taker.sendall(data)
        for each in (giver, taker):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(behind)
                held.extend((client, far))
                for ends in ((client, far, lambda _said, _data: None), (far, client, spoil)):
                    threads.append(threading.Thread(target=carry, args=ends))
                    threads[-1].start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in held:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for each in held:
                each.close()


def copy(job: CopyJob) -> None:
    copy_disks([job], bandwidth_limit=0, connections=2, report=Recorder())


@pytest.mark.parametrize("seed", range(6))
def test_a_source_that_begins_to_babble_is_unavailable(room: Lab, seed: int) -> None:
    chance = random.Random(seed)
    begins = chance.randrange(HANDSHAKE, 4 * MIB)

    def babble(said: int, data: bytearray) -> None:
        low = max(0, begins - said)
        if low < len(data):
            data[low:] = chance.randbytes(len(data) - low)

    origin, target = room.filled("source", SIZE, share=1.0), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with relay(room.path / "relay", source, babble) as uri, pytest.raises(Unavailable, match="source of disk vda"):
        copy(replace(room.job(source, destination, SIZE), source=Side(uri)))
    copy(room.job(source, destination, SIZE))
    assert alike(origin, target)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_bits_flip_in_a_destinations_answers_no_copy_ends_well_with_wrong_data(room: Lab, seed: int) -> None:
    chance = random.Random(seed)
    flips = sorted(chance.randrange(HANDSHAKE, SIZE) for _ in range(3))

    def flip(said: int, data: bytearray) -> None:
        for at in flips:
            if said <= at < said + len(data):
                data[at - said] ^= 1 << chance.randrange(8)

    origin, target = room.filled("source", SIZE, share=1.0), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with relay(room.path / "relay", destination, flip) as uri:
        try:
            copy(replace(room.job(source, destination, SIZE), destination=Side(uri)))
        except IsthmusError:
            copy(room.job(source, destination, SIZE))
    assert alike(origin, target)
