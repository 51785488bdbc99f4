"""Disks that are stored between two legs: over TLS on loopback into an area, and from there to another server."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab, run

from isthmus.control.errors import Cancelled, StepFailed, Unavailable
from isthmus.migration.disks.connecting import connected
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.door import Arrivals, Door, Listen, name_of
from isthmus.migration.disks.job import Accepted, Channel, CopyJob, CopyReport, Reads, Side
from isthmus.migration.disks.receiving import Incoming, receive_disks
from isthmus.migration.disks.staged_file import StagedFile
from isthmus.migration.disks.staging import Area, names, remove, room_for
from isthmus.migration.disks.trust import Identity

SIZE = 48 * MIB + 512
NAME = "6e9f3a52-95d4-4d1b-9d8e-0a4d7f2f7a11"


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def area_of(room: Lab, *sizes: int) -> Area:
    staging = room.path / "staging"
    staging.mkdir(exist_ok=True)
    return Area.prepare(staging / "disks", NAME, sizes or (SIZE,), "worker hub", lambda: uuid.uuid4().hex)


def copy(job: CopyJob, limit: int = 0) -> CopyReport:
    return copy_disks([job], bandwidth_limit=limit, connections=2, report=Recorder())[0]


@contextmanager
def receiver(work: Callable[[Recorder], None]) -> Iterator[list[Exception]]:
    """The other end of a leg, in a thread; what it failed with."""
    failed: list[Exception] = []
    report = Recorder()

    def run() -> None:
        try:
            work(report)
        except (Cancelled, Unavailable, StepFailed) as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failed
        thread.join(20)
    finally:
        report.cancelled.set()
        thread.join(20)
        assert not thread.is_alive()


def first_leg(job: CopyJob, area: Area, limit: int = 0) -> CopyReport:
    ours, theirs, visit = Identity.make(), Identity.make(), uuid.uuid4().hex
    with Door(Listen.of("127.0.0.1:0")).expecting(visit, theirs, ours.certificate) as arrivals:
        channel = Channel("127.0.0.1", arrivals.port, name_of(visit, 0), ours, theirs.certificate)
        incoming = [Incoming("vda", area.files[0])]
        with receiver(lambda report: receive_disks(arrivals, incoming, connections=1, report=report)) as failed:
            done = copy(replace(job, channel=channel), limit)
        assert failed == []
        return done


def second_leg(area: Area, destination: Server, limit: int = 0) -> CopyReport:
    """The receiver connects to the door of the sender."""
    ours, theirs, visit = Identity.make(), Identity.make(), uuid.uuid4().hex
    file, incoming = area.files[0], [Incoming("vda", Side(destination.uri))]
    job = CopyJob("vda", Side(""), Side(""), file.size, Reads.ALLOCATION, file.journal, area.identity, staged=file)
    with Door(Listen.of("127.0.0.1:0")).expecting(visit, ours, theirs.certificate) as door:

        def receive(report: Recorder) -> None:
            channel = Channel("127.0.0.1", door.port, name_of(visit, 0), theirs, ours.certificate)
            arrivals = Arrivals()
            arrivals.put(0, connected(channel, "vda"))
            receive_disks(arrivals, incoming, connections=2, report=report)

        with receiver(receive):
            come = door.next(20)
            assert come is not None
            with come[1] as connection:
                return copy(replace(job, channel=Accepted(connection)), limit)


def spoil(file: StagedFile, offset: int) -> None:
    with file.data.open("r+b") as data:
        data.seek(offset)
        byte = data.read(1)
        data.seek(offset)
        data.write(bytes((byte[0] ^ 1,)))


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes at an empty directory."""
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "small", place)
    try:
        yield
    finally:
        run("umount", "-l", place)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_disk_that_was_stored_is_identical_and_verified_twice(room: Lab) -> None:
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    area = area_of(room)
    one = first_leg(room.job(source, source, SIZE), area)
    source.stop()
    two = second_leg(area, destination)
    assert alike(origin, target)
    assert one.bytes_verified == one.bytes_sent == two.bytes_read == two.bytes_verified > 0
    assert area.place.stat().st_mode & 0o777 == 0o700
    taken = sum(allocated(path) for path in area.place.iterdir())
    assert taken <= room_for(one.bytes_sent, [SIZE])


def test_only_what_has_changed_is_stored_and_zeros_are_told(room: Lab) -> None:
    before, after = room.filled("before", SIZE), room.path / "after"
    after.write_bytes(before.read_bytes())
    with after.open("r+b") as disk:
        disk.seek(8 * MIB)
        disk.write(b"changed" * 1000)
        disk.seek(16 * MIB)
        disk.write(bytes(MIB))
    target = room.path / "target"
    target.write_bytes(before.read_bytes())
    destination = room.qemu_nbd(target)
    source = room.qemu_nbd(before, "raw", "-r")
    copy(room.job(source, destination, SIZE, reads=Reads.COMPARE, destination_is_zero=False))
    source, area = room.qemu_nbd(after, "raw", "-r"), area_of(room)
    one = first_leg(room.job(source, source, SIZE, reads=Reads.COMPARE, point="second"), area)
    assert one.bytes_sent == 65536
    assert allocated(area.files[0].data) <= 65536
    second_leg(area, destination)
    assert alike(after, target)


def test_without_a_map_all_is_sent_whatever_the_store_holds(room: Lab) -> None:
    """What a store holds is not what the destination holds: its answers must not spare a chunk."""
    origin, target = room.filled("source", SIZE), room.filled("target", SIZE, seed=3)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    area = area_of(room)
    job = room.job(source, source, SIZE, reads=Reads.COMPARE, destination_is_zero=False)
    assert first_leg(job, area).bytes_sent > 0
    second_leg(area, destination)
    assert alike(origin, target)


def test_what_was_spoiled_in_the_store_never_arrives(room: Lab) -> None:
    origin, target = room.filled("source", SIZE, share=1.0), room.disk("target", SIZE)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    area = area_of(room)
    first_leg(room.job(source, source, SIZE), area)
    spoil(area.files[0], 20 * MIB)
    with pytest.raises(StepFailed, match=r"what is staged on worker hub is not what was sent; check the disk"):
        second_leg(area, destination)
    assert target.read_bytes()[20 * MIB : 20 * MIB + 65536] == bytes(65536)


def test_another_area_is_not_taken_for_the_one_that_was_filled(room: Lab) -> None:
    area = area_of(room)
    home = area.place.parent
    assert area_of(room).identity == area.identity
    assert Area.find(home, NAME, area.identity, (SIZE,), "worker hub").identity == area.identity
    area.files[0].records.unlink()
    assert area_of(room).identity != area.identity
    with pytest.raises(StepFailed, match="what was staged on worker hub is gone"):
        Area.find(home, NAME, area.identity, (SIZE,), "worker hub")


def test_an_area_has_one_user_and_is_removed_whole(room: Lab) -> None:
    area = area_of(room, SIZE, MIB)
    home = area.place.parent
    with area.locked(), pytest.raises(Unavailable, match="another attempt"), area.locked():
        pass
    (home / f"{uuid.UUID(int=1)}.new").mkdir()
    (home / "other").mkdir()
    assert names(home) == [str(uuid.UUID(int=1)), NAME]
    for name in names(home):
        remove(home, name)
        remove(home, name)
    assert [path.name for path in home.iterdir()] == ["other"]
    with pytest.raises(StepFailed, match="no name of staged disks"):
        remove(home, "../x")


def test_a_full_store_names_itself_and_the_bytes(room: Lab) -> None:
    small = room.path / "staging"
    small.mkdir()
    with small_disk(small, 8 * MIB):
        origin = room.filled("source", SIZE, share=1.0)
        source = room.qemu_nbd(origin, "raw", "-r")
        area = area_of(room)
        ours, theirs, visit = Identity.make(), Identity.make(), uuid.uuid4().hex
        with Door(Listen.of("127.0.0.1:0")).expecting(visit, theirs, ours.certificate) as arrivals:
            channel = Channel("127.0.0.1", arrivals.port, name_of(visit, 0), ours, theirs.certificate)
            incoming = [Incoming("vda", area.files[0])]
            with (
                receiver(lambda report: receive_disks(arrivals, incoming, connections=1, report=report)) as failed,
                pytest.raises(Unavailable),
            ):
                copy(replace(room.job(source, source, SIZE), channel=channel))
        assert "staging_dir of worker hub is full" in str(failed[0])
        assert f"a disk of {SIZE} bytes" in str(failed[0])
