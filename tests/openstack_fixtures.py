"""The run's OpenStack cloud, and what tests of the provider share."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lab import openstack_settings as settings
from lab.openstack_cloud import OpenStackCloud
from lab.tiny_guest import TinyGuest, build_disks

from isthmus.migration.providers.openstack.provider import OpenStackProvider
from isthmus.migration.providers.premises import Premises, parse_file_shares


def connection_of(cloud: OpenStackCloud, user: str = "tenant") -> dict[str, Any]:
    """Return connection details for Isthmus' openstack provider."""
    return {"auth": cloud.auth(user), "region_name": settings.REGION}


def premises_of(cloud: OpenStackCloud, runtime: Path) -> Premises:
    """Return what a worker that has the cloud's share mounted lets endpoints use."""
    return Premises(runtime, runtime / "staging", file_shares=parse_file_shares([cloud.share_line]))


@contextmanager
def runtime_directory() -> Iterator[Path]:
    """Give a directory for the sockets of open volumes."""
    with tempfile.TemporaryDirectory(prefix="/tmp/or-") as name:
        yield Path(name)


def write_volume(cloud: OpenStackCloud, volume_id: str, content: Path) -> None:
    """Write a disk into a volume that nobody has attached: it is a plain file of the share."""
    with content.open("rb") as source, (cloud.share / f"volume-{volume_id}").open("r+b") as target:
        while piece := source.read(1 << 20):
            if any(piece):
                target.write(piece)
            else:
                target.seek(len(piece), 1)


@contextmanager
def server_with(
    cloud: OpenStackCloud, name: str, guest: TinyGuest, *, running: bool, network: str = "blue"
) -> Iterator[Any]:
    """Give a server of the tenant's with the guest's disks as volumes of 1 GiB; all of it is deleted in the end."""
    with cloud.connect("tenant") as tenant, tempfile.TemporaryDirectory(prefix="/tmp/og-") as place:
        disks = build_disks(Path(place), guest, name=name)
        volumes = [tenant.block_storage.create_volume(name=f"{name}-{index}", size=1) for index in range(len(disks))]
        for volume, disk in zip(volumes, disks, strict=True):
            tenant.block_storage.wait_for_status(volume, "available", interval=0.5, wait=60)
            write_volume(cloud, volume.id, disk)
        tenant.block_storage.set_volume_bootable_status(volumes[0], True)
        mapping = [
            {
                "uuid": volume.id,
                "source_type": "volume",
                "destination_type": "volume",
                "boot_index": 0 if index == 0 else -1,
            }
            for index, volume in enumerate(volumes)
        ]
        server = tenant.compute.create_server(
            name=name,
            flavor_id=tenant.compute.find_flavor("tiny").id,
            networks=[{"uuid": tenant.network.find_network(network).id}],
            block_device_mapping=mapping,
        )
        try:
            tenant.compute.wait_for_server(server, wait=240, interval=0.5)
            if not running:
                tenant.compute.stop_server(server)
                tenant.compute.wait_for_server(server, status="SHUTOFF", wait=120, interval=0.5)
            yield server
        finally:
            delete_server(tenant, server)
            for volume in volumes:
                tenant.block_storage.delete_volume(volume.id)
                tenant.block_storage.wait_for_delete(volume, interval=0.5, wait=60)


@contextmanager
def image_backed_server(cloud: OpenStackCloud, name: str, guest: TinyGuest) -> Iterator[Any]:
    """Give a running server of the tenant's whose root disk is no volume but made of an image; all is deleted after."""
    with cloud.connect("tenant") as tenant, tempfile.TemporaryDirectory(prefix="/tmp/og-") as place:
        (disk,) = build_disks(Path(place), guest, name=name)
        image = tenant.image.create_image(
            name=name, data=disk.read_bytes(), disk_format=guest.format, container_format="bare"
        )
        server = tenant.compute.create_server(
            name=name, image_id=image.id, flavor_id=tenant.compute.find_flavor("tiny").id, networks="none"
        )
        try:
            tenant.compute.wait_for_server(server, wait=240, interval=0.5)
            yield server
        finally:
            delete_server(tenant, server)
            tenant.image.delete_image(image)


def delete_server(tenant: Any, server: Any) -> None:
    """Delete a server and wait until it is gone."""
    tenant.compute.delete_server(server, ignore_missing=True)
    tenant.compute.wait_for_delete(server, interval=0.5, wait=120)


def leftovers(cloud: OpenStackCloud, runtime: Path, user: str = "tenant") -> list[str]:
    """Return what Isthmus left in a project and on the worker."""
    with cloud.connect(user) as tenant:
        found = [f"volume {each.name}" for each in tenant.block_storage.volumes() if "isthmus" in str(each.name)]
        found += [f"snapshot {each.name}" for each in tenant.block_storage.snapshots() if "isthmus" in str(each.name)]
        found += [f"image {each.name}" for each in tenant.image.images() if "isthmus" in str(each.name)]
        found += [f"port {each.name}" for each in tenant.network.ports() if "isthmus" in str(each.name)]
        found += [f"server {each.name}" for each in tenant.compute.servers() if "isthmus_deployment" in each.metadata]
        servers = {each.id for each in tenant.compute.servers()}
        found += [
            f"attachment of {each.volume_id}"
            for each in tenant.block_storage.attachments()
            if each.instance not in servers
        ]
    return found + [f"export {each.name}" for each in runtime.glob("openstack/*") if each.is_dir()]


@contextmanager
def provider_of(cloud: OpenStackCloud, runtime: Path, user: str = "tenant") -> Iterator[OpenStackProvider]:
    """Give a provider for a user of the cloud."""
    with closing(OpenStackProvider(connection_of(cloud, user), premises_of(cloud, runtime))) as provider:
        yield provider
