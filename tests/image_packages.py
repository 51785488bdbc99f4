"""Directories of disk images and OVF packages, made for tests with QEMU's own tools."""

import contextlib
import hashlib
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from isthmus.migration.providers.premises import Premises

MAC = "52:54:00:12:ab:cd"
_DRIVERS = {"vhd": "vpc"}
_OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References>{files}</References>
 <DiskSection><Info/>{disks}</DiskSection>
 <NetworkSection><Info/><Network ovf:name="VM Network"/></NetworkSection>
 <VirtualSystem ovf:id="{name}"><Info/><Name>{name}</Name>
  <OperatingSystemSection ovf:id="101" vmw:osType="debian12_64Guest"><Info/></OperatingSystemSection>
  <VirtualHardwareSection><Info/>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
    <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
    <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:Address>{mac}</rasd:Address><rasd:Connection>VM Network</rasd:Connection>
    <rasd:InstanceID>7</rasd:InstanceID><rasd:ResourceType>10</rasd:ResourceType></Item>
   {items}
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""


def make_site(place: Path) -> dict[str, Any]:
    """Make an endpoint's directory; return its connection details."""
    (place / "images").mkdir(parents=True)
    return {"path": str(place / "images")}


def premises_of(*places: Path) -> Premises:
    """Return what a worker lets endpoints use whose own directory is the first of these, and images lie in all."""
    return Premises(places[0] / "run", places[0] / "staging", places)


def leftovers_of_images(connection: dict[str, Any]) -> list[str]:
    """Return what Isthmus has left in an endpoint's directory, and what still serves images out of it."""
    root = Path(connection["path"])
    hidden = [each.name for each in (root / ".isthmus").iterdir()] if (root / ".isthmus").exists() else []
    made = [each.parent.name for each in root.glob("*/.isthmus.json")]
    return hidden + made + served(root)


def served(root: Path) -> list[str]:
    """Return the files below a directory that are served by anybody."""
    return sorted({f"served: {each}" for each in _served(root)})


def _served(root: Path) -> Iterator[str]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # one that ends meanwhile
            words = process.cmdline()
            if words[:1] in (["bwrap"], ["setsid"]):
                yield from (word for word in words if word.startswith(f"{root}/"))


def make_image(path: Path, size_mib: int, *options: str, seed: int = 1) -> Path:
    """Make an image, of the format that its ending says, that holds `size_mib` MiB, the first of them data."""
    content = content_of(size_mib, seed)
    kind = path.suffix[1:]
    raw = path.with_name(f"{path.name}.making")
    raw.write_bytes(content)
    driver = _DRIVERS.get(kind, kind)
    size = ["-o", ",".join((*options, *(["force_size=on"] if driver == "vpc" else [])))]
    command = ["qemu-img", "convert", "-f", "raw", "-O", driver, *(size if size[1] else []), str(raw), str(path)]
    subprocess.run(command, check=True)
    raw.unlink()
    return path


def content_of(size_mib: int, seed: int = 1) -> bytes:
    """Return what `make_image` writes: a MiB that is different for each seed, then zeros."""
    return hashlib.shake_128(bytes([seed])).digest(1 << 20) + bytes((size_mib - 1) << 20)


def descriptor(name: str, images: Sequence[str], *, format_uri: str = "") -> str:
    """Return an OVF descriptor of a machine with these images."""
    return _OVF.format(
        name=name,
        mac=MAC,
        files="".join(f'<File ovf:id="f{i}" ovf:href="{image}"/>' for i, image in enumerate(images)),
        disks="".join(
            f'<Disk ovf:diskId="vmdisk{i}" ovf:fileRef="f{i}" ovf:capacity="1" ovf:format="{format_uri}"/>'
            for i in range(len(images))
        ),
        items="".join(
            f"<Item><rasd:AddressOnParent>{i}</rasd:AddressOnParent>"
            f"<rasd:HostResource>ovf:/disk/vmdisk{i}</rasd:HostResource><rasd:InstanceID>{20 + i}</rasd:InstanceID>"
            "<rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>"
            for i in range(len(images))
        ),
    )


def make_package(root: Path, name: str, *, disk_mib: Sequence[int] = (48,), ending: str = "qcow2") -> Path:
    """Make a directory with an OVF descriptor, its images and their manifest; return the descriptor."""
    place = root / name
    place.mkdir()
    images = [make_image(place / f"disk{i}.{ending}", size, seed=i + 1) for i, size in enumerate(disk_mib)]
    file = place / f"{name}.ovf"
    file.write_text(descriptor(name, [image.name for image in images]))
    write_manifest(file, [file, *images])
    return file


def write_manifest(descriptor_file: Path, files: Sequence[Path]) -> Path:
    """Write the manifest of a package."""
    lines = [f"SHA256({file.name})= {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files]
    manifest = descriptor_file.with_suffix(".mf")
    manifest.write_text("".join(lines))
    return manifest


def make_archive(root: Path, name: str, *, size_mib: int = 8, spoil: bool = False) -> Path:
    """Make an OVA archive with a stream-optimised VMDK; with `spoil`, its manifest does not fit."""
    raw = root / f".{name}.raw"
    raw.write_bytes(content_of(size_mib))
    archive = pack(root, name, raw, spoil=spoil)
    raw.unlink()
    return archive


def pack(root: Path, name: str, raw: Path, *, spoil: bool = False) -> Path:
    """Make an OVA archive of a raw disk, as VMware exports."""
    place = root / f".{name}.making"
    place.mkdir()
    image, file = place / f"{name}-disk1.vmdk", place / f"{name}.ovf"
    options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, str(raw), str(image)], check=True)
    uri = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
    file.write_text(descriptor(name, [image.name], format_uri=uri))
    manifest = write_manifest(file, [file, image])
    if spoil:
        manifest.write_text(manifest.read_text().replace(f"({image.name})= ", f"({image.name})= 00")[:-3] + "\n")
    archive = root / f"{name}.ova"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in (file, manifest, image):
            tar.add(member, member.name)
            member.unlink()
    place.rmdir()
    return archive
