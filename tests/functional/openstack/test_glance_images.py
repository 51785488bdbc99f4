"""Images of a real Glance as machines, and a machine that becomes images of it."""

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from lab.openstack_cloud import OpenStackCloud
from tests.image_packages import content_of, make_archive, make_image, served
from tests.image_store_fixtures import raw_of, staged
from tests.libvirt_fixtures import Notes, read_all, write_all
from tests.openstack_fixtures import connection_of

from isthmus.migration.machine import BootProbe, DiskMapping, Firmware
from isthmus.migration.providers.image_store.provider import ImageStoreProvider
from isthmus.migration.providers.premises import Premises

TRANSFER, DEPLOYMENT = "eeeeeeee-2222-3333-4444-555555555555", "ffffffff-7777-8888-9999-000000000000"
MIB = 1 << 20


def upload(tenant: Any, file: Path, kind: str, **properties: Any) -> Any:
    container = "ova" if kind == "ova" else "bare"
    wanted = {"disk_format": "vmdk" if kind == "ova" else kind, "container_format": container, **properties}
    return tenant.image.create_image(name=file.stem, data=file.read_bytes(), wait=True, **wanted)


def test_images_are_machines_and_a_machine_becomes_images(openstack_cloud: OpenStackCloud) -> None:
    details = {**connection_of(openstack_cloud), "kind": "glance"}
    with tempfile.TemporaryDirectory(prefix="/tmp/ig-") as name, openstack_cloud.connect("tenant") as tenant:
        place = Path(name)
        images = [
            upload(tenant, make_image(place / "gl-web.qcow2", 4), "qcow2", hw_firmware_type="uefi", min_ram=512),
            upload(tenant, make_image(place / "gl-db.vhdx", 4, seed=2), "vhdx"),
            upload(tenant, make_archive(place, "gl-packed", size_mib=4), "ova"),
        ]
        with closing(ImageStoreProvider(details, Premises(place / "run", place / "staging"))) as provider:
            provider.validate_connection()
            listed = {machine.name for machine in provider.list_machines("^gl-")}
            assert listed == {"gl-web", "gl-db", "gl-packed"}
            machine = provider.validate_source("gl-web", {})
            assert (machine.firmware, machine.memory_mb) == (Firmware.EFI, 512)
            for image, seed in zip(images, (1, 2, 1), strict=True):
                reading = provider.open_reading(TRANSFER, image.id, {}, point="p", since=None, report=Notes())
                assert read_all(reading.disks[0].uri) == content_of(4, seed)
                provider.close_reading(TRANSFER, image.id, keep=None)
            assert staged(place / "staging") + served(place) == []

            wishes = {"disk_bus": "scsi", "name_suffix": "-new"}
            (disk,) = provider.ensure_disks(TRANSFER, "gl-web", wishes, [DiskMapping(machine.disks[0], "images")])
            (export,) = provider.open_writing("owner", [disk])
            write_all(export.uri, content_of(4, 7))
            provider.close_writing("owner")
            deployed = provider.create_machine(DEPLOYMENT, machine, wishes, [disk], [])
            assert provider.boot_machine(deployed, BootProbe(), Notes()).passed
            assert staged(place / "staging") == []
            made = tenant.image.find_image("gl-web-new")
            assert (made.status, made.hw_disk_bus, made.properties["hw_firmware_type"]) == ("active", "scsi", "uefi")
            assert provider.get_machine(deployed.id).disks == provider.get_machine(made.id).disks
            assert raw_of(tenant.image.download_image(made).content, place) == content_of(4, 7)
            provider.delete_machine(DEPLOYMENT, "gl-web")
            provider.delete_machine(DEPLOYMENT, "gl-web")
            assert tenant.image.find_image("gl-web-new") is None
            assert len(staged(place / "staging")) == 1  # the replica is back
            provider.delete_disks([disk])
            assert staged(place / "staging") == []
        for image in images:
            tenant.image.delete_image(image)
