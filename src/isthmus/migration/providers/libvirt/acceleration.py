"""Whether a hypervisor can really run guests by KVM: found out by running one.

/dev/kvm and libvirt's capabilities say yes also on machines where a guest aborts, or where each instruction is
emulated so that a kernel never gets through its own decompression. So a boot sector is run: it counts down from 2^29,
a fraction of a second for a processor and many minutes for such an emulation, and then says so on its serial port.
"""

import time
from contextlib import closing
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.libvirt import names, volumes
from isthmus.migration.providers.libvirt.booting import Console
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.documents import parse, text_of
from isthmus.migration.providers.libvirt.faults import is_gone, is_unreachable
from isthmus.migration.providers.libvirt.power import is_active

TRIAL_SECONDS = 8
REMEMBERED_SECONDS = 3600
_SAID = "isthmus: counted"

# What the last trial at a URI showed and when: a trial costs seconds of a cut-over, and its answer rarely changes.
_shown: dict[str, tuple[bool, float]] = {}
_SECTOR_BYTES = 512
_COUNT_DOWN = bytes.fromhex(
    "31c0"  # xor ax, ax
    "8ed8"  # mov ds, ax
    "fc"  # cld
    "66b900000020"  # mov ecx, 2^29
    "6649"  # count: dec ecx
    "75fc"  # jnz count
    "be1f7c"  # mov si, text
    "baf803"  # mov dx, 0x3f8 (the first serial port)
    "ac"  # next: lodsb
    "84c0"  # test al, al
    "7403"  # jz end
    "ee"  # out dx, al
    "ebf8"  # jmp next
    "f4"  # end: hlt
    "ebfd"  # jmp end
)


def virt_type(hypervisor: Hypervisor, environment: Environment, pool: str | None, trial: str) -> str:
    """Return libvirt's domain type for the environment's `virt_type`.

    `auto` tries KVM, with a volume in `pool` under the name `trial`, and without a pool means emulation. What a trial
    showed counts for an hour.
    """
    chosen = str(environment.get("virt_type", "auto"))
    if chosen != "auto":
        return chosen
    offered = parse(hypervisor.connection.getCapabilities()).findall("guest/arch[@name='x86_64']/domain")
    if pool is None or "kvm" not in [item.get("type") for item in offered]:
        return "qemu"
    works, at = _shown.get(hypervisor.uri, (False, float("-inf")))
    if time.monotonic() - at > REMEMBERED_SECONDS:
        works = runs(hypervisor, "kvm", pool, trial)
        _shown[hypervisor.uri] = (works, time.monotonic())
    return "kvm" if works else "qemu"


def runs(hypervisor: Hypervisor, kind: str, pool: str, trial: str, seconds: float = TRIAL_SECONDS) -> bool:
    """Tell whether a guest of this domain type counts to its end in time. Nothing of the trial stays."""
    volume_id = f"{pool}/{trial}.raw"
    volume = _write_sector(hypervisor, volume_id)
    try:
        return _counts(hypervisor, text_of(_guest(kind, trial, volume)), seconds)
    finally:
        volumes.delete_volume(hypervisor, volume_id)


def _sector() -> bytes:
    code = _COUNT_DOWN + b"\r\n" + _SAID.encode() + b"\r\n\0"
    return code.ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


def _write_sector(hypervisor: Hypervisor, volume_id: str) -> Any:
    """Make the trial's volume, also where a killed worker has left one."""
    pool, _, name = volume_id.partition("/")
    volumes.delete_volume(hypervisor, volume_id)
    volume = volumes.find_pool(hypervisor, pool).createXML(volumes.volume_xml(name, 1 << 20, "raw"))
    stream = hypervisor.connection.newStream()
    volume.upload(stream, 0, _SECTOR_BYTES)
    stream.sendAll(lambda _stream, wanted, content: content.pop()[:wanted] if content else b"", [_sector()])
    stream.finish()
    return volume


def _guest(kind: str, name: str, volume: Any) -> ET.Element:
    root = ET.Element("domain", type=kind)
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "memory", unit="MiB").text = "16"
    ET.SubElement(root, "vcpu").text = "1"
    ET.SubElement(ET.SubElement(root, "os"), "type", arch="x86_64", machine="pc").text = "hvm"
    devices = ET.SubElement(root, "devices")
    disk = ET.SubElement(devices, "disk", device="disk")
    volumes.set_source(disk, volume)
    ET.SubElement(disk, "driver", name="qemu", type="raw")
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    ET.SubElement(devices, "console", type="pty")
    ET.SubElement(devices, "memballoon", model="none")
    return root


def _counts(hypervisor: Hypervisor, definition: str, seconds: float) -> bool:
    """Run the guest and watch its console; it ends with our connection at the latest."""
    flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
    try:
        domain = hypervisor.connection.createXML(definition, flags)
    except libvirt.libvirtError as error:
        if is_unreachable(error):
            raise
        return False  # this type of guest does not even start
    try:
        with closing(Console(hypervisor, domain)) as console:
            domain.resume()
            return _said(domain, console, seconds)
    finally:
        _destroy(domain)


def _said(domain: Any, console: Console, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(_SAID in line for line in console.read()):
            return True
        if not is_active(domain):
            return False
        time.sleep(0.1)
    return False


def _destroy(domain: Any) -> None:
    try:
        if is_active(domain):
            domain.destroy()
    except libvirt.libvirtError as error:
        if not is_gone(error):
            raise


def trial_name(deployment_id: str, machine_name: str) -> str:
    """Return the name of the trial for one deployed machine."""
    return f"isthmus-trial-{names.short(deployment_id, machine_name)}"
