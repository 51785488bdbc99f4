"""Writing to the destination's volumes: a paused helper domain whose QEMU serves them over NBD.

It holds the disks as a machine would, so it works with every kind of pool, keeps to the hypervisor's own permissions
and locks, needs nothing but the libvirt connection, and outlives the worker. It never runs an instruction and has no
network. It is transient, so nothing stays when it ends; its name follows from the owner, so it is found again.
"""

import time
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.control.errors import Conflict, IsthmusError, Unavailable
from isthmus.migration.machine import DestinationDisk
from isthmus.migration.providers.contract import ExportedDisk, NearImage
from isthmus.migration.providers.libvirt import endpoints, names, volumes
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.documents import parse, text_of
from isthmus.migration.providers.libvirt.endpoints import Endpoint
from isthmus.migration.providers.libvirt.faults import is_gone, translated
from isthmus.migration.providers.libvirt.monitor import MonitorError, ask
from isthmus.migration.providers.libvirt.power import is_active

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
CLOSE_SECONDS = 120
NOTICE_SECONDS = 3
"""How long libvirtd may take to notice that a QEMU is dead."""
DEFAULT_CERTIFICATES = "/etc/pki/qemu"

ET.register_namespace("qemu", QEMU_NAMESPACE)


def open_writing(hypervisor: Hypervisor, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
    """Serve the disks for `owner` (see the contract)."""
    with translated(f"writing to the disks of {owner}"):
        paths = {disk.disk_id: volumes.path_of(hypervisor, disk) for disk in disks}
        domain = _find(hypervisor, owner)
        if domain is not None:
            endpoint = _alive(hypervisor, domain, owner, paths)
            if endpoint is not None:
                return _exports(endpoint, disks, paths)
            _end(domain)
        _refuse_shared(hypervisor, owner, set(paths.values()))
        endpoints.forget_socket(hypervisor, owner)
        domain = hypervisor.connection.createXML(
            text_of(_helper(hypervisor, owner, disks)), libvirt.VIR_DOMAIN_START_PAUSED
        )
        endpoint = _listen(hypervisor, domain, owner)
        _export(domain, disks)
        return _exports(endpoint, disks, paths)


def close_writing(hypervisor: Hypervisor, owner: str) -> None:
    """Stop serving; QEMU writes out what it holds before it ends (see the contract)."""
    with translated(f"closing the disks of {owner}"):
        domain = _find(hypervisor, owner)
        if domain is not None:
            _end(domain)
    endpoints.forget_socket(hypervisor, owner)


def _find(hypervisor: Hypervisor, owner: str) -> Any | None:
    try:
        domain = hypervisor.connection.lookupByName(names.writer(owner))
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise
    return domain if is_active(domain) else None


def _end(domain: Any) -> None:
    """End QEMU by SIGTERM, upon which it flushes and closes the images, and wait; never by SIGKILL."""
    deadline = time.monotonic() + CLOSE_SECONDS
    while is_active(domain):
        try:
            domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        except libvirt.libvirtError as error:
            if is_gone(error) or not is_active(domain):
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"helper domain {domain.name()} is still writing its disks out; it will be tried again"
                ) from error
            time.sleep(0.5)


def _alive(hypervisor: Hypervisor, domain: Any, owner: str, paths: dict[str, str]) -> Endpoint | None:
    """Return what `_serving` does; None also for a helper that dies while we ask it."""
    try:
        return _serving(hypervisor, domain, owner, paths)
    except (IsthmusError, libvirt.libvirtError):
        deadline = time.monotonic() + NOTICE_SECONDS
        while is_active(domain):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        return None


def _serving(hypervisor: Hypervisor, domain: Any, owner: str, paths: dict[str, str]) -> Endpoint | None:
    """Return where the helper listens, if it serves exactly these disks; None if it has to be made anew."""
    tree = parse(domain.XMLDesc())
    held = {element.get("file") or element.get("dev") for element in tree.findall("devices/disk/source")}
    if held != set(paths.values()):
        return None
    exports = {export["id"] for export in ask(domain, "query-block-exports") if not export["shutting-down"]}
    if exports != {_export_id(index) for index in range(len(paths))}:
        return None
    if endpoints.is_unix(hypervisor):
        path = endpoints.socket_path(hypervisor, owner)
        return Endpoint(socket=str(path)) if path.is_socket() else None
    port = _metadata_port(domain)
    return endpoints.at_port(hypervisor, port) if port else None


def _refuse_shared(hypervisor: Hypervisor, owner: str, paths: set[str]) -> None:
    """Raise Conflict if another machine that is on uses one of the disks: block devices have no locks."""
    for other in hypervisor.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            tree = parse(other.XMLDesc())
        except libvirt.libvirtError as error:
            if is_gone(error):
                continue
            raise
        shared = paths & {element.get("file") or element.get("dev") for element in tree.findall("devices/disk/source")}
        if shared:
            used_by = tree.findtext("title") or other.name()
            raise Conflict(
                f"disk {min(filter(None, shared))}, wanted by {owner}, is in use by {used_by}; "
                "wait until that has ended"
            )


def _helper(hypervisor: Hypervisor, owner: str, disks: Sequence[DestinationDisk]) -> ET.Element:
    root = ET.Element("domain", type=_any_type(hypervisor))
    ET.SubElement(root, "name").text = names.writer(owner)
    ET.SubElement(root, "title").text = f"Isthmus writes the disks of {owner}"
    ET.SubElement(root, "memory", unit="MiB").text = "32"
    ET.SubElement(root, "vcpu").text = "1"
    ET.SubElement(ET.SubElement(root, "os"), "type").text = "hvm"
    devices = ET.SubElement(root, "devices")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    ET.SubElement(devices, "memballoon", model="none")
    ET.SubElement(ET.SubElement(devices, "video"), "model", type="none")
    override = ET.Element(f"{{{QEMU_NAMESPACE}}}override")
    for index, disk in enumerate(disks):
        element = ET.SubElement(devices, "disk", device="disk")
        volumes.set_source(element, volumes.get_volume(hypervisor, disk.volume_id))
        ET.SubElement(
            element, "driver", name="qemu", type=disk.format, cache="writeback", discard="unmap", detect_zeroes="off"
        )
        ET.SubElement(element, "target", dev=f"sd{names.drive_letters(index)}", bus="scsi")
        ET.SubElement(element, "alias", name=_alias(index))
        # The device that never runs must let the NBD export write beside it.
        device = ET.SubElement(override, f"{{{QEMU_NAMESPACE}}}device", alias=_alias(index))
        frontend = ET.SubElement(device, f"{{{QEMU_NAMESPACE}}}frontend")
        ET.SubElement(frontend, f"{{{QEMU_NAMESPACE}}}property", name="share-rw", type="bool", value="true")
    root.append(override)
    return root


def _any_type(hypervisor: Hypervisor) -> str:
    """Return an accelerator that the hypervisor offers: nothing runs, so any will do, emulation first."""
    offered = [item.get("type") for item in parse(hypervisor.connection.getCapabilities()).findall("guest/arch/domain")]
    return "qemu" if "qemu" in offered else "kvm"


def _alias(index: int) -> str:
    return f"ua-isthmus-{index}"


def _export_id(index: int) -> str:
    return f"isthmus-{index}"


def _listen(hypervisor: Hypervisor, domain: Any, owner: str) -> Endpoint:
    """Start QEMU's NBD server at the first place where it can."""
    for endpoint in endpoints.candidates(hypervisor, owner):
        if endpoint.socket is not None:
            address = {"type": "unix", "data": {"path": endpoint.socket}}
            ask(domain, "nbd-server-start", {"addr": address, "max-connections": 0})
            return endpoint
        try:
            _listen_with_tls(hypervisor, domain, endpoint)
        except MonitorError as error:
            if "Address already in use" not in error.message:
                raise
        else:
            return endpoint
    raise Unavailable(f"all NBD ports of {hypervisor.label} are taken; widen the endpoint's range")


def _listen_with_tls(hypervisor: Hypervisor, domain: Any, endpoint: Endpoint) -> None:
    if not any(item["name"] == "isthmus-tls" for item in ask(domain, "qom-list", {"path": "/objects"})):
        directory = hypervisor.nbd.get("hypervisor_certificates", DEFAULT_CERTIFICATES)
        credentials = {"qom-type": "tls-creds-x509", "id": "isthmus-tls", "endpoint": "server", "dir": directory}
        ask(domain, "object-add", {**credentials, "verify-peer": True})
    address = {"type": "inet", "data": {"host": endpoint.address, "port": str(endpoint.port)}}
    ask(domain, "nbd-server-start", {"addr": address, "tls-creds": "isthmus-tls", "max-connections": 0})
    mark = text_of(ET.Element("writer", port=str(endpoint.port)))
    where = libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, mark, names.METADATA_KEY, names.METADATA_URI, where)


def _metadata_port(domain: Any) -> int:
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, names.METADATA_URI, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return 0
        raise
    return int(parse(text).get("port", "0"))


def _export(domain: Any, disks: Sequence[DestinationDisk]) -> None:
    """Give each disk to the NBD server under its id."""
    nodes = {
        device["qdev"].rpartition("/peripheral/")[2].partition("/")[0]: device["inserted"]["node-name"]
        for device in ask(domain, "query-block")
        if device.get("inserted")
    }
    for index, disk in enumerate(disks):
        export = {"type": "nbd", "id": _export_id(index), "node-name": nodes[_alias(index)], "name": disk.disk_id}
        ask(domain, "block-export-add", {**export, "writable": True})


def _exports(endpoint: Endpoint, disks: Sequence[DestinationDisk], paths: dict[str, str]) -> Sequence[ExportedDisk]:
    return [
        ExportedDisk(
            disk.disk_id,
            endpoint.uri(disk.disk_id),
            disk.size_bytes,
            tls_certificates=endpoint.certificates,
            # Who reaches QEMU by a socket's name reaches its files by theirs.
            image=NearImage(paths[disk.disk_id], disk.format) if endpoint.socket else None,
        )
        for disk in disks
    ]
