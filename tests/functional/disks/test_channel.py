"""The data channel between two workers, over TLS on loopback."""

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psutil
import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab

from isthmus.control.errors import Cancelled, StepFailed, Unavailable
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.door import Door, Listen, name_of
from isthmus.migration.disks.job import Channel, CopyJob, CopyReport, Reads, Side
from isthmus.migration.disks.receiving import Incoming, receive_disks
from isthmus.migration.disks.trust import Identity, sending

SIZE = 64 * MIB + 512


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def door() -> Iterator[Door]:
    yield Door(Listen.of("127.0.0.1:0"))
    assert not listening()


def listening() -> set[int]:
    """The TCP ports at which this process waits for others."""
    return {each.laddr.port for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN}


class Far:
    """A far worker's visit: its thread, where it listens, how it ended."""

    def __init__(self, door: Door, destinations: list[Side]) -> None:
        self.visit = uuid.uuid4().hex
        self.ours, self.theirs = Identity.make(), Identity.make()
        self.port = 0
        self.failure: Exception | None = None
        self.report = Recorder()
        self._door = door
        self._incoming = [Incoming(f"vd{chr(97 + number)}", side) for number, side in enumerate(destinations)]
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        assert self._listens.wait(20)

    def channel(self, number: int = 0, *, compress: bool = True) -> Channel:
        """What the sender needs to know."""
        name = name_of(self.visit, number)
        return Channel("127.0.0.1", self.port, name, self.ours, self.theirs.certificate, compress)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            with self._door.expecting(self.visit, self.theirs, self.ours.certificate) as visit:
                self.port = visit.port
                self._listens.set()
                receive_disks(visit, self._incoming, connections=2, report=self.report)
        except (Cancelled, Unavailable, StepFailed) as error:
            self.failure = error
        finally:
            self._listens.set()


@contextmanager
def far_worker(door: Door, *destinations: Server) -> Iterator[Far]:
    far = Far(door, [Side(each.uri) for each in destinations])
    try:
        yield far
    finally:
        far.report.cancelled.set()
        far.join()


def through(far: Far, job: CopyJob, number: int = 0, *, compress: bool = True) -> CopyJob:
    return replace(job, channel=far.channel(number, compress=compress))


def copy(*jobs: CopyJob, limit: int = 0) -> CopyReport:
    return copy_disks(jobs, bandwidth_limit=limit, connections=2, report=Recorder())[0]


@pytest.mark.parametrize("compress", [True, False])
def test_a_copy_through_the_channel_is_identical_and_verified(room: Lab, door: Door, compress: bool) -> None:
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE, "qcow2")
    with origin.open("r+b") as disk:
        disk.seek(20 * MIB)
        disk.write(b"compressible " * 200_000)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target, "qcow2")
    with far_worker(door, destination) as far:
        report = copy(through(far, room.job(source, source, SIZE), compress=compress))
        far.join()
        assert far.failure is None
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_verified == report.bytes_sent > 0


def test_all_disks_of_two_copies_go_through_one_port(room: Lab, door: Door) -> None:
    origins = [room.filled(f"source{number}", 16 * MIB, seed=number) for number in range(3)]
    targets = [room.disk(f"target{number}", 16 * MIB) for number in range(3)]
    sources = [room.qemu_nbd(path, "raw", "-r") for path in origins]
    one, two, other = (room.qemu_nbd(path) for path in targets)
    with far_worker(door, one, two) as far, far_worker(door, other) as another:
        assert listening() == {far.port} == {another.port}
        ways = [through(far, room.job(sources[0], one, 16 * MIB)), through(far, room.job(sources[1], two, 16 * MIB), 1)]
        ways.append(through(another, room.job(sources[2], other, 16 * MIB)))
        copy(*(replace(each, state_file=room.path / f"state{at}") for at, each in enumerate(ways)))
        far.join()
        another.join()
        assert far.failure is another.failure is None
    assert all(alike(origin, target) for origin, target in zip(origins, targets, strict=True))


def test_an_increment_by_hash_map_goes_through_the_channel(room: Lab, door: Door) -> None:
    first, second = room.filled("one", SIZE), room.filled("two", SIZE, seed=2)
    target = room.filled("target", SIZE, seed=3)
    destination = room.qemu_nbd(target)
    for origin, point in ((first, "first"), (second, "second")):
        source = room.qemu_nbd(origin, "raw", "-r")
        job = room.job(source, source, SIZE, point=point, reads=Reads.COMPARE, destination_is_zero=False)
        with far_worker(door, destination) as far:
            copy(through(far, job))
        assert alike(origin, target)


def test_a_lost_sender_comes_back_with_a_visit_of_its_own_and_goes_on(room: Lab, door: Door) -> None:
    origin, target = room.filled("source", 160 * MIB, share=0.9), room.disk("target", 160 * MIB)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    job = room.job(source, source, 160 * MIB)
    with far_worker(door, destination) as far:
        timer = threading.Timer(1.5, source.kill)
        timer.start()
        with pytest.raises(Unavailable, match="source"):
            copy(through(far, job), limit=60 * MIB)
        timer.join()
        far.join()
        assert isinstance(far.failure, Unavailable)
    sent = target.stat().st_blocks * 512
    source.start()
    with far_worker(door, destination) as far:
        report = copy(through(far, job))
        far.join()
        assert far.failure is None
    assert alike(origin, target)
    assert report.bytes_resumed >= sent - 64 * MIB


def test_a_lost_destination_ends_both_ends(room: Lab, door: Door) -> None:
    origin, target = room.filled("source", SIZE, share=0.9), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with far_worker(door, destination) as far:
        timer = threading.Timer(0.7, destination.kill)
        timer.start()
        with pytest.raises(Unavailable):
            copy(through(far, room.job(source, source, SIZE)), limit=20 * MIB)
        timer.join()
        far.join()
        assert isinstance(far.failure, Unavailable)


def test_a_receiver_that_is_told_to_stop_ends_both_ends(room: Lab, door: Door) -> None:
    origin, target = room.filled("source", SIZE, share=0.9), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with far_worker(door, destination) as far:
        timer = threading.Timer(0.7, far.report.cancelled.set)
        timer.start()
        with pytest.raises(Unavailable, match="data channel of disk vda"):
            copy(through(far, room.job(source, source, SIZE)), limit=20 * MIB)
        timer.join()
        far.join()
        assert isinstance(far.failure, Cancelled)


def test_a_full_disk_behind_the_channel_is_named(room: Lab, door: Door) -> None:
    origin, target = room.filled("source", 8 * MIB, share=1.0), room.disk("target", 8 * MIB)
    destination = room.nbdkit(
        "--filter=error", "file", f"file={target}", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"
    )
    source = room.qemu_nbd(origin, "raw", "-r")
    with (
        far_worker(door, destination) as far,
        pytest.raises(StepFailed, match=r"destination is full: disk vda at offset \d+"),
    ):
        copy(through(far, room.job(source, source, 8 * MIB)))


def test_strangers_are_refused_on_both_ends_and_the_right_one_is_still_served(room: Lab, door: Door) -> None:
    origin, target, spare = room.filled("source", 8 * MIB), room.disk("target", 8 * MIB), room.disk("spare", 8 * MIB)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    job = room.job(source, source, 8 * MIB)
    with far_worker(door, destination) as far, far_worker(door, room.qemu_nbd(spare)) as another:
        channel, stranger = far.channel(), Identity.make()
        for wrong in (
            replace(channel, identity=stranger),  # another certificate, and one of a copy beside this one
            replace(channel, identity=another.ours),
            replace(channel, peer=stranger.certificate),
            replace(channel, name=name_of(uuid.uuid4().hex, 0)),
            replace(channel, name="somewhere.example"),
        ):
            with pytest.raises(Unavailable, match="disk vda"):
                copy(replace(job, channel=wrong))
        with socket.create_connection(("127.0.0.1", far.port)) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with suppress(ConnectionResetError):
                while plain.recv(4096):
                    pass
        copy(replace(job, channel=channel))
    assert alike(origin, target)


def test_a_disk_is_taken_once_in_a_visit(room: Lab, door: Door) -> None:
    target = room.disk("target", 8 * MIB)
    with far_worker(door, room.qemu_nbd(target)) as far, connected(far) as first:
        assert len(first.recv(28)) == 28
        with connected(far) as second:
            assert second.recv(28) == b""


def test_nobody_answers_at_a_closed_port_and_it_is_named(room: Lab, door: Door) -> None:
    source = room.qemu_nbd(room.filled("source", 8 * MIB), "raw", "-r")
    with far_worker(door, source) as far:
        pass
    with pytest.raises(Unavailable, match=rf"reached at 127\.0\.0\.1:{far.port}: .*\[worker\] channel_listen"):
        copy(through(far, room.job(source, source, 8 * MIB)))


def test_a_sender_that_speaks_nonsense_is_dropped(room: Lab, door: Door) -> None:
    with far_worker(door, room.qemu_nbd(room.disk("target", 8 * MIB))) as far:
        with connected(far) as babbler:
            babbler.sendall(b"\xff" * 4096)
            while babbler.recv(4096):
                pass
        far.join()
        assert isinstance(far.failure, Unavailable)


def test_damage_on_the_way_is_found_before_it_is_written(room: Lab, door: Door) -> None:
    """A sender whose hash does not fit its data gets EBADMSG, and nothing is written."""
    target = room.disk("target", 8 * MIB)
    with far_worker(door, room.qemu_nbd(target)) as far, connected(far) as sender:
        assert len(sender.recv(28)) == 28
        payload = bytes(15) + b"x" * 65536
        header = b"\2\0\0\0" + (7).to_bytes(4, "little") + bytes(8) + (65536).to_bytes(8, "little")
        sender.sendall(header + len(payload).to_bytes(4, "little") + payload)
        answer = sender.recv(28)
    assert (answer[0], answer[4], answer[8]) == (7, 7, 74)
    assert not any(target.read_bytes())


@contextmanager
def connected(far: Far) -> Iterator[socket.socket]:
    """The right sender's connection, for a test that speaks itself."""
    channel = far.channel()
    with (
        socket.create_connection((channel.host, channel.port)) as plain,
        sending(channel.identity, channel.peer).wrap_socket(plain, server_hostname=channel.name) as connection,
    ):
        yield connection
