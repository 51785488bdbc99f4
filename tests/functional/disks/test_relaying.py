"""The data channel by way of a relay, to which both ends connect, over TLS on loopback."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab

from isthmus.control.errors import Cancelled, Unavailable
from isthmus.migration.disks.connecting import connected
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.door import Arrivals, Door, Listen, name_of
from isthmus.migration.disks.job import Channel, CopyJob, Side
from isthmus.migration.disks.receiving import Incoming, receive_disks
from isthmus.migration.disks.relaying import relay_disks
from isthmus.migration.disks.trust import Identity


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


class Relayed:
    """A relay and a receiver that has connected to it, in threads; how each has ended."""

    def __init__(self, *destinations: Server) -> None:
        self.sender, self.receiver, self.relay = (Identity.make() for _ in range(3))
        self.visit, self._comes_as = uuid.uuid4().hex, uuid.uuid4().hex
        self.port = 0
        self.ended: dict[str, Exception | None] = {}
        self.relaying, self.receiving = Recorder(), Recorder()
        self._incoming = [Incoming(f"vd{n}", Side(each.uri)) for n, each in enumerate(destinations)]
        self._open = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._relay, self._receive)]
        for thread in self._threads:
            thread.start()
        assert self._open.wait(20)

    def through(self, job: CopyJob, number: int = 0) -> CopyJob:
        name = name_of(self.visit, number)
        return replace(job, channel=Channel("127.0.0.1", self.port, name, self.sender, self.relay.certificate))

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _relay(self) -> None:
        door, ours = Door(Listen.of("127.0.0.1:0")), self.relay
        with (
            door.expecting(self.visit, ours, self.sender.certificate) as one,
            door.expecting(self._comes_as, ours, self.receiver.certificate) as two,
        ):
            self.port = one.port
            self._open.set()
            self._note("relay", lambda: relay_disks(one, two, len(self._incoming), report=self.relaying))

    def _receive(self) -> None:
        assert self._open.wait(20)
        arrivals = Arrivals()
        for number, disk in enumerate(self._incoming):
            name = name_of(self._comes_as, number)
            channel = Channel("127.0.0.1", self.port, name, self.receiver, self.relay.certificate)
            arrivals.put(number, connected(channel, disk.disk_id))
        self._note("receiver", lambda: receive_disks(arrivals, self._incoming, connections=2, report=self.receiving))

    def _note(self, who: str, work: object) -> None:
        assert callable(work)
        try:
            work()
            self.ended[who] = None
        except (Cancelled, Unavailable) as error:
            self.ended[who] = error


@contextmanager
def relayed(*destinations: Server) -> Iterator[Relayed]:
    made = Relayed(*destinations)
    try:
        yield made
    finally:
        made.relaying.cancelled.set()
        made.receiving.cancelled.set()
        made.join()


def test_disks_that_a_relay_passes_on_are_identical_and_verified(room: Lab) -> None:
    origins = [room.filled(f"source{number}", 48 * MIB, seed=number) for number in range(2)]
    targets = [room.disk(f"target{number}", 48 * MIB) for number in range(2)]
    sources = [room.qemu_nbd(path, "raw", "-r") for path in origins]
    destinations = [room.qemu_nbd(path) for path in targets]
    with relayed(*destinations) as way:
        jobs = [
            way.through(room.job(source, source, 48 * MIB, state_file=room.path / f"state{number}"), number)
            for number, source in enumerate(sources)
        ]
        reports = copy_disks(jobs, bandwidth_limit=0, connections=2, report=Recorder())
        way.join()
        assert way.ended == {"relay": None, "receiver": None}
    assert all(each.bytes_verified == each.bytes_sent > 0 for each in reports)
    assert all(alike(origin, target) for origin, target in zip(origins, targets, strict=True))


def test_a_relay_that_stops_ends_both_ends(room: Lab) -> None:
    origin, target = room.filled("source", 64 * MIB, share=0.9), room.disk("target", 64 * MIB)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    with relayed(destination) as way:
        timer = threading.Timer(0.7, way.relaying.cancelled.set)
        timer.start()
        with pytest.raises(Unavailable, match="data channel of disk vda"):
            copy_disks(
                [way.through(room.job(source, source, 64 * MIB))],
                bandwidth_limit=20 * MIB,
                connections=2,
                report=Recorder(),
            )
        timer.join()
        way.join()
        assert isinstance(way.ended["relay"], Cancelled)
        assert isinstance(way.ended["receiver"], Unavailable)
