"""Disks are hashed where they lie: the same content has the same hash, however it is stored."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, run

from isthmus.control.errors import Cancelled, InvalidInput, StepFailed
from isthmus.migration.disks.hashing import DiskHashes, HashJob, hash_disk, stretch_bytes
from isthmus.migration.disks.job import Side
from isthmus.migration.disks.limiter import Limiter

SIZE = 9 * MIB + 512


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.close()


def _hashed(uri: str, *, size: int = SIZE, report: Recorder | None = None, skip: tuple[int, ...] = ()) -> DiskHashes:
    job = HashJob("vda", Side(uri), size, MIB, "source", skip=frozenset(skip))
    return hash_disk(job, limiter=Limiter(0), connections=4, report=report or Recorder())


def test_holes_zeros_and_formats_make_no_difference(lab: Lab) -> None:
    sparse = lab.filled("sparse.raw", SIZE)
    full = lab.path / "full.raw"
    shutil.copyfile(sparse, full)
    with full.open("r+b") as disk:
        content = disk.read()
        disk.seek(0)
        disk.write(content)
        os.posix_fallocate(disk.fileno(), 0, SIZE)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", sparse, lab.path / "other.qcow2")
    found = [
        _hashed(lab.qemu_nbd(sparse).uri),
        _hashed(lab.nbdkit("file", str(full)).uri),
        _hashed(lab.qemu_nbd(lab.path / "other.qcow2", "qcow2").uri),
    ]
    assert found[0].hashes == found[1].hashes == found[2].hashes
    assert len(found[0].hashes) == 10
    assert len(set(found[0].hashes)) == 10


def test_one_bit_changes_the_hash_of_its_stretch_alone(lab: Lab) -> None:
    first = lab.filled("first.raw", SIZE)
    second = lab.path / "second.raw"
    shutil.copyfile(first, second)
    _flip(second, 4 * MIB + 77)
    _flip(second, SIZE - 1)
    one, two = (_hashed(lab.qemu_nbd(disk).uri) for disk in (first, second))
    pairs = zip(one.hashes, two.hashes, strict=True)
    assert [number for number, (here, there) in enumerate(pairs) if here != there] == [4, 9]


def _flip(disk: Path, offset: int) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_what_nobody_wants_is_not_read(lab: Lab) -> None:
    disk, report = lab.filled("disk.raw", SIZE, share=1.0), Recorder()
    found = _hashed(lab.qemu_nbd(disk).uri, skip=tuple(range(1, 10)), report=report)
    assert found.hashes[1:] == ("",) * 9
    assert found.hashes[0]
    assert report.seen[-1].total <= MIB


def test_a_disk_that_is_smaller_than_it_should_be_is_refused(lab: Lab) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        _hashed(lab.qemu_nbd(lab.disk("small.raw", MIB)).uri)


def test_a_disk_that_cannot_be_read_is_named(lab: Lab) -> None:
    disk = lab.filled("disk.raw", SIZE, share=1.0)
    server = lab.nbdkit("--filter=error", "file", str(disk), "error-pread-rate=100%", "error=EIO")
    with pytest.raises(StepFailed, match="disk vda"):
        _hashed(server.uri)


def test_a_cancel_stops_it(lab: Lab) -> None:
    report = Recorder()
    report.cancelled.set()
    with pytest.raises(Cancelled):
        _hashed(lab.nbdkit("file", str(lab.filled("disk.raw", SIZE))).uri, report=report)


@pytest.mark.parametrize(
    ("total", "most", "size"),
    [(0, 8192, MIB), (8192 * MIB, 8192, MIB), (8192 * MIB + 1, 8192, 2 * MIB), (1 << 40, 8192, 128 * MIB)],
)
def test_stretches_grow_with_the_disks(total: int, most: int, size: int) -> None:
    assert stretch_bytes(total, most) == size
