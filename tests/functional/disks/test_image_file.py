"""Reading an image's own file gives what QEMU gives, or says that it cannot."""

import fcntl
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.functional.disks.servers import MIB, Lab, lab, run

from isthmus.migration.disks.image_file import ImageFile, ImageReader, NotReadable

SIZE = 24 * MIB + 512

SHAPES = {
    "plain": ("compat=1.1",),
    "version 2": ("compat=0.10",),
    "clusters of 512 bytes": ("cluster_size=512",),
    "clusters of 4 KiB": ("cluster_size=4k",),
    "clusters of 2 MiB": ("cluster_size=2M",),
    "lazy reference counts": ("lazy_refcounts=on",),
    "tables made before": ("preallocation=metadata",),
    "all made before": ("preallocation=full",),
    "narrow reference counts": ("refcount_bits=1",),
}


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def made(room: Lab, *options: str) -> Path:
    path = room.path / "image.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options or ("compat=1.1",)), path, SIZE)
    return path


def worked_on(path: Path, seed: int) -> None:
    """Writes, zeros, discards and rewrites of many lengths, as a guest makes them."""
    chance, words = random.Random(seed), []
    for _ in range(120):
        length = chance.choice((512, 4096, 65536, 200 * 1024, MIB))
        offset = chance.randrange(0, SIZE - length, 512)
        act = chance.choice(
            (
                f"write -P {chance.randrange(1, 255)}",
                f"write -P {chance.randrange(1, 255)}",
                "write -z",
                "write -zu",
                "discard",
            )
        )
        words += ["-c", f"{act} -q {offset} {length}"]
    run("qemu-io", "-f", "qcow2", "-d", "unmap", *words, path)


def as_qemu_reads(path: Path, kind: str = "qcow2") -> bytes:
    raw = path.with_suffix(".check")
    run("qemu-img", "convert", "-f", kind, "-O", "raw", path, raw)
    return raw.read_bytes()


def read(image: ImageFile, offset: int, length: int) -> bytes:
    found = bytearray(b"\xee" * length)
    with ImageReader(image) as reader:
        reader.read(offset, memoryview(found))
    return bytes(found)


def is_kept_back(path: Path) -> bool:
    """Whether the file system holds data of the file that have no place on the device yet (FIEMAP's DELALLOC)."""
    answer = bytearray(struct.pack("=QQLLLL", 0, 1 << 40, 0, 0, 1, 0) + bytes(56))
    with path.open("rb") as file:
        fcntl.ioctl(file, 0xC020660B, answer)
    return bool(struct.unpack_from("=L", answer, 32 + 40)[0] & 0x4)


def assert_alike(path: Path, kind: str = "qcow2") -> None:
    wanted, chance = as_qemu_reads(path, kind), random.Random(5)
    assert read(ImageFile(path, kind), 0, SIZE) == wanted
    with ImageReader(ImageFile(path, kind)) as reader:
        for _ in range(200):
            offset = chance.randrange(0, SIZE - 1)
            found = bytearray(min(SIZE - offset, chance.choice((1, 511, 4096, 65536, 512 * 1024))))
            reader.read(offset, memoryview(found))
            assert found == wanted[offset : offset + len(found)]


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_a_qcow2_image_reads_as_qemu_reads_it(room: Lab, options: tuple[str, ...]) -> None:
    path = made(room, *options)
    for seed in (1, 2):
        worked_on(path, seed)
    assert_alike(path)


def test_clusters_shared_with_a_snapshot_and_a_grown_disk_read_right(room: Lab) -> None:
    path = made(room)
    worked_on(path, 1)
    run("qemu-img", "snapshot", "-c", "before", path)
    worked_on(path, 2)
    run("qemu-img", "snapshot", "-c", "between", path)
    run("qemu-img", "snapshot", "-d", "before", path)
    worked_on(path, 3)
    assert_alike(path)
    run("qemu-img", "resize", "-q", path, SIZE + 3 * 1024 * MIB)
    assert read(ImageFile(path, "qcow2"), 2048 * MIB, 65536) == bytes(65536)


def test_a_raw_image_reads_as_it_is(room: Lab) -> None:
    path = room.filled("image.raw", SIZE)
    assert_alike(path, "raw")


def test_an_image_that_its_server_has_open_reads_right_after_each_flush(room: Lab) -> None:
    path = made(room)
    server = room.qemu_nbd(path, "qcow2")
    for number in range(1, 6):
        offset = number * 3 * MIB
        run("qemu-io", "-f", "raw", "-c", f"write -q -P {number} {offset} 1M", "-c", "flush", server.uri)
        assert read(ImageFile(path, "qcow2"), offset, MIB) == bytes([number]) * MIB


REFUSED = {
    "an extended second level": ("extended_l2=on",),
    "data in another file": ("data_file={}/data.raw",),
    "zstd": ("compression_type=zstd",),
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_an_image_that_is_not_plain_is_refused(room: Lab, options: tuple[str, ...]) -> None:
    path = room.path / "image.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options).format(room.path), path, SIZE)
    with pytest.raises(NotReadable, match="not a plain one"):
        ImageReader(ImageFile(path, "qcow2"))


@pytest.mark.parametrize(("at", "words"), [(0, b"QFI\xfa"), (20, struct.pack(">I", 31)), (32, struct.pack(">I", 2))])
def test_a_header_of_another_kind_is_refused(room: Lab, at: int, words: bytes) -> None:
    path = made(room)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(words)
    with pytest.raises(NotReadable, match="not a plain one"):
        ImageReader(ImageFile(path, "qcow2"))


def test_an_image_with_a_backing_file_is_refused(room: Lab) -> None:
    base, path = room.filled("base.raw", MIB), room.path / "image.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path)
    with pytest.raises(NotReadable, match="not a plain one"):
        ImageReader(ImageFile(path, "qcow2"))


def test_a_compressed_cluster_is_refused(room: Lab) -> None:
    raw, path = room.disk("source.raw", SIZE), room.path / "image.qcow2"
    run("qemu-io", "-f", "raw", "-c", "write -q -P 7 1M 64k", raw)
    run("qemu-img", "convert", "-c", "-O", "qcow2", raw, path)
    with pytest.raises(NotReadable, match="compressed"):
        read(ImageFile(path, "qcow2"), MIB, 65536)


@pytest.mark.parametrize("place", [1 << 50, 0x00FF_FFFF_FFFF_FE00, 1 << 40])
@pytest.mark.parametrize("level", ["first", "second"])
def test_tables_that_lead_out_of_the_file_are_refused(room: Lab, place: int, level: str) -> None:
    path = made(room)
    run("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 1M", path)
    with path.open("r+b") as file:
        file.seek(40)
        (table,) = struct.unpack(">Q", file.read(8))
        if level == "second":
            file.seek(table)
            table = struct.unpack(">Q", file.read(8))[0] & ((1 << 56) - 512)
        file.seek(table)
        file.write(struct.pack(">Q", place))
    with pytest.raises(NotReadable):
        read(ImageFile(path, "qcow2"), 0, 65536)


@pytest.mark.parametrize("keep", [0, 3, 71, 79, 65536, 3 * 65536])
def test_a_torn_image_is_refused(room: Lab, keep: int) -> None:
    path = made(room)
    run("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 1M", path)
    os.truncate(path, keep)
    with pytest.raises(NotReadable):
        read(ImageFile(path, "qcow2"), 0, MIB)


def test_what_is_no_image_of_ours_is_refused(room: Lab) -> None:
    real = room.filled("image.raw", MIB)
    pipe, link, folder = room.path / "pipe", room.path / "link", room.path / "folder"
    os.mkfifo(pipe)
    link.symlink_to(real)
    folder.mkdir()
    wrong = [ImageFile(path, "raw") for path in (pipe, link, folder, room.path / "missing")]
    wrong += [ImageFile(real, "qcow2"), ImageFile(real, "vmdk"), ImageFile(real, "raw", inode=real.stat().st_ino + 1)]
    for image in wrong:
        with pytest.raises(NotReadable):
            ImageReader(image)
    assert read(ImageFile(real, "raw", inode=real.stat().st_ino), 0, MIB) == real.read_bytes()


def test_beyond_the_end_is_refused(room: Lab) -> None:
    for image in (ImageFile(made(room), "qcow2"), ImageFile(room.disk("image.raw", SIZE), "raw")):
        with pytest.raises(NotReadable):
            read(image, SIZE - 512, 1024)


def test_what_was_written_is_on_its_way_to_the_device_once_that_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(os.urandom(4 * MIB))
    if not is_kept_back(path):
        pytest.skip("this file system keeps nothing back")
    with ImageReader(ImageFile(path, "raw")) as reader:
        assert is_kept_back(path)
        reader.begin_write_out()
        assert not is_kept_back(path)
