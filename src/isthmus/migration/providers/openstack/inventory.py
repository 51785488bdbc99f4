"""What a project has: machines with their volumes and ports, networks, volume types."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.migration import patterns
from isthmus.migration.machine import Disk, Firmware, Machine, Network, Nic, PowerState, StorageBackend
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import translated

GIB = 1 << 30
EPHEMERAL = "ephemeral"
"""Storage of a root disk that no volume holds: Nova keeps it on the hypervisor."""
POWER = {
    "ACTIVE": PowerState.RUNNING,
    "REBOOT": PowerState.RUNNING,
    "HARD_REBOOT": PowerState.RUNNING,
    "PASSWORD": PowerState.RUNNING,
    "PAUSED": PowerState.PAUSED,
    "SUSPENDED": PowerState.PAUSED,
}


def list_machines(cloud: Cloud, pattern: str | None) -> list[Machine]:
    """Return all servers of the project, ordered by id, without disks and NICs."""
    wanted = patterns.names(pattern)
    with translated(f"machines of {cloud.label}"):
        attached = _volumes_by_server(cloud.volumes.volumes(details=True))
        servers = [each for each in cloud.compute.servers(details=True) if wanted.is_in(each.name)]
    return sorted((_machine(each, attached.get(each.id, [])) for each in servers), key=lambda machine: machine.id)


def find_server(cloud: Cloud, instance: str) -> Any:
    """Return the server of this id or name. Raises `NotFound`, `InvalidInput` if several have the name."""
    with translated(f"machine {instance}"):
        server = cloud.compute.find_server(instance, ignore_missing=True) if instance else None
    if server is None:
        raise NotFound(f"machine {instance} does not exist in {cloud.label}; list the endpoint's instances")
    with translated(f"machine {instance}"):
        return cloud.compute.get_server(server.id)


def whole_machine(cloud: Cloud, server: Any) -> Machine:
    """Return a server with its disks and NICs."""
    with translated(f"machine {server.name}"):
        volumes = volumes_of(cloud, server)
        machine = _machine(server, volumes)
        nics = nics_of(cloud, list(cloud.network.ports(device_id=server.id)))
    disks = [_disk(volume, device) for device, volume in volumes]
    if is_image_backed(server):
        size = int(server.flavor.disk) * GIB
        disks.insert(0, Disk("root", size, "raw", EPHEMERAL, "virtio", can_track_changes=False))
    return Machine(**{**vars(machine), "disks": tuple(disks), "nics": nics})


def is_image_backed(server: Any) -> bool:
    """Tell whether Nova keeps the server's root disk, made from an image, rather than Cinder."""
    return bool(server.image and server.image.id)


def volumes_of(cloud: Cloud, server: Any) -> list[tuple[str, Any]]:
    """Return (device, volume) of all attached volumes, in the order of the devices."""
    found = [cloud.volumes.get_volume(each.volume_id) for each in cloud.compute.volume_attachments(server)]
    return _volumes_by_server(found).get(server.id, [])


def nics_of(cloud: Cloud, ports: Iterable[Any]) -> tuple[Nic, ...]:
    """Return ports as NICs, in the order in which they were made."""
    names: dict[str, str] = {}
    nics = []
    for port in sorted(ports, key=lambda port: (str(port.created_at), str(port.name), port.id)):
        if port.network_id not in names:
            names[port.network_id] = cloud.network.get_network(port.network_id).name
        addresses = tuple(each["ip_address"] for each in port.fixed_ips)
        nics.append(Nic(port.id, port.mac_address, names[port.network_id], "virtio", addresses))
    return tuple(nics)


def list_networks(cloud: Cloud) -> list[Network]:
    """Return the networks that the project's machines can use, ordered by name."""
    with translated(f"networks of {cloud.label}"):
        found = [Network(each.id, each.name) for each in cloud.network.networks()]
    return sorted(found, key=lambda network: (network.name, network.id))


def network_id(cloud: Cloud, wanted: str) -> str:
    """Return the id of a network given by id or name. Raises `InvalidInput`."""
    networks = list_networks(cloud)
    for network in networks:
        if network.id == wanted:
            return network.id
    named = [network.id for network in networks if network.name == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        raise InvalidInput(f"several networks are named {wanted!r}; choose one by its id in the network map")
    known = ", ".join(network.name for network in networks[:20]) or "none"
    raise InvalidInput(f"network {wanted!r} does not exist in {cloud.label} ({known}); correct the network map")


def list_storage(cloud: Cloud) -> tuple[Sequence[StorageBackend], str | None]:
    """Return the volume types, ordered by name, and the default one; their room is what the quota leaves."""
    with translated(f"volume types of {cloud.label}"):
        free = free_gib(cloud)
        room = None if free is None else free * GIB
        types = [StorageBackend(each.id, each.name, room) for each in cloud.volumes.types()]
        default = cloud.volumes.get_type("default").id
    known = {each.id for each in types}
    return sorted(types, key=lambda each: (each.name, each.id)), default if default in known else None


def free_gib(cloud: Cloud) -> int | None:
    """Return the GiB of volumes that the project's quota leaves; None if it has no limit."""
    limits = cloud.volumes.get_limits().absolute
    largest = limits.max_total_volume_gigabytes
    return None if largest is None or largest < 0 else max(0, largest - (limits.total_gigabytes_used or 0))


def volume_type(cloud: Cloud, wanted: str) -> Any:
    """Return the volume type of this id or name. Raises `InvalidInput`."""
    with translated(f"volume types of {cloud.label}"):
        types = list(cloud.volumes.types())
    found = next((each for each in types if each.id == wanted), None) or next(
        (each for each in types if each.name == wanted), None
    )
    if found is None:
        known = ", ".join(each.name for each in types) or "none"
        raise InvalidInput(f"volume type {wanted!r} does not exist in {cloud.label} ({known}); correct the storage map")
    return found


def _volumes_by_server(volumes: Iterable[Any]) -> Mapping[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for volume in volumes:
        for attachment in volume.attachments:
            if attachment.get("device"):
                device = str(attachment["device"]).rpartition("/")[2]
                found.setdefault(attachment["server_id"], []).append((device, volume))
    return {server: sorted(pairs, key=lambda pair: (len(pair[0]), pair[0])) for server, pairs in found.items()}


def _disk(volume: Any, device: str) -> Disk:
    bus = (volume.volume_image_metadata or {}).get("hw_disk_bus") or "virtio"
    return Disk(
        device,
        int(volume.size) * GIB,
        "raw",
        str(volume.volume_type),
        str(bus),
        can_track_changes=False,
        shareable=bool(volume.is_multiattach),
    )


def _machine(server: Any, volumes: Sequence[tuple[str, Any]]) -> Machine:
    image: Mapping[str, Any] = (volumes[0][1].volume_image_metadata or {}) if volumes else {}
    return Machine(
        id=server.id,
        name=server.name,
        num_cpu=int(server.flavor.vcpus),
        memory_mb=int(server.flavor.ram),
        firmware=Firmware.EFI if image.get("hw_firmware_type") == "uefi" else Firmware.BIOS,
        power_state=POWER.get(server.status, PowerState.OFF),
        os_type=str(image.get("os_type") or "linux"),
        secure_boot=image.get("os_secure_boot") == "required",
        machine_type=str(image.get("hw_machine_type") or ""),
        description=str(server.description or ""),
    )
