"""Copies between real NBD servers."""

import threading
import time
from collections.abc import Iterator

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab, run

from isthmus.control.errors import Cancelled, InvalidInput
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, CopyReport, Reads

SIZE = 96 * MIB + 512
INC = "qemu:dirty-bitmap:inc"


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def copy(job: CopyJob) -> CopyReport:
    (report,) = copy_disks([job], bandwidth_limit=0, connections=2, report=Recorder())
    return report


def change(path: object, kind: str, *writes: str) -> None:
    run("qemu-io", "-f", kind, *(word for write in writes for word in ("-c", write)), path)


@pytest.mark.parametrize(("source_kind", "target_kind"), [("raw", "raw"), ("raw", "qcow2"), ("qcow2", "qcow2")])
def test_a_full_copy_is_identical_and_all_of_it_verified(room: Lab, source_kind: str, target_kind: str) -> None:
    origin = room.filled("source.raw", SIZE)
    if source_kind == "qcow2":
        run("qemu-img", "convert", "-O", "qcow2", origin, room.path / "source.qcow2")
        origin = room.path / "source.qcow2"
    target = room.disk("target", SIZE, target_kind)
    source, destination = room.qemu_nbd(origin, source_kind, "-r"), room.qemu_nbd(target, target_kind)
    recorder = Recorder()
    (report,) = copy_disks([room.job(source, destination, SIZE)], bandwidth_limit=0, connections=4, report=recorder)
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_verified == report.bytes_sent > 0
    last = recorder.seen[-1]
    assert (last.subject, last.done, last.seconds_left) == ("disk vda", last.total, 0.0)


def test_holes_and_zeros_are_neither_sent_nor_allocated(room: Lab) -> None:
    origin, target = room.disk("source", 64 * MIB), room.disk("target", 64 * MIB)
    change(origin, "raw", "write -P 0 8M 4M", "write -P 7 20M 1M")
    report = copy(room.job(room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target), 64 * MIB))
    assert report.bytes_sent == MIB
    assert report.bytes_zeroed == 0
    assert target.stat().st_blocks * 512 <= 2 * MIB


@pytest.mark.parametrize("filters", [(), ("--filter=nozero",)])
def test_a_destination_with_old_data_is_zeroed_where_the_source_has_none(room: Lab, filters: tuple[str, ...]) -> None:
    origin, target = room.filled("source", SIZE), room.filled("target", SIZE, seed=2)
    words = [*filters, "file", f"file={target}", *(("zeromode=none",) if filters else ())]
    destination = room.nbdkit(*words) if filters else room.qemu_nbd(target)
    report = copy(room.job(room.qemu_nbd(origin, "raw", "-r"), destination, SIZE, destination_is_zero=False))
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_zeroed > 0


def test_a_source_that_knows_nothing_of_extents_is_read_whole(room: Lab) -> None:
    origin, target = room.filled("source", 32 * MIB), room.disk("target", 32 * MIB)
    source = room.nbdkit("--no-sr", "file", f"file={origin}")
    report = copy(room.job(source, room.qemu_nbd(target), 32 * MIB))
    assert alike(origin, target)
    assert report.bytes_read == 32 * MIB
    assert report.bytes_sent < 32 * MIB


def test_an_increment_by_dirty_map_sends_what_changed(room: Lab) -> None:
    origin, target = room.disk("source", SIZE, "qcow2"), room.disk("target", SIZE, "qcow2")
    change(origin, "qcow2", "write -P 1 0 40M", "write -P 2 60M 10M")
    source, destination = room.qemu_nbd(origin, "qcow2", "-r"), room.qemu_nbd(target, "qcow2")
    copy(room.job(source, destination, SIZE))
    source.stop()
    run("qemu-img", "bitmap", "--add", origin, "inc")
    change(origin, "qcow2", "write -P 3 1M 64k", "write -P 4 50M 1M", "write -z -u 10M 2M", "write -P 5 96M 512")
    source = room.qemu_nbd(origin, "qcow2", "-r", "-B", "inc")
    job = room.job(source, destination, SIZE, reads=Reads.DIRTY, point="second", dirty_context=INC)
    report = copy(job)
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_sent == 64 * 1024 + MIB + 512
    assert report.bytes_zeroed == 2 * MIB


def test_an_increment_by_hash_map_sends_what_changed(room: Lab) -> None:
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE, "qcow2")
    change(origin, "raw", "write -P 1 10M 20M")
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target, "qcow2")
    copy(room.job(source, destination, SIZE))
    source.stop()
    change(origin, "raw", "write -P 3 1M 64k", "write -P 4 50M 1M", "write -z -u 12M 2M")
    source = room.qemu_nbd(origin, "raw", "-r")
    report = copy(room.job(source, destination, SIZE, reads=Reads.COMPARE, point="second"))
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_sent == 64 * 1024 + MIB
    assert report.bytes_zeroed == 2 * MIB


def test_without_a_usable_hash_map_the_destination_is_read_and_only_differences_are_sent(room: Lab) -> None:
    origin, target = room.filled("source", SIZE), room.path / "target"
    run("cp", "--sparse=always", origin, target)
    change(target, "raw", "write -P 9 30M 128k")
    room.path.joinpath("state").write_bytes(b"torn")
    change(origin, "raw", "write -P 8 30M 64k")
    job = room.job(room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target), SIZE, reads=Reads.COMPARE)
    report = copy(job)
    assert alike(origin, target)
    assert report.bytes_sent + report.bytes_zeroed >= 64 * 1024
    assert report.bytes_sent <= 128 * 1024


def test_two_disks_share_the_bandwidth_limit(room: Lab) -> None:
    jobs = []
    for name in ("vda", "vdb"):
        origin, target = room.disk(name, 32 * MIB), room.disk(f"{name}.copy", 32 * MIB)
        change(origin, "raw", "write -P 5 0 10M")
        job = room.job(room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target), 32 * MIB, disk_id=name)
        jobs.append(CopyJob(**{**job.__dict__, "state_file": room.path / f"{name}.state"}))
    reports = copy_disks(jobs, bandwidth_limit=10 * MIB, connections=1, report=Recorder())
    assert [report.disk_id for report in reports] == ["vda", "vdb"]
    assert max(report.seconds for report in reports) > 1.5


def test_cancelling_stops_within_seconds_and_the_copy_goes_on_afterwards(room: Lab) -> None:
    origin, target = room.filled("source", SIZE, share=0.9), room.disk("target", SIZE)
    job = room.job(room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target), SIZE)
    recorder = Recorder()
    timer = threading.Timer(1.0, recorder.cancelled.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        copy_disks([job], bandwidth_limit=20 * MIB, connections=2, report=recorder)
    assert time.monotonic() - began < 4
    timer.join()
    copy(job)
    assert alike(origin, target)


def test_a_destination_that_is_too_small_is_refused_before_copying(room: Lab) -> None:
    source = room.qemu_nbd(room.filled("source", 8 * MIB), "raw", "-r")
    destination: Server = room.qemu_nbd(room.disk("target", 7 * MIB))
    with pytest.raises(InvalidInput, match="make that one larger"):
        copy(room.job(source, destination, 8 * MIB))
    assert not (room.path / "state").exists()
