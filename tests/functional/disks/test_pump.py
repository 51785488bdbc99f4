"""The native pump alone, on real servers."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbd
import pytest
from tests.functional.disks.servers import MIB, Lab, Server, lab

from isthmus.migration.disks.pump import Pump


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def connected(server: Server, *contexts: str) -> Any:
    handle = nbd.NBD()
    for context in contexts:
        handle.add_meta_context(context)
    handle.connect_uri(server.uri)
    return handle


def pumping(server: Server, connections: int = 1) -> Pump:
    pump = Pump()
    for _ in range(connections):
        pump.add(connected(server, "base:allocation"))
    return pump


def collect(pump: Pump, wanted: int) -> list[tuple[Any, int, dict[str, list[tuple[int, int]]]]]:
    found: list[tuple[Any, int, dict[str, list[tuple[int, int]]]]] = []
    deadline = time.monotonic() + 60
    while len(found) < wanted and not pump.failure():
        assert time.monotonic() < deadline
        if select.select([pump], [], [], 1)[0]:
            found += pump.completed()
    return found


@pytest.mark.parametrize("connections", [1, 4])
def test_many_requests_at_once_each_come_back_with_their_own_data(room: Lab, connections: int) -> None:
    origin = room.filled("disk", 16 * MIB, share=1.0)
    pump = pumping(room.qemu_nbd(origin, "raw", "-r"), connections)
    step = 100_352
    buffers = {offset: bytearray(step) for offset in range(0, 16 * MIB - step, step)}
    for offset, buffer in buffers.items():
        pump.read(offset, buffer, offset)
    assert {(token, code) for token, code, _ in collect(pump, len(buffers))} == {(offset, 0) for offset in buffers}
    pump.stop()
    content = origin.read_bytes()
    assert all(content[offset : offset + step] == buffer for offset, buffer in buffers.items())


def test_what_is_written_zeroed_and_flushed_is_in_the_file_and_in_the_extents(room: Lab) -> None:
    target = room.path / "disk"
    target.write_bytes(b"")
    os.truncate(target, 4 * MIB)
    pump = pumping(room.qemu_nbd(target))
    pump.write(MIB, b"x" * MIB, "write")
    collect(pump, 1)
    pump.zero(MIB, 65536, "zero")
    collect(pump, 1)
    pump.flush("flush")
    assert collect(pump, 1) == [("flush", 0, {})]
    pump.status(0, 4 * MIB, "status")
    (answer,) = collect(pump, 1)
    assert answer[:2] == ("status", 0)
    assert [(length, flags & 2) for length, flags in answer[2]["base:allocation"]] == [
        (MIB + 65536, 2),
        (MIB - 65536, 0),
        (2 * MIB, 2),
    ]
    pump.stop()
    assert target.read_bytes()[MIB + 65536 : 2 * MIB] == b"x" * (MIB - 65536)


def test_a_servers_error_comes_back_as_its_errno(room: Lab) -> None:
    disk = room.disk("disk", MIB)
    pump = pumping(room.nbdkit("--filter=error", "file", f"file={disk}", "error-pread=EIO", "error-pread-rate=1"))
    pump.read(0, bytearray(4096), "token")
    assert collect(pump, 1) == [("token", 5, {})]
    pump.stop()


def test_a_request_beyond_the_disk_is_refused_and_said(room: Lab) -> None:
    pump = pumping(room.qemu_nbd(room.disk("disk", MIB)))
    pump.read(MIB, bytearray(4096), "token")
    assert [code for _, code, _ in collect(pump, 1)] != [0]
    pump.stop()


def test_a_killed_server_is_a_failure_and_the_thread_ends(room: Lab) -> None:
    disk = room.disk("disk", MIB)
    server = room.nbdkit("--filter=delay", "file", f"file={disk}", "rdelay=60")
    pump = pumping(server, 2)
    pump.read(0, bytearray(4096), "token")
    server.kill()
    collect(pump, 2)
    assert pump.failure()
    pump.stop()


def test_stopping_with_requests_under_way_drops_them_and_their_buffers(room: Lab) -> None:
    disk = room.disk("disk", MIB)
    pump = pumping(room.nbdkit("--filter=delay", "file", f"file={disk}", "rdelay=60", "wdelay=60"), 2)
    buffer = bytearray(4096)
    for _ in range(50):
        pump.read(0, buffer, "read")
        pump.write(0, buffer, "write")
    began = time.monotonic()
    pump.stop()
    pump.stop()
    assert time.monotonic() - began < 30
    buffer.append(0)  # a buffer that somebody still holds could not grow
    assert pump.completed() == []
    with pytest.raises(ValueError, match="stopped"):
        pump.read(0, buffer, "late")


def test_a_pump_that_is_forgotten_ends_its_thread(room: Lab) -> None:
    pump = pumping(room.qemu_nbd(room.disk("disk", MIB)))
    threads = Path("/proc/self/task")
    before = len(list(threads.iterdir()))
    del pump
    assert len(list(threads.iterdir())) == before - 1


def test_wrong_use_is_refused(room: Lab) -> None:
    pump = Pump()
    with pytest.raises(ValueError, match="no connection"):
        pump.flush("token")
    with pytest.raises(AttributeError):
        pump.add("a string")
    with pytest.raises(ValueError, match="not ready"):
        pump.add(nbd.NBD())
    pump.add(connected(room.qemu_nbd(room.disk("disk", MIB))))
    with pytest.raises(OverflowError):
        pump.zero(-1, 4096, "token")
    with pytest.raises(BufferError):
        pump.read(0, b"constant", "token")
    pump.stop()
