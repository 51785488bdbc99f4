"""The data channel between two workers, over TLS on loopback."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.functional.disks.certificates import certificates
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab

from isthmus.control.errors import Cancelled, StepFailed, Unavailable
from isthmus.migration.disks.channel import serve_channel
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import Channel, CopyJob, CopyReport, Reads, Side
from isthmus.migration.disks.wire import context

SIZE = 64 * MIB + 512


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


class Far:
    """A far worker: its thread, its port, how it ended."""

    def __init__(self) -> None:
        self.port = 0
        self.failure: Exception | None = None
        self.report = Recorder()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: None)

    def start(self, certificates_of: Path, destination: Side) -> None:
        def serve() -> None:
            try:
                serve_channel(
                    "127.0.0.1",
                    0,
                    certificates_of,
                    destination,
                    disk_id="vda",
                    connections=2,
                    report=self.report,
                    listening=self._is_listening,
                )
            except (Cancelled, Unavailable, StepFailed) as error:
                self.failure = error
            finally:
                self._listening.set()

        self._thread = threading.Thread(target=serve)
        self._thread.start()
        assert self._listening.wait(20)

    def _is_listening(self, port: int) -> None:
        self.port = port
        self._listening.set()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def far_worker(pki: Path, destination: Server) -> Iterator[Far]:
    far = Far()
    far.start(pki, Side(destination.uri))
    try:
        yield far
    finally:
        far.report.cancelled.set()
        far.join()


def through(far: Far, job: CopyJob, pki: Path, *, compress: bool = True) -> CopyJob:
    return replace(job, channel=Channel("localhost", far.port, pki, compress))


def copy(job: CopyJob, limit: int = 0) -> CopyReport:
    (report,) = copy_disks([job], bandwidth_limit=limit, connections=2, report=Recorder())
    return report


@pytest.mark.parametrize("compress", [True, False])
def test_a_copy_through_the_channel_is_identical_and_verified(room: Lab, compress: bool) -> None:
    pki = certificates(room.path / "pki")
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE, "qcow2")
    with origin.open("r+b") as disk:
        disk.seek(20 * MIB)
        disk.write(b"compressible " * 200_000)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target, "qcow2")
    with far_worker(pki, destination) as far:
        report = copy(through(far, room.job(source, source, SIZE), pki, compress=compress))
        far.join()
        assert far.failure is None
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_verified == report.bytes_sent > 0


def test_an_increment_by_hash_map_goes_through_the_channel(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    first, second = room.filled("one", SIZE), room.filled("two", SIZE, seed=2)
    target = room.filled("target", SIZE, seed=3)
    destination = room.qemu_nbd(target)
    for origin, point in ((first, "first"), (second, "second")):
        source = room.qemu_nbd(origin, "raw", "-r")
        job = room.job(source, source, SIZE, point=point, reads=Reads.COMPARE, destination_is_zero=False)
        with far_worker(pki, destination) as far:
            copy(through(far, job, pki))
        assert alike(origin, target)


def test_a_lost_sender_comes_back_and_goes_on(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    origin, target = room.filled("source", 160 * MIB, share=0.9), room.disk("target", 160 * MIB)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with far_worker(pki, destination) as far:
        job = through(far, room.job(source, source, 160 * MIB), pki)
        timer = threading.Timer(1.5, source.kill)
        timer.start()
        with pytest.raises(Unavailable, match="source"):
            copy(job, limit=60 * MIB)
        timer.join()
        sent = target.stat().st_blocks * 512
        source.start()
        report = copy(job)
        far.join()
        assert far.failure is None
    assert alike(origin, target)
    assert report.bytes_resumed >= sent - 64 * MIB


def test_a_lost_destination_ends_both_ends(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    origin, target = room.filled("source", SIZE, share=0.9), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with far_worker(pki, destination) as far:
        timer = threading.Timer(0.7, destination.kill)
        timer.start()
        with pytest.raises(Unavailable):
            copy(through(far, room.job(source, source, SIZE), pki), limit=20 * MIB)
        timer.join()
        far.join()
        assert isinstance(far.failure, Unavailable)


def test_a_full_disk_behind_the_channel_is_named(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    origin, target = room.filled("source", 8 * MIB, share=1.0), room.disk("target", 8 * MIB)
    destination = room.nbdkit(
        "--filter=error", "file", f"file={target}", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"
    )
    source = room.qemu_nbd(origin, "raw", "-r")
    with (
        far_worker(pki, destination) as far,
        pytest.raises(StepFailed, match=r"destination is full: disk vda at offset \d+"),
    ):
        copy(through(far, room.job(source, source, 8 * MIB), pki))


def test_strangers_are_refused_on_both_ends_and_the_right_one_is_still_served(room: Lab) -> None:
    ours, theirs = certificates(room.path / "ours"), certificates(room.path / "theirs")
    origin, target = room.filled("source", 8 * MIB), room.disk("target", 8 * MIB)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    job = room.job(source, source, 8 * MIB)
    with far_worker(ours, destination) as far:
        with pytest.raises(Unavailable, match="data channel of disk vda"):
            copy(through(far, job, theirs))
        bare = ssl.create_default_context(cafile=str(ours / "ca-cert.pem"))
        with (
            socket.create_connection(("127.0.0.1", far.port)) as plain,
            bare.wrap_socket(plain, server_hostname="localhost") as stranger,
            pytest.raises(OSError, match="certificate required"),
        ):
            stranger.recv(1)
        copy(through(far, job, ours))
    assert alike(origin, target)


def test_a_sender_that_speaks_nonsense_is_dropped_and_the_next_is_served(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    origin, target = room.filled("source", 8 * MIB), room.disk("target", 8 * MIB)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with far_worker(pki, destination) as far:
        with (
            socket.create_connection(("127.0.0.1", far.port)) as plain,
            context(pki, server=False).wrap_socket(plain, server_hostname="localhost") as babbler,
        ):
            babbler.sendall(b"\xff" * 4096)
            while babbler.recv(4096):
                pass
        copy(through(far, room.job(source, source, 8 * MIB), pki))
    assert alike(origin, target)


def test_damage_on_the_way_is_found_before_it_is_written(room: Lab) -> None:
    """A sender whose hash does not fit its data gets EBADMSG, and nothing is written."""
    pki = certificates(room.path / "pki")
    target = room.disk("target", 8 * MIB)
    with (
        far_worker(pki, room.qemu_nbd(target)) as far,
        socket.create_connection(("127.0.0.1", far.port)) as plain,
        context(pki, server=False).wrap_socket(plain, server_hostname="localhost") as sender,
    ):
        assert len(sender.recv(28)) == 28
        payload = bytes(15) + b"x" * 65536
        header = b"\2\0\0\0" + (7).to_bytes(4, "little") + bytes(8) + (65536).to_bytes(8, "little")
        sender.sendall(header + len(payload).to_bytes(4, "little") + payload)
        answer = sender.recv(28)
    assert (answer[0], answer[4], answer[8]) == (7, 7, 74)
    assert not any(target.read_bytes())
