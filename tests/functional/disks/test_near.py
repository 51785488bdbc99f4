"""Copies whose images' files the worker has: the way through the server is spared, nothing else changes."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, Server, alike, lab, run

from isthmus.control.errors import StepFailed
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.image_file import ImageFile, ImageReader
from isthmus.migration.disks.job import CopyJob, CopyReport, Side

SIZE = 48 * MIB


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def copy(job: CopyJob) -> CopyReport:
    (report,) = copy_disks([job], bandwidth_limit=0, connections=2, report=Recorder())
    return report


def told(room: Lab, path: Path) -> tuple[Server, Path]:
    """`path` served raw by nbdkit, which writes down what it is asked."""
    log = room.path / f"{path.name}.log"
    return room.nbdkit("--filter=log", "file", str(path), f"logfile={log}"), log


def reads(log: Path) -> int:
    return sum(" Read " in line for line in log.read_text().splitlines())


@pytest.mark.parametrize("near", [True, False])
def test_servers_of_near_images_are_not_asked_for_bytes(room: Lab, near: bool) -> None:
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE)
    (source, source_log), (destination, destination_log) = told(room, origin), told(room, target)
    job = room.job(source, destination, SIZE)
    if near:
        job = replace(
            job,
            source=Side(source.uri, image=ImageFile(origin, "raw")),
            destination=Side(destination.uri, image=ImageFile(target, "raw")),
        )
    report = copy(job)
    assert alike(origin, target)
    assert report.bytes_verified == report.bytes_sent > 0
    assert (reads(source_log) == 0) is near
    assert (reads(destination_log) == 0) is near


def test_a_near_destination_is_written_out_while_it_is_copied(room: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    begin = ImageReader.begin_write_out

    def counted(reader: ImageReader) -> None:
        begin(reader)
        begun.append(True)

    monkeypatch.setattr(ImageReader, "begin_write_out", counted)
    origin, target = room.path / "source", room.disk("target", SIZE)
    origin.write_bytes(os.urandom(SIZE))
    job = room.job(room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target, "raw"), SIZE)
    copy(replace(job, destination=Side(job.destination.uri, image=ImageFile(target, "raw"))))
    assert alike(origin, target)
    assert 1 <= len(begun) <= SIZE // (4 * MIB)


@pytest.mark.parametrize("compressed", [False, True])
def test_qcow2_images_are_copied_alike_by_file_or_by_server(room: Lab, compressed: bool) -> None:
    raw, origin, target = room.filled("source.raw", SIZE), room.path / "source", room.disk("target", SIZE, "qcow2")
    run("qemu-io", "-f", "raw", "-c", "write -q -P 9 4M 4M", raw)
    run("qemu-img", "convert", "-O", "qcow2", *(["-c"] if compressed else []), raw, origin)
    source, destination = room.qemu_nbd(origin, "qcow2", "-r"), room.qemu_nbd(target, "qcow2")
    job = replace(
        room.job(source, destination, SIZE),
        source=Side(source.uri, image=ImageFile(origin, "qcow2")),
        destination=Side(destination.uri, image=ImageFile(target, "qcow2")),
    )
    report = copy(job)
    destination.stop()
    assert alike(raw, target)
    assert report.bytes_verified == report.bytes_sent > 0


def test_another_file_under_the_destinations_name_changes_nothing(room: Lab) -> None:
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE)
    (source, _), (destination, log) = told(room, origin), told(room, target)
    job = replace(
        room.job(source, destination, SIZE),
        destination=Side(destination.uri, image=ImageFile(room.disk("other", SIZE), "raw")),
    )
    report = copy(job)
    assert alike(origin, target)
    assert report.bytes_verified == report.bytes_sent > 0
    assert reads(log) > 0


def test_a_source_that_was_replaced_is_read_through_its_server(room: Lab) -> None:
    origin, target = room.filled("source", SIZE, seed=1), room.disk("target", SIZE)
    kept = room.path / "kept"
    os.link(origin, kept)
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target)
    image = ImageFile(origin, "raw", inode=origin.stat().st_ino)
    room.filled("new", SIZE, seed=2).replace(origin)
    copy(replace(room.job(source, destination, SIZE), source=Side(source.uri, image=image)))
    assert alike(kept, target)
    assert not alike(origin, target)


def test_a_destination_that_drops_what_it_is_given_is_found_out(room: Lab) -> None:
    origin, target = room.filled("source", 8 * MIB, share=1.0), room.disk("target", 8 * MIB)
    job = room.job(room.qemu_nbd(origin, "raw", "-r"), room.liar(), 8 * MIB)
    with pytest.raises(StepFailed, match=r"disk vda at offset \d+: the destination does not hold what was written"):
        copy(replace(job, destination=Side(job.destination.uri, image=ImageFile(target, "raw"))))


def test_a_file_cut_short_under_the_copy_is_read_through_its_server(room: Lab) -> None:
    origin, target = room.filled("source", SIZE), room.disk("target", SIZE)
    short = room.path / "short"
    short.write_bytes(origin.read_bytes()[: SIZE // 2])
    (source, log), (destination, _) = told(room, origin), told(room, target)
    copy(replace(room.job(source, destination, SIZE), source=Side(source.uri, image=ImageFile(short, "raw"))))
    assert alike(origin, target)
    assert reads(log) > 0
