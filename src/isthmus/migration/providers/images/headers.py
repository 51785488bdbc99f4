"""The size of the disk that an image claims to hold, by its own header.

Nothing here runs QEMU, and nothing is believed: it is for plans, and QEMU's word comes before a byte is copied.
"""

import struct
from typing import IO

from isthmus.migration.providers.images import vhdx
from isthmus.migration.providers.images.formats import ImageFormat

_SECTOR = 512
_LARGEST_GEOMETRY = (65535, 16, 255)
# Programs whose footers give the true size; that of others is the geometry's, as Virtual PC has it and QEMU takes it.
_HONEST = (b"win ", b"qem2", b"d2v ", b"tap\0", b"vs  ", b"wa\0\0")


def claimed_size(image_format: ImageFormat, file: IO[bytes], offset: int, length: int) -> int:
    """Return bytes. The image is `length` bytes of the file from `offset`. Raises `ValueError` for one that is none."""
    match image_format:
        case ImageFormat.RAW:
            return length
        case ImageFormat.QCOW2:
            return _qcow2(_read(file, offset, 32))
        case ImageFormat.VMDK:
            return _vmdk(_read(file, offset, _SECTOR))
        case ImageFormat.VHD:
            return _vhd(_read(file, offset + length - _SECTOR, _SECTOR))
        case ImageFormat.VHDX:
            return vhdx.virtual_size(file, offset)


def _read(file: IO[bytes], place: int, length: int) -> bytes:
    if place < 0:
        raise ValueError("it is too short")
    file.seek(place)
    found = file.read(length)
    if len(found) != length:
        raise ValueError("it is too short")
    return found


def _qcow2(head: bytes) -> int:
    if not head.startswith(b"QFI\xfb"):
        raise ValueError("it does not begin like qcow2")
    (size,) = struct.unpack_from(">Q", head, 24)
    return int(size)


def _vmdk(head: bytes) -> int:
    if not head.startswith(b"KDMV"):
        raise ValueError("it is not one whole VMDK file (a descriptor of several, perhaps)")
    (sectors,) = struct.unpack_from("<Q", head, 12)
    return int(sectors) * _SECTOR


def _vhd(footer: bytes) -> int:
    if not footer.startswith(b"conectix"):
        raise ValueError("it does not end like VHD")
    (size,) = struct.unpack_from(">Q", footer, 48)
    geometry = struct.unpack_from(">HBB", footer, 56)
    if footer[28:32] in _HONEST or geometry == _LARGEST_GEOMETRY:
        return int(size)
    cylinders, heads, sectors = geometry
    return int(cylinders * heads * sectors * _SECTOR)
