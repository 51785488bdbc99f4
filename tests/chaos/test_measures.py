"""What chaos judges by: leftovers are seen, and bytes that had to be sent are told from those that had not."""

import subprocess
from pathlib import Path

from lab import leftovers
from lab.resending import keep_states, needed
from tests.libvirt_fixtures import Clouds, clouds

from isthmus.migration.disks.extents import CHUNK
from isthmus.migration.disks.state import StateFile, digest

__all__ = ["clouds"]


def test_leftovers_in_a_cloud_are_seen_and_swept(clouds: Clouds) -> None:
    cloud = clouds.west
    image = cloud.pool_directory / "isthmus-left.qcow2"
    for command in (
        ["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"],
        ["qemu-img", "bitmap", "--add", str(image), "point"],
    ):
        subprocess.run(command, check=True)
    (cloud.nbd_directory / "left.sock").touch()
    assert leftovers.bitmaps(image) == ["bitmap point in isthmus-left.qcow2"]
    assert leftovers.in_cloud(cloud) == ["west: file isthmus-left.qcow2", "west: socket left.sock"]
    leftovers.sweep(cloud)
    assert leftovers.in_cloud(cloud) == []


def test_state_files_of_the_worker_are_seen(tmp_path: Path) -> None:
    staging = tmp_path / "isthmus" / "staging"
    (staging / "transfer").mkdir(parents=True)
    assert leftovers.on_worker(tmp_path) == ["staging: transfer"]


def test_bytes_needed_are_the_chunks_that_a_pass_wrote(tmp_path: Path) -> None:
    staging, before = tmp_path / "staging", tmp_path / "before"
    staging.mkdir()
    write(staging / "disk.map", "first", [b"a", b"b", b"c"])
    assert needed(staging, before, compared=False) == 3 * CHUNK
    keep_states(staging, before)
    write(staging / "disk.map", "second", [b"a", b"changed"])
    assert needed(staging, before, compared=False) == 2 * CHUNK
    assert needed(staging, before, compared=True) == CHUNK


def write(path: Path, point: str, contents: list[bytes]) -> None:
    """Record the first chunks of a disk of eight as done in a pass over `point`."""
    state = StateFile.open(path, size=8 * CHUNK, point=point, blank=True)
    state.note(0, b"".join(state.data_record(digest(content)) for content in contents))
    state.finish()
    state.close()
