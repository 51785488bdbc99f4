"""Image formats: their names here and in QEMU, and what a file's own header says. Nothing here runs QEMU.

The format is fixed by the file's name or its descriptor, never guessed from the content: a guest can write another
format's header into its raw disk. What the header then says must agree, and must not lead to any other file.
"""

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from isthmus.control.errors import StepFailed

_VMDK_TEXT = b"# Disk DescriptorFile"
_EXTENT = re.compile(r'^(?:RW|RDONLY)\s+(\d+)\s+(\w+)(?:\s+"([^"]*)")?', re.MULTILINE)
_LARGEST_DESCRIPTOR = 1 << 20
_SECTOR = 512
_VHD_DIFFERENCING = 4
_QCOW2_EXTERNAL_DATA = 1 << 2


class ImageFormat(StrEnum):
    """The formats that are read and written, by the ending that their files have here."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHD = "vhd"
    VHDX = "vhdx"

    @property
    def driver(self) -> str:
        """QEMU's name of it."""
        return "vpc" if self is ImageFormat.VHD else self.value


ENDINGS = {
    ".raw": ImageFormat.RAW,
    ".img": ImageFormat.RAW,
    ".qcow2": ImageFormat.QCOW2,
    ".vmdk": ImageFormat.VMDK,
    ".vhd": ImageFormat.VHD,
    ".vhdx": ImageFormat.VHDX,
}


@dataclass(frozen=True)
class ImageFile:
    """An image on disk; `offset` and `length` (bytes) say where in the file it lies, for images inside an OVA.

    `extents` are the further files that a VMDK descriptor names, all in its own directory.
    """

    path: Path
    format: ImageFormat
    offset: int
    length: int
    extents: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """How messages name it."""
        return self.path.name if not self.offset else f"the image at byte {self.offset} of {self.path.name}"


def open_image(path: Path, image_format: ImageFormat, offset: int = 0, length: int | None = None) -> ImageFile:
    """Return the image after a look at its header. Raises `StepFailed` for what is not to be opened."""
    if path.is_symlink() or not path.is_file():
        raise StepFailed(f"{path.name} is not a regular file: put the image itself into the directory")
    size = path.stat().st_size
    if length is None:
        length = size - offset
    if length <= 0 or offset + length > size:
        raise StepFailed(f"{path.name} is empty or cut short: get the image again")
    image = ImageFile(path, image_format, offset, length)
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(min(length, _LARGEST_DESCRIPTOR))
        file.seek(offset + max(0, length - _SECTOR))
        tail = file.read(_SECTOR)
    if image_format is ImageFormat.QCOW2:
        _check_qcow2(image, head)
    elif image_format is ImageFormat.VHD:
        _check_vhd(image, tail)
    elif image_format is ImageFormat.VHDX and not head.startswith(b"vhdxfile"):
        raise _not_one(image)
    elif image_format is ImageFormat.VMDK:
        return _check_vmdk(image, head)
    return image


def _not_one(image: ImageFile) -> StepFailed:
    return StepFailed(
        f"{image.label} is not a {image.format} image, or is cut short: get it again, or correct its name's ending"
    )


def _leads_elsewhere(image: ImageFile, what: str) -> StepFailed:
    return StepFailed(f"{image.label} {what}, which is not read: make one whole image of it (qemu-img convert)")


def _check_qcow2(image: ImageFile, head: bytes) -> None:
    """Look at the header (QEMU's docs/interop/qcow2.txt)."""
    if not head.startswith(b"QFI\xfb") or len(head) < 104:
        raise _not_one(image)
    version, backing = struct.unpack_from(">IQ", head, 4)
    (encrypted,) = struct.unpack_from(">I", head, 32)
    (features,) = struct.unpack_from(">Q", head, 72)
    if backing:
        raise _leads_elsewhere(image, "has a backing file")
    if encrypted:
        raise _leads_elsewhere(image, "is encrypted")
    if version >= 3 and features & _QCOW2_EXTERNAL_DATA:
        raise _leads_elsewhere(image, "keeps its data in another file")


def _check_vhd(image: ImageFile, tail: bytes) -> None:
    """Look at the footer, which a file that is cut short has not (Microsoft's Virtual Hard Disk specification)."""
    if not tail.startswith(b"conectix"):
        raise _not_one(image)
    if struct.unpack_from(">I", tail, 60) == (_VHD_DIFFERENCING,):
        raise _leads_elsewhere(image, "holds only differences from a parent image")


def _check_vmdk(image: ImageFile, head: bytes) -> ImageFile:
    """Look at the header or descriptor (VMware's Virtual Disk Format 5.0)."""
    if head.startswith(_VMDK_TEXT):
        if image.offset:
            raise _leads_elsewhere(image, "names other files")
        text = head.decode(errors="replace")
        _check_parent(image, text)
        return ImageFile(image.path, image.format, 0, image.length, _extents(image, text))
    if not head.startswith(b"KDMV") or len(head) < _SECTOR:
        raise _not_one(image)
    begin, sectors = struct.unpack_from("<QQ", head, 28)
    if begin and sectors:
        descriptor = head[begin * _SECTOR : (begin + sectors) * _SECTOR]
        _check_parent(image, descriptor.decode(errors="replace"))
    return image


def _check_parent(image: ImageFile, descriptor: str) -> None:
    parent = re.search(r"^\s*parentCID\s*=\s*([0-9A-Fa-f]+)", descriptor, re.MULTILINE)
    if (parent and parent.group(1).lower() != "ffffffff") or "parentFileNameHint" in descriptor:
        raise _leads_elsewhere(image, "holds only differences from a parent image")


def _extents(image: ImageFile, descriptor: str) -> tuple[Path, ...]:
    found = []
    for sectors, kind, name in _EXTENT.findall(descriptor):
        if kind == "ZERO":
            continue
        file = image.path.parent / name
        if kind not in ("FLAT", "SPARSE", "VMFS") or not re.fullmatch(r"[^/\\\0]+", name) or name in (".", ".."):
            raise _leads_elsewhere(image, f"names {name!r} outside its own directory")
        if file.is_symlink() or not file.is_file():
            raise StepFailed(f"{image.label} names {name!r}, which is not beside it: put all its files there")
        if kind != "SPARSE" and file.stat().st_size < int(sectors) * _SECTOR:
            raise StepFailed(f"{name} is cut short: get the image again")
        found.append(file)
    return tuple(found)
