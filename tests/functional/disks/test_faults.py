"""What breaks in mid-copy: servers, storage, the copier itself."""

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.functional.disks.servers import MIB, Lab, Recorder, alike, lab, run

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.migration.disks import connection
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.extents import CHUNK
from isthmus.migration.disks.job import CopyJob, CopyReport, Reads, Side

RESENT_LIMIT = 64 * MIB


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def copy(job: CopyJob) -> CopyReport:
    (report,) = copy_disks([job], bandwidth_limit=0, connections=2, report=Recorder())
    return report


def copier(job: CopyJob, limit: int = 0) -> "subprocess.Popen[str]":
    order = {"source": job.source.uri, "destination": job.destination.uri, "size": job.size_bytes}
    order |= {"state": str(job.state_file), "limit": limit}
    command = [sys.executable, "-m", "tests.functional.disks.copier", json.dumps(order)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def written_to(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_copier_goes_on_where_it_was(room: Lab, seed: int) -> None:
    size = 160 * MIB
    origin, target = room.filled("source", size, seed=seed, share=0.8), room.disk("target", size, "qcow2")
    source, destination = room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target, "qcow2")
    job = room.job(source, destination, size)
    wanted = random.Random(seed).randrange(10 * MIB, 90 * MIB)
    victim = copier(job, limit=150 * MIB)
    while written_to(target) < wanted:
        assert victim.poll() is None
        time.sleep(0.005)
    sent = written_to(target)
    victim.kill()
    victim.communicate(timeout=20)
    report = copy(job)
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_resumed >= sent - RESENT_LIMIT


@pytest.mark.parametrize(("side", "seed"), [("source", 4), ("destination", 5), ("destination", 6)])
def test_a_killed_server_makes_the_copy_unavailable_and_it_goes_on_when_it_is_back(
    room: Lab, side: str, seed: int
) -> None:
    size = 144 * MIB
    origin, target = room.filled("source", size, seed=seed, share=0.9), room.disk("target", size, "qcow2")
    servers = {"source": room.qemu_nbd(origin, "raw", "-r"), "destination": room.qemu_nbd(target, "qcow2")}
    job = room.job(servers["source"], servers["destination"], size)
    timer = threading.Timer(random.Random(seed).uniform(0.3, 1.2), servers[side].kill)
    timer.start()
    with pytest.raises(Unavailable, match=side):
        copy_disks([job], bandwidth_limit=80 * MIB, connections=2, report=Recorder())
    timer.join()
    sent = written_to(target)
    servers[side].start()
    report = copy(job)
    servers["destination"].stop()
    assert alike(origin, target)
    assert report.bytes_resumed >= sent - RESENT_LIMIT


@pytest.mark.parametrize("reads", [Reads.COMPARE, Reads.ALLOCATION])
def test_a_pass_killed_in_mid_write_is_not_believed_at_the_next_point(room: Lab, reads: Reads) -> None:
    """The destination holds chunks of point 2 whose records still say point 1; the source has gone back to point 1."""
    size = 128 * MIB
    first, second = room.filled("one", size, seed=1), room.filled("two", size, seed=2, share=0.9)
    target = room.disk("target", size)
    before, after = room.qemu_nbd(first, "raw", "-r"), room.qemu_nbd(second, "raw", "-r")
    destination = room.qemu_nbd(target)
    copy(room.job(before, destination, size))
    job = room.job(after, destination, size, point="second", reads=reads)
    timer = threading.Timer(0.7, destination.kill)
    timer.start()
    with pytest.raises(Unavailable):
        copy_disks([job], bandwidth_limit=80 * MIB, connections=2, report=Recorder())
    timer.join()
    assert not alike(first, target)
    destination.start()
    copy(room.job(before, destination, size, point="third", reads=reads))
    destination.stop()
    assert alike(first, target)


def test_a_dirty_pass_that_was_cut_short_is_made_good_by_the_next(room: Lab) -> None:
    size = 96 * MIB
    origin, target = room.disk("source", size, "qcow2"), room.disk("target", size, "qcow2")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 90M", origin)
    source, destination = room.qemu_nbd(origin, "qcow2", "-r"), room.qemu_nbd(target, "qcow2")
    copy(room.job(source, destination, size))
    source.stop()
    run("qemu-img", "bitmap", "--add", origin, "inc")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 2 0 60M", origin)
    dirty = {"reads": Reads.DIRTY, "dirty_context": "qemu:dirty-bitmap:inc"}
    source = room.qemu_nbd(origin, "qcow2", "-r", "-B", "inc")
    timer = threading.Timer(0.6, destination.kill)
    timer.start()
    job = room.job(source, destination, size, point="second", **dirty)
    with pytest.raises(Unavailable):
        copy_disks([job], bandwidth_limit=40 * MIB, connections=1, report=Recorder())
    timer.join()
    source.stop()
    run("qemu-io", "-f", "qcow2", "-c", "write -P 3 20M 30M", origin)
    source = room.qemu_nbd(origin, "qcow2", "-r", "-B", "inc")
    destination.start()
    report = copy(room.job(source, destination, size, point="third", **dirty))
    destination.stop()
    assert alike(origin, target)
    assert report.bytes_sent == 60 * MIB


def test_a_full_destination_says_so(room: Lab) -> None:
    size = 64 * MIB
    store = room.path / "small"
    store.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", store)
    try:
        target = store / "target"
        with target.open("wb") as file:
            file.truncate(size)
        origin = room.filled("source", size, share=1.0)
        destination = room.qemu_nbd(target)
        with pytest.raises(StepFailed, match=r"destination is full: disk vda at offset \d+.*run the execution again"):
            copy(room.job(room.qemu_nbd(origin, "raw", "-r"), destination, size))
        destination.stop()
    finally:
        run("umount", store)


def test_a_source_that_cannot_be_read_is_named_with_the_offset(room: Lab) -> None:
    origin, target = room.filled("source", 32 * MIB, share=1.0), room.disk("target", 32 * MIB)
    words = ["--filter=error", "file", f"file={origin}", "error-pread=EIO", "error-pread-rate=1"]
    with pytest.raises(StepFailed, match=r"disk vda at offset \d+: the source cannot be read"):
        copy(room.job(room.nbdkit(*words), room.qemu_nbd(target), 32 * MIB))


def test_a_destination_that_drops_what_it_is_given_is_found_out(room: Lab) -> None:
    origin = room.filled("source", 8 * MIB, share=1.0)
    with pytest.raises(StepFailed, match=r"disk vda at offset \d+: the destination does not hold what was written"):
        copy(room.job(room.qemu_nbd(origin, "raw", "-r"), room.liar(), 8 * MIB))


FORGETFUL = """
case "$1" in
  get_size) echo 8388608 ;;
  can_write|can_zero|can_flush) exit 0 ;;
  pread) dd if={disk} bs="$3" skip="$4" count=1 iflag=skip_bytes,fullblock status=none ;;
  pwrite) if [ "$4" -le 1048576 ] && [ ! -e {disk}.once ]; then touch {disk}.once; cat >/dev/null
          else dd of={disk} bs="$3" seek="$4" oflag=seek_bytes conv=notrunc iflag=fullblock status=none; fi ;;
  zero|flush) exit 0 ;;
  *) exit 2 ;;
esac
"""


def test_a_write_that_was_lost_once_is_written_again(room: Lab) -> None:
    origin, target = room.filled("source", 8 * MIB, share=1.0), room.disk("target", 8 * MIB)
    script = room.path / "forgetful.sh"
    script.write_text("#!/bin/sh\n" + FORGETFUL.format(disk=target))
    script.chmod(0o755)
    report = copy(room.job(room.qemu_nbd(origin, "raw", "-r"), room.nbdkit("sh", str(script)), 8 * MIB))
    assert Path(f"{target}.once").exists()
    assert alike(origin, target)
    assert 8 * MIB < report.bytes_sent <= 10 * MIB
    assert report.bytes_verified == 8 * MIB


@contextmanager
def babbler(path: Path, words: bytes) -> Iterator[str]:
    """A server that says this to whoever connects, and then nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        held: list[socket.socket] = []

        def serve() -> None:
            try:
                while True:
                    accepted, _ = listener.accept()
                    held.append(accepted)
                    accepted.sendall(words)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in held:
                each.close()


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 8, b"NBDMAGICIHAVEOPT\x00\x03" + b"\x99" * 64])
def test_a_server_that_speaks_nonsense_is_unavailable(room: Lab, words: bytes) -> None:
    destination = room.qemu_nbd(room.disk("target", MIB))
    with babbler(room.path / "babble", words) as uri, pytest.raises(Unavailable, match="source of disk vda"):
        copy(CopyJob(**{**room.job(destination, destination, MIB).__dict__, "source": Side(uri)}))


def test_a_silent_server_is_unavailable_not_a_hang(room: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    destination = room.qemu_nbd(room.disk("target", MIB))
    with babbler(room.path / "silent", b"") as uri, pytest.raises(Unavailable, match="does not answer"):
        copy(CopyJob(**{**room.job(destination, destination, MIB).__dict__, "source": Side(uri)}))


def test_a_server_that_stops_answering_is_unavailable_not_a_hang(room: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 1.0)
    origin, target = room.filled("source", 8 * MIB, share=1.0), room.disk("target", 8 * MIB)
    destination = room.nbdkit("--filter=delay", "file", f"file={target}", "wdelay=5")
    with pytest.raises(Unavailable, match="has not answered"):
        copy(room.job(room.qemu_nbd(origin, "raw", "-r"), destination, 8 * MIB))


def test_a_server_that_is_not_there_is_unavailable(room: Lab) -> None:
    destination = room.qemu_nbd(room.disk("target", MIB))
    with pytest.raises(Unavailable, match="the source of disk vda"):
        copy(CopyJob(**{**room.job(destination, destination, MIB).__dict__, "source": Side("nbd+unix:///?socket=/no")}))


def test_memory_does_not_grow_with_the_disk(room: Lab) -> None:
    size, chance = 1 << 40, random.Random(3)
    origin, target = room.disk("source", size), room.disk("target", size)
    with origin.open("r+b") as disk:
        for number in range(256):
            disk.seek(number * (4 << 30) + chance.randrange(1 << 30) // CHUNK * CHUNK)
            disk.write(chance.randbytes(CHUNK))
    job = room.job(room.qemu_nbd(origin, "raw", "-r"), room.qemu_nbd(target), size)
    out, _ = copier(job).communicate(timeout=60)
    report = json.loads(out.splitlines()[-1])
    assert report["bytes_verified"] == 256 * CHUNK
    assert report["peak"] < 128 * MIB
