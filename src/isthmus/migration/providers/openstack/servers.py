"""Machines at the destination: their ports and volumes made ready first, the server itself only when it is to run.

Nova has no machine that was never started: making a server starts it. So `create_machine` makes the ports, marks the
volumes and says what the server will be; `booting` makes the server. Until then the boot volume stands for the machine.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.migration.machine import DeployedMachine, DestinationDisk, Firmware, Machine, NicMapping, PowerState
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.openstack import inventory, names
from isthmus.migration.providers.openstack.connection import Cloud, wait_until
from isthmus.migration.providers.openstack.faults import translated

PREPARED = "boot-volume:"
"""What the id of a machine that has never run begins with; the boot volume's id follows."""
_NIC_MODELS = {"rtl8139": "rtl8139", "e1000": "e1000", "e1000e": "e1000e", "virtio": "virtio"}


def check_machine(cloud: Cloud, machine: Machine, environment: Environment, nics: Sequence[NicMapping]) -> None:
    """Raise `InvalidInput` if the cloud has no such flavor, network, key, group or zone, or cannot run the machine."""
    if machine.architecture != "x86_64":
        raise InvalidInput(f"{machine.name} is for {machine.architecture}; only x86_64 machines can arrive")
    if len(machine.name.encode()) > 200:
        raise InvalidInput(f"the name of {machine.name[:40]}… is too long for a server; shorten it")
    for mapping in nics:
        inventory.network_id(cloud, mapping.destination_network)
    flavor_for(cloud, machine, environment)
    _check_choices(cloud, environment)


def flavor_for(cloud: Cloud, machine: Machine, environment: Environment) -> Any:
    """Return the flavor of the environment, else the smallest that the machine fits in. Raises `InvalidInput`."""
    with translated(f"flavors of {cloud.label}"):
        flavors = list(cloud.compute.flavors())
    wanted = environment.get("flavor")
    if wanted:
        for flavor in flavors:
            if wanted in (flavor.id, flavor.name):
                return flavor
        known = ", ".join(sorted(flavor.name for flavor in flavors)[:20]) or "none"
        raise InvalidInput(f"flavor {wanted!r} does not exist in {cloud.label} ({known}); correct the environment")
    fitting = [each for each in flavors if each.vcpus >= machine.num_cpu and each.ram >= machine.memory_mb]
    if not fitting:
        raise InvalidInput(
            f"{machine.name} needs {machine.num_cpu} processors and {machine.memory_mb} MiB, and no flavor of "
            f"{cloud.label} has as much; name a smaller one as `flavor`"
        )
    return min(fitting, key=lambda each: (each.ram, each.vcpus, each.disk, each.name))


def create_machine(
    cloud: Cloud,
    deployment_id: str,
    *,
    machine: Machine,
    environment: Environment,
    disks: Sequence[DestinationDisk],
    nics: Sequence[NicMapping],
) -> DeployedMachine:
    """Make the ports and mark the volumes. Already done: they are found by their names and marks."""
    if not disks:
        raise InvalidInput(f"{machine.name} has no disk to boot from; choose another machine")
    name = machine.name + str(environment.get("name_suffix") or "")
    flavor = flavor_for(cloud, machine, environment)
    with ExitStack() as undo:
        undo.callback(delete_machine, cloud, deployment_id, machine.name)
        ports = _ensure_ports(cloud, deployment_id, machine, environment, nics)
        with translated(f"volumes of {name}"):
            _mark_volumes(cloud, deployment_id, machine, environment, disks)
        undo.pop_all()
    details = {
        "deployment": deployment_id,
        "source": machine.name,
        "flavor": flavor.id,
        "ports": ",".join(ports),
        "volumes": ",".join(disk.volume_id for disk in disks),
        "buses": ",".join([str(environment.get("disk_bus") or "virtio")] * len(disks)),
        "key_name": str(environment.get("key_name") or ""),
        "availability_zone": str(environment.get("availability_zone") or ""),
    }
    return DeployedMachine(f"{PREPARED}{disks[0].volume_id}", name, details)


def _ensure_ports(
    cloud: Cloud, deployment_id: str, machine: Machine, environment: Environment, nics: Sequence[NicMapping]
) -> list[str]:
    prefix = names.ports(deployment_id, machine.name)
    present = {port.name: port for port in _ports(cloud, prefix)}
    groups = _security_groups(cloud, environment)
    ids = []
    for index, mapping in enumerate(nics):
        name = f"{prefix}{index}"
        if name not in present:
            with translated(f"port of {machine.name} on network {mapping.destination_network}"):
                wanted = _port(cloud, mapping, environment, groups)
                present[name] = cloud.network.create_port(name=name, **wanted)
        ids.append(present[name].id)
    return ids


def _port(cloud: Cloud, mapping: NicMapping, environment: Environment, groups: Sequence[str]) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "network_id": inventory.network_id(cloud, mapping.destination_network),
        "mac_address": mapping.nic.mac_address,
        "description": "made by Isthmus",
    }
    if groups:
        wanted["security_groups"] = list(groups)
    if environment.get("keep_addresses") and mapping.nic.ip_addresses:
        wanted["fixed_ips"] = [{"ip_address": address} for address in mapping.nic.ip_addresses]
    return wanted


def _ports(cloud: Cloud, prefix: str) -> list[Any]:
    with translated(f"ports {prefix}"):
        return [port for port in cloud.network.ports() if str(port.name).startswith(prefix)]


def _mark_volumes(
    cloud: Cloud, deployment_id: str, machine: Machine, environment: Environment, disks: Sequence[DestinationDisk]
) -> None:
    marks = {names.DEPLOYMENT: deployment_id, names.MACHINE: machine.name}
    for disk in disks:
        cloud.volumes.set_volume_metadata(disk.volume_id, **marks)
    boot = disks[0].volume_id
    cloud.volumes.set_volume_bootable_status(boot, True)
    cloud.volumes.set_volume_metadata(
        boot,
        isthmus_spec=json.dumps([machine.num_cpu, machine.memory_mb, machine.firmware.value, machine.os_type]),
        isthmus_name=(machine.name + str(environment.get("name_suffix") or ""))[:255],
    )
    cloud.volumes.set_volume_image_metadata(boot, **_image_properties(machine, environment))


def _image_properties(machine: Machine, environment: Environment) -> dict[str, str]:
    """Return what Nova reads from the boot volume, in the words of Glance's image properties."""
    bus = str(environment.get("disk_bus") or "virtio")
    found = {
        "hw_disk_bus": bus,
        "hw_vif_model": _NIC_MODELS[str(environment.get("nic_model") or "virtio")],
        "hw_firmware_type": "uefi" if machine.firmware is Firmware.EFI else "bios",
        "os_type": machine.os_type,
    }
    if bus == "scsi":
        found["hw_scsi_model"] = "virtio-scsi"
    if machine.firmware is Firmware.EFI or bus == "sata":
        found["hw_machine_type"] = "q35"
    return found


def prepared_machine(cloud: Cloud, identity: str) -> Machine:
    """Return a machine that `create_machine` made, from its boot volume; the server itself if there is one by now."""
    volume_id = identity.removeprefix(PREPARED)
    with translated(f"machine {identity}"):
        volume = cloud.volumes.get_volume(volume_id)
        marks: Mapping[str, str] = volume.metadata or {}
        if names.DEPLOYMENT not in marks or "isthmus_spec" not in marks:
            raise NotFound(f"machine {identity} does not exist in {cloud.label}; deploy it again")
        server = find_deployed(cloud, marks[names.DEPLOYMENT], marks[names.MACHINE])
        if server is not None:
            return inventory.whole_machine(cloud, server)
        num_cpu, memory_mb, firmware, os_type = json.loads(marks["isthmus_spec"])
        prefix = names.ports(marks[names.DEPLOYMENT], marks[names.MACHINE])
        nics = inventory.nics_of(cloud, _ports(cloud, prefix))
    return Machine(
        identity,
        marks["isthmus_name"],
        num_cpu,
        memory_mb,
        Firmware(firmware),
        PowerState.OFF,
        os_type,
        nics=nics,
    )


def find_deployed(cloud: Cloud, deployment_id: str, machine_name: str) -> Any | None:
    """Return the server that a deployment made; None if there is none."""
    with translated(f"machine of deployment {deployment_id}"):
        for server in cloud.compute.servers(details=True):
            marks = server.metadata or {}
            if marks.get(names.DEPLOYMENT) == deployment_id and marks.get(names.MACHINE) == machine_name[:255]:
                return server
    return None


def delete_machine(cloud: Cloud, deployment_id: str, machine_name: str) -> None:
    """Remove the server and its ports, and take the marks from its volumes. Already done: there are none."""
    server = find_deployed(cloud, deployment_id, machine_name)
    if server is not None:
        delete_server(cloud, server)
    for port in _ports(cloud, names.ports(deployment_id, machine_name)):
        with translated(f"port {port.name}"):
            cloud.network.delete_port(port.id, ignore_missing=True)
    with translated(f"volumes of {machine_name}"):
        for volume in list(cloud.volumes.volumes(details=True)):
            marks = volume.metadata or {}
            if marks.get(names.DEPLOYMENT) == deployment_id and marks.get(names.MACHINE) == machine_name[:255]:
                own = [names.DEPLOYMENT, names.MACHINE, "isthmus_spec", "isthmus_name"]
                cloud.volumes.delete_volume_metadata(volume.id, [key for key in own if key in marks])


def delete_server(cloud: Cloud, server: Any) -> None:
    """Delete a server and wait until it is gone."""
    what = f"machine {server.name}"
    with translated(what):
        cloud.compute.delete_server(server.id, ignore_missing=True)

    def look() -> str | None:
        try:
            with translated(what):
                return f"status {cloud.compute.get_server(server.id).status}"
        except NotFound:
            return None

    wait_until(look, f"end of {what}")


def _check_choices(cloud: Cloud, environment: Environment) -> None:
    key, zone = environment.get("key_name"), environment.get("availability_zone")
    with translated(f"choices of {cloud.label}"):
        if key and key not in {each.name for each in cloud.compute.keypairs()}:
            raise InvalidInput(f"key pair {key!r} does not exist in {cloud.label}; make it, or correct key_name")
        if zone and zone not in {each.name for each in cloud.compute.availability_zones()}:
            raise InvalidInput(f"availability zone {zone!r} does not exist in {cloud.label}; correct the environment")
    _security_groups(cloud, environment)


def _security_groups(cloud: Cloud, environment: Environment) -> list[str]:
    wanted = environment.get("security_groups") or []
    if not wanted:
        return []
    with translated(f"security groups of {cloud.label}"):
        known = list(cloud.network.security_groups())
    found = []
    for one in wanted:
        ids = [each.id for each in known if one in (each.id, each.name)]
        if len(ids) != 1:
            raise InvalidInput(f"security group {one!r} is not one of {cloud.label}; correct the environment")
        found.append(ids[0])
    return found
