"""VHDX: the disk's size, and whether all blocks are there that the table names. QEMU reads zeros from behind the end.

The layout is that of [MS-VHDX], Virtual Hard Disk v2.
"""

import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_REGION_TABLE = 192 << 10
_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_PRESENT = (6, 7)
_STATE_BITS, _OFFSET_MASK = 7, ~0xFFFFF & (1 << 64) - 1
_MOST_ENTRIES = 2047
_LARGEST_BAT = 64 << 20
_PIECE = 1 << 20


def data_end(path: Path, offset: int) -> int:
    """Return the byte, from the image's own begin, behind the last block that the table names.

    `offset` is where the image begins in the file. Raises `ValueError` for tables that are none.
    """
    with path.open("rb") as file:
        regions = _regions(file, offset)
        block_size, _ = struct.unpack("<II", _item(file, offset, regions, _FILE_PARAMETERS))
        table, length = regions[_BAT]
        end = 0
        for begin in range(0, min(length, _LARGEST_BAT), _PIECE):
            piece = _read(file, offset + table + begin, min(_PIECE, length - begin))
            for (entry,) in struct.iter_unpack("<Q", piece):
                if entry & _STATE_BITS in _PRESENT:
                    end = max(end, (entry & _OFFSET_MASK) + block_size)
    return end


def virtual_size(file: IO[bytes], offset: int) -> int:
    """Return the size in bytes of the disk. `offset` is where the image begins. Raises `ValueError`."""
    try:
        (size,) = struct.unpack("<Q", _item(file, offset, _regions(file, offset), _DISK_SIZE))
    except (KeyError, OverflowError) as error:
        raise ValueError("its tables lack the disk's size") from error
    return int(size)


def _regions(file: IO[bytes], offset: int) -> dict[bytes, tuple[int, int]]:
    return dict(_table(file, offset + _REGION_TABLE, b"regi", "<4sIII", "<16sQII"))


def _item(file: IO[bytes], offset: int, regions: dict[bytes, tuple[int, int]], name: bytes) -> bytes:
    """Return the first 8 bytes of an item of metadata."""
    metadata, _ = regions[_METADATA]
    items = dict(_table(file, offset + metadata, b"metadata", "<8sHH20x", "<16sIII4x"))
    place, _ = items[name]
    return _read(file, offset + metadata + place, 8)


def _table(file: IO[bytes], place: int, mark: bytes, head: str, row: str) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield a table's rows: their GUID, and the two numbers behind it (offset and length, in bytes)."""
    facts = struct.unpack(head, _read(file, place, struct.calcsize(head)))
    count = facts[2]
    if facts[0] != mark or count > _MOST_ENTRIES:
        raise ValueError(f"no table {mark.decode()} at byte {place}")
    size = struct.calcsize(row)
    for number in range(count):
        found = struct.unpack(row, _read(file, place + struct.calcsize(head) + number * size, size))
        yield found[0], (found[1], found[2])


def _read(file: IO[bytes], place: int, length: int) -> bytes:
    file.seek(place)
    content = file.read(length)
    if len(content) != length:
        raise ValueError(f"nothing at byte {place}")
    return content
