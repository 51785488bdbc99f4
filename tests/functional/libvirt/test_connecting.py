"""Passwords, and disks that travel by TLS from and to a hypervisor elsewhere."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lab.clouds import LibvirtCloud
from lab.tiny_guest import TinyGuest, build_disks, domain_xml
from tests.functional.disks.certificates import certificates
from tests.libvirt_fixtures import Notes, leftovers

from isthmus.control.errors import NotAuthenticated
from isthmus.migration.machine import DiskMapping
from isthmus.migration.providers.libvirt.provider import LibvirtProvider
from isthmus.migration.providers.premises import Premises


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="/tmp/ic-"))
    yield made
    shutil.rmtree(made)


def test_a_password_opens_and_a_wrong_one_is_told(directory: Path) -> None:
    with LibvirtCloud("locked", directory / "l", users={"ann": "right"}) as cloud:
        details = {**cloud.connection, "username": "ann"}
        with LibvirtProvider({**details, "password": "right"}) as provider:
            provider.validate_connection()
        for wrong in ({**details, "password": "wrong"}, {**cloud.connection}, {**details}):
            with LibvirtProvider(wrong) as provider, pytest.raises(NotAuthenticated) as refused:
                provider.validate_connection()
            assert "wrong" not in refused.value.message


def test_disks_are_read_and_written_over_tls(directory: Path) -> None:
    """The worker's part is done from inside the cloud's network: there is no way in from outside."""
    server = client = certificates(directory / "certificates")
    settings = f'backup_tls_x509_cert_dir = "{server}"\nbackup_tls_x509_verify = 1\n'
    with LibvirtCloud("far", directory / "f", qemu_settings=settings) as cloud, closing(cloud.connect()) as connection:
        places = {"hypervisor_certificates": str(server), "address": "localhost"}
        details = {"uri": cloud.uri, "nbd": {"transport": "tls", **places}}
        disks = build_disks(cloud.pool_directory, TinyGuest(size_mib=32), name="far")
        connection.storagePoolLookupByName("default").refresh()
        connection.defineXML(domain_xml("far", disks, "qcow2"))
        with LibvirtProvider(details, Premises(nbd_certificates=client)) as provider:
            reading = provider.open_reading("t", "far", {}, point="p", since=None, report=Notes())
            assert provider.open_reading("t", "far", {}, point="p", since=None, report=Notes()) == reading
            mappings = [DiskMapping(disk, "default") for disk in provider.get_machine("far").disks]
            replica = provider.ensure_disks("t", "far", {}, mappings)
            exports = provider.open_writing("t/far", replica)
            assert provider.open_writing("t/far", replica) == exports
            assert exports[0].tls_certificates == str(client)
            assert exports[0].image is None
            assert exports[0].uri.startswith("nbds://localhost:")
            uris = [f"{disk.uri}?tls-certificates={client}" for disk in (reading.disks[0], exports[0])]
            copied = cloud.run("nbdcopy", *uris, timeout_seconds=60)
            assert copied.returncode == 0, copied.stderr
            stranger = cloud.run("nbdinfo", exports[0].uri)
            assert stranger.returncode != 0
            provider.close_writing("t/far")
            provider.close_reading("t", "far", keep=None)
            written = cloud.pool_directory / replica[0].volume_id.partition("/")[2]
            compared = cloud.run("qemu-img", "compare", str(disks[0]), str(written))
            assert compared.returncode == 0, compared.stdout
            provider.delete_disks(replica)
        assert leftovers(cloud) == []
