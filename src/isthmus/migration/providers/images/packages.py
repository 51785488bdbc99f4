"""OVF packages: a descriptor with its images beside it, or all of them in one tar archive (OVA), and their manifest."""

import hashlib
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isthmus.control.errors import StepFailed
from isthmus.migration.providers.images import ovf
from isthmus.migration.providers.images.formats import ENDINGS, ImageFile, ImageFormat, open_image
from isthmus.migration.reporting import Progress, Report

_MOST_MEMBERS = 1000
_LARGEST_MANIFEST = 1 << 20
_LINE = re.compile(r"^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]+)\s*$", re.IGNORECASE)
_PIECE = 1 << 20


@dataclass(frozen=True)
class Member:
    """One file of a package: a range of bytes of a file on disk."""

    path: Path
    offset: int
    length: int

    def read(self, most: int, label: str) -> bytes:
        """Return its content. Raises `StepFailed` if it has more than `most` bytes."""
        if self.length > most:
            raise StepFailed(f"{label} is larger than {most} bytes: get the package again")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


@dataclass(frozen=True)
class Package:
    """An OVF package, opened: its members by name and what its descriptor says."""

    path: Path
    descriptor: str
    members: Mapping[str, Member]
    description: ovf.Description

    def image(self, disk: ovf.OvfDisk) -> ImageFile:
        """Return the image of one of the machine's disks. Raises `StepFailed` if it is not there, or not to be read."""
        member = self.members.get(disk.file)
        if member is None:
            raise StepFailed(f"{self.path.name} names image {disk.file}, which is not there: get the package again")
        if disk.compressed:
            raise StepFailed(f"image {disk.file} of {self.path.name} is compressed: unpack the package and its images")
        return open_image(member.path, format_of(disk), member.offset, member.length)


def open_package(path: Path) -> Package:
    """Open an .ova or .ovf file. Raises `StepFailed` for one that is not sound."""
    if path.suffix.lower() == ".ova":
        members = _members_of_archive(path)
        descriptors = [name for name in members if name.lower().endswith(".ovf")]
        if len(descriptors) != 1:
            raise StepFailed(f"{path.name} holds {len(descriptors)} OVF descriptors, and must hold one: get it again")
        descriptor = descriptors[0]
    else:
        members, descriptor = _members_beside(path), path.name
    content = members[descriptor].read(ovf.LARGEST_DESCRIPTOR, descriptor)
    return Package(path, descriptor, members, ovf.parse(content, path.name))


def verify(package: Package, report: Report) -> bool:
    """Compare the descriptor and the machine's images with the manifest; return whether there is a manifest.

    Reads all of them once. Raises `StepFailed` for a difference, or for a file that the manifest does not name.
    """
    name = manifest_of(package.descriptor)
    member = package.members.get(name)
    if member is None:
        return False
    digests = _parse_manifest(member.read(_LARGEST_MANIFEST, name).decode(errors="replace"), package.path.name)
    for file in (package.descriptor, *(disk.file for disk in package.description.disks)):
        if file not in digests:
            raise StepFailed(f"the manifest of {package.path.name} does not name {file}: get the package again")
        algorithm, wanted = digests[file]
        if _digest(package.members[file], algorithm, file, report) != wanted:
            raise StepFailed(
                f"{file} of {package.path.name} is not what its manifest says ({algorithm}): it was changed or damaged "
                "after its export; get the package again"
            )
    return True


def manifest_of(descriptor: str) -> str:
    """Return the name that the manifest of a descriptor has."""
    return re.sub(r"\.ovf$", ".mf", descriptor, flags=re.IGNORECASE)


def _parse_manifest(text: str, label: str) -> dict[str, tuple[str, str]]:
    found = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _LINE.match(line)
        if not match:
            raise StepFailed(f"the manifest of {label} has a line that is none ({line[:60]!r}): get the package again")
        found[match.group(2)] = (match.group(1).lower(), match.group(3).lower())
    return found


def _digest(member: Member, algorithm: str, label: str, report: Report) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)  # SHA-1 tells damage; what it cannot tell, nobody signed
    done = 0
    with member.path.open("rb") as file:
        file.seek(member.offset)
        while done < member.length and (piece := file.read(min(_PIECE, member.length - done))):
            report.check()
            digest.update(piece)
            done += len(piece)
            report.progress(Progress(f"manifest {label}", done, member.length))
    return digest.hexdigest()


def _members_of_archive(path: Path) -> dict[str, Member]:
    """Return the plain files at the top of a tar archive; where each lies in it is enough to read it in place."""
    try:
        with path.open("rb") as file:
            members = dict(read_archive(file, path))
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise StepFailed(f"{path.name} is not a sound tar archive ({error}): get the OVA again") from error
    size = path.stat().st_size
    for name, member in members.items():
        if member.offset + member.length > size:
            raise StepFailed(f"{path.name} is cut short inside {name}: get the OVA again")
    return members


def read_archive(file: IO[bytes], path: Path) -> Iterator[tuple[str, Member]]:
    """Yield the plain files at the top of an OVA archive by name. Raises `StepFailed`, and tarfile's errors."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for number, entry in enumerate(archive):
            if number >= _MOST_MEMBERS:
                raise StepFailed(f"{path.name} holds more than {_MOST_MEMBERS} files: it is no OVA")
            name = entry.name.removeprefix("./")
            # Links and sparse entries have no bytes of their own here; what lies deeper no descriptor can name.
            if entry.isreg() and not entry.issparse() and "/" not in name:
                yield name, Member(path, entry.offset_data, entry.size)


def _members_beside(path: Path) -> dict[str, Member]:
    files = [each for each in path.parent.iterdir() if each.is_file() and not each.is_symlink()]
    return {each.name: Member(each, 0, each.stat().st_size) for each in files}


def format_of(disk: ovf.OvfDisk) -> ImageFormat:
    """Return the format of a disk's image, by the descriptor or the file's name. Raises `StepFailed`."""
    if "vmdk" in disk.format_uri.lower():
        return ImageFormat.VMDK
    ending = Path(disk.file).suffix.lower()
    if ending not in ENDINGS:
        raise StepFailed(f"the format of image {disk.file} is unknown: name it {', '.join(ENDINGS)}")
    return ENDINGS[ending]
