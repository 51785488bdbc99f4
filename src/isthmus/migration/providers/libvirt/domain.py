"""The machine that a deployment makes: its XML, its definition and its removal.

Which deployment made it is written in its metadata; nothing without that mark is ever touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from isthmus.control.errors import InvalidInput, NotSupported
from isthmus.migration.machine import DeployedMachine, DestinationDisk, Firmware, Machine, NicMapping
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.libvirt import names, volumes
from isthmus.migration.providers.libvirt.acceleration import trial_name, virt_type
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.documents import parse, text_of
from isthmus.migration.providers.libvirt.faults import is_gone, translated
from isthmus.migration.providers.libvirt.neutron_nics import ReservedPort

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_ARCHITECTURES = frozenset({"x86_64", "i686"})
_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd"}


@dataclass(frozen=True)
class DeployedNics:
    """The NICs of a machine, and the Neutron ports of some of them by their index."""

    mappings: Sequence[NicMapping] = ()
    ports: Mapping[int, ReservedPort] = field(default_factory=dict)


def validate_machine(machine: Machine) -> None:
    """Raise NotSupported for a machine that no domain made here could be."""
    if machine.architecture not in _ARCHITECTURES:
        raise NotSupported(f"machine {machine.name} is of architecture {machine.architecture}; x86_64 can be deployed")


def network_name(hypervisor: Hypervisor, wanted: str) -> str:
    """Return the name of the network with this name or UUID; InvalidInput if there is none or it is not started."""
    connection = hypervisor.connection
    for look_up in (connection.networkLookupByName, connection.networkLookupByUUIDString):
        try:
            network = look_up(wanted)
        except libvirt.libvirtError as error:
            if is_gone(error) or error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG:
                continue
            raise
        if not network.isActive():
            raise InvalidInput(f"network {wanted!r} of {hypervisor.label} is not started; start it")
        return str(network.name())
    raise InvalidInput(f"network {wanted!r} is not on {hypervisor.label}; correct the network map")


def create_machine(
    hypervisor: Hypervisor,
    deployment_id: str,
    *,
    machine: Machine,
    environment: Environment,
    disks: Sequence[DestinationDisk],
    nics: DeployedNics,
) -> DeployedMachine:
    """Define the machine, off. Already done: a machine with this deployment's UUID is defined."""
    validate_machine(machine)
    identity = names.machine_uuid(deployment_id, machine.name)
    with translated(f"machine {machine.name} (defining it at the destination)"):
        domain = _by_uuid(hypervisor, identity)
        if domain is None:
            name = _free_name(hypervisor, machine.name + environment.get("name_suffix", ""), deployment_id)
            pool = next((disk.storage for disk in disks), None)
            kind = virt_type(hypervisor, environment, pool, trial_name(deployment_id, machine.name))
            environment = {**environment, "virt_type": kind}
            root = machine_xml(
                hypervisor, name, deployment_id, machine=machine, environment=environment, disks=disks, nics=nics
            )
            domain = hypervisor.connection.defineXML(text_of(root))
        # From here on its volumes are its own: no copy of them is ever begun or resumed again.
        for disk in disks:
            volumes.delete_volume(hypervisor, disk.volume_id + volumes.COMPLETE)
        return DeployedMachine(id=identity, name=domain.name(), details={"hypervisor": hypervisor.label})


def delete_machine(hypervisor: Hypervisor, deployment_id: str, machine_name: str) -> Sequence[str]:
    """Remove the deployment's machine of this source or own name; return its source name. Already done: it is gone."""
    removed = []
    with translated(f"machine {machine_name} (removing it from the destination)"):
        for domain in hypervisor.connection.listAllDomains():
            mark = _mark(domain)
            if mark is None or mark.get("deployment") != deployment_id:
                continue
            if machine_name in (mark.get("machine"), domain.name()):
                _remove(domain)
                removed.append(str(mark.get("machine")))
    return removed


def _remove(domain: Any) -> None:
    try:
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(_UNDEFINE)
    except libvirt.libvirtError as error:
        if not is_gone(error):
            raise


def _by_uuid(hypervisor: Hypervisor, identity: str) -> Any | None:
    try:
        return hypervisor.connection.lookupByUUIDString(identity)
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise


def _mark(domain: Any) -> ET.Element | None:
    try:
        found = parse(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, names.METADATA_URI, 0))
    except libvirt.libvirtError as error:
        if is_gone(error):
            return None
        raise
    return found if found.tag.rpartition("}")[2] == "deployed" else None


def _free_name(hypervisor: Hypervisor, wanted: str, deployment_id: str) -> str:
    """Return the wanted name, or, where another machine has it (the original, on the way home), one beside it."""
    taken = {domain.name() for domain in hypervisor.connection.listAllDomains()}
    return wanted if wanted not in taken else f"{wanted}-{names.short(deployment_id)[:8]}"


def machine_xml(
    hypervisor: Hypervisor,
    name: str,
    deployment_id: str,
    *,
    machine: Machine,
    environment: Environment,
    disks: Sequence[DestinationDisk],
    nics: DeployedNics,
) -> ET.Element:
    """Return the definition of the deployed machine; the environment's `virt_type` is decided by now."""
    kind = environment["virt_type"]
    root = ET.Element("domain", type=kind)
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "uuid").text = names.machine_uuid(deployment_id, machine.name)
    if machine.description:
        ET.SubElement(root, "description").text = machine.description
    mark = {"deployment": deployment_id, "machine": machine.name}
    deployed = ET.SubElement(ET.SubElement(root, "metadata"), f"{{{names.METADATA_URI}}}deployed", mark)
    ET.SubElement(root, "memory", unit="MiB").text = str(machine.memory_mb)
    ET.SubElement(root, "vcpu").text = str(machine.num_cpu)
    root.append(_firmware(machine, environment))
    features = ET.SubElement(root, "features")
    for feature in ("acpi", "apic"):
        ET.SubElement(features, feature)
    if machine.secure_boot:
        ET.SubElement(features, "smm", state="on")
    ET.SubElement(root, "cpu", mode=environment.get("cpu_mode", "maximum" if kind == "qemu" else "host-model"))
    ET.SubElement(root, "clock", offset="localtime" if machine.os_type == "windows" else "utc")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        ET.SubElement(root, event).text = action
    devices = ET.SubElement(root, "devices")
    _add_disks(hypervisor, devices, environment.get("disk_bus", "virtio"), disks)
    _add_nics(hypervisor, devices, environment.get("nic_model", "virtio"), nics, deployed)
    _add_consoles(devices)
    return root


def _firmware(machine: Machine, environment: Environment) -> ET.Element:
    """Return <os>; libvirt chooses the EFI image and makes and removes the variables' file itself."""
    efi = machine.firmware is Firmware.EFI
    system = ET.Element("os")
    chipset = environment.get("machine_type") or ("q35" if efi else "pc")
    if machine.secure_boot:
        chipset = "q35"  # secure boot needs system management mode, which the older chipset has not
    ET.SubElement(system, "type", arch=machine.architecture, machine=chipset).text = "hvm"
    loader = environment.get("firmware_loader")
    if efi and loader:
        ET.SubElement(system, "loader", readonly="yes", type="pflash").text = loader
    elif efi:
        system.set("firmware", "efi")
        firmware = ET.SubElement(system, "firmware")
        enabled = "yes" if machine.secure_boot else "no"
        ET.SubElement(firmware, "feature", enabled=enabled, name="secure-boot")
        ET.SubElement(firmware, "feature", enabled=enabled, name="enrolled-keys")
    return system


def _add_disks(hypervisor: Hypervisor, devices: ET.Element, bus: str, disks: Sequence[DestinationDisk]) -> None:
    if bus == "scsi":
        ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    for index, disk in enumerate(disks):
        element = ET.SubElement(devices, "disk", device="disk")
        volumes.set_source(element, volumes.get_volume(hypervisor, disk.volume_id))
        ET.SubElement(element, "driver", name="qemu", type=disk.format, discard="unmap")
        ET.SubElement(element, "target", dev=_PREFIX[bus] + names.drive_letters(index), bus=bus)
        ET.SubElement(element, "boot", order=str(index + 1))


def _add_nics(
    hypervisor: Hypervisor, devices: ET.Element, model: str, nics: DeployedNics, deployed: ET.Element
) -> None:
    for index, mapping in enumerate(nics.mappings):
        port = nics.ports.get(index)
        nic = ET.SubElement(devices, "interface", type="ethernet" if port else "network")
        ET.SubElement(nic, "mac", address=mapping.nic.mac_address)
        if port is None:
            ET.SubElement(nic, "source", network=network_name(hypervisor, mapping.destination_network))
        else:
            # The tap is made and removed with the machine's process; who carries it is the network agent's affair.
            ET.SubElement(nic, "target", dev=port.tap, managed="yes")
            ET.SubElement(nic, "mtu", size=str(port.mtu))
            place = {"mac": mapping.nic.mac_address, "network": mapping.destination_network}
            ET.SubElement(deployed, f"{{{names.METADATA_URI}}}nic", place)
        ET.SubElement(nic, "model", type=model)
        if port is not None and port.finish_checksums and model == "virtio":
            offloads = dict.fromkeys(("csum", "gso", "tso4", "tso6", "ecn", "ufo"), "off")
            ET.SubElement(ET.SubElement(nic, "driver", name="qemu"), "host", offloads)


def _add_consoles(devices: ET.Element) -> None:
    """A serial console for the boot probe and for people, the agent's channel, and a display on a private socket."""
    ET.SubElement(ET.SubElement(devices, "serial", type="pty"), "target", port="0")
    ET.SubElement(ET.SubElement(devices, "console", type="pty"), "target", type="serial", port="0")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    ET.SubElement(ET.SubElement(devices, "rng", model="virtio"), "backend", model="random").text = "/dev/urandom"
    ET.SubElement(ET.SubElement(devices, "graphics", type="vnc"), "listen", type="socket")
    ET.SubElement(ET.SubElement(devices, "video"), "model", type="vga")
