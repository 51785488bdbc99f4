"""What the OpenStack provider does beyond the contract, against the real services: bad input, addresses, crashes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab.openstack_cloud import OpenStackCloud
from lab.tiny_guest import TinyGuest
from tests.libvirt_fixtures import Notes, read_all, write_all
from tests.openstack_fixtures import (
    connection_of,
    image_backed_server,
    leftovers,
    premises_of,
    provider_of,
    runtime_directory,
    server_with,
)

from isthmus.control.errors import Conflict, InvalidInput, NotAuthenticated, StepFailed, Unavailable
from isthmus.migration.machine import BootProbe, Disk, DiskMapping, Firmware, Machine, Nic, NicMapping, PowerState
from isthmus.migration.providers.openstack.provider import OpenStackProvider
from isthmus.migration.providers.premises import Premises

MIB = 1 << 20
TRANSFER, DEPLOYMENT = "aaaaaaaa-2222-3333-4444-555555555555", "bbbbbbbb-7777-8888-9999-000000000000"
NIC = Nic("net0", "52:54:00:12:34:56", "lan", "virtio", ("192.168.120.77",))
DISK = Disk("vda", 16 * MIB, "qcow2", "pool", "virtio", can_track_changes=False)
GUEST = Machine("one", "one", 1, 128, Firmware.BIOS, PowerState.OFF, disks=(DISK,), nics=(NIC,))
BLUE = [NicMapping(NIC, "blue")]


@pytest.fixture
def runtime() -> Iterator[Path]:
    with runtime_directory() as directory:
        yield directory


@pytest.fixture
def provider(openstack_cloud: OpenStackCloud, runtime: Path) -> Iterator[OpenStackProvider]:
    with provider_of(openstack_cloud, runtime) as made:
        yield made
    assert leftovers(openstack_cloud, runtime) == []


def disks(storage: str = "files", size: int = DISK.size_bytes) -> list[DiskMapping]:
    return [DiskMapping(replace(DISK, size_bytes=size), storage)]


@pytest.mark.parametrize(
    ("environment", "machine", "nics", "says"),
    [
        ({"flavor": "no-such-flavor"}, GUEST, BLUE, "no-such-flavor"),
        ({}, replace(GUEST, memory_mb=1 << 20), BLUE, "no flavor"),
        ({}, GUEST, [NicMapping(NIC, "red")], "red"),
        ({"key_name": "no-such-key"}, GUEST, BLUE, "no-such-key"),
        ({"security_groups": ["no-such-group"]}, GUEST, BLUE, "no-such-group"),
        ({"availability_zone": "no-such-zone"}, GUEST, BLUE, "no-such-zone"),
        ({}, replace(GUEST, architecture="aarch64"), BLUE, "aarch64"),
    ],
)
def test_what_the_cloud_does_not_have_is_refused_by_name(
    provider: OpenStackProvider, environment: dict[str, Any], machine: Machine, nics: list[NicMapping], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        provider.validate_destination(TRANSFER, machine, environment, disks(), nics)


def test_a_wrong_password_is_told_from_a_silent_keystone(openstack_cloud: OpenStackCloud, runtime: Path) -> None:
    given = connection_of(openstack_cloud)
    wrong = {**given, "auth": {**given["auth"], "password": "wrong"}}
    with OpenStackProvider(wrong) as refused, pytest.raises(NotAuthenticated, match="credentials") as told:
        refused.validate_connection()
    assert "wrong" not in told.value.message
    silent = {**given, "auth": {**given["auth"], "auth_url": "http://127.0.0.1:9/v3"}}
    with OpenStackProvider(silent) as nobody, pytest.raises(Unavailable):
        nobody.list_machines()
    elsewhere = {**given, "region_name": "Nowhere"}
    with OpenStackProvider(elsewhere) as lost, pytest.raises(InvalidInput, match="region_name"):
        lost.validate_connection()


def test_an_application_credential_serves_as_well(openstack_cloud: OpenStackCloud, runtime: Path) -> None:
    given = connection_of(openstack_cloud)
    with openstack_cloud.connect("tenant") as tenant:
        made = tenant.identity.create_application_credential(
            tenant.current_user_id, name="isthmus", secret="s3cret", roles=[{"name": "member"}]
        )
        auth = {
            "auth_url": openstack_cloud.auth_url,
            "application_credential_id": made.id,
            "application_credential_secret": "s3cret",
        }
        with OpenStackProvider({**given, "auth": auth}) as provider:
            assert {network.name for network in provider.list_networks()} == {"blue", "green"}
        tenant.identity.delete_application_credential(tenant.current_user_id, made)


def test_a_quota_is_checked_before_and_a_step_that_meets_it_leaves_nothing(
    openstack_cloud: OpenStackCloud, runtime: Path
) -> None:
    with openstack_cloud.connect() as admin:
        project = admin.identity.find_project("neighbour")
        admin.block_storage.update_quota_set(project.id, gigabytes=2)
    with provider_of(openstack_cloud, runtime, "neighbour") as provider:
        with pytest.raises(InvalidInput, match="3 GiB, and the project's quota has 2 GiB free"):
            provider.validate_destination(TRANSFER, GUEST, {}, disks(size=3 << 30), [])
        two = [*disks(), DiskMapping(replace(DISK, id="vdb", size_bytes=2 << 30), "files")]
        with pytest.raises(StepFailed, match="quota"):
            provider.ensure_disks(TRANSFER, "one", {}, two)
    assert leftovers(openstack_cloud, runtime, "neighbour") == []


def test_a_share_that_the_worker_has_not_is_named(openstack_cloud: OpenStackCloud, runtime: Path) -> None:
    given = connection_of(openstack_cloud)
    other = Premises(
        runtime,
        file_shares={
            "http://127.0.0.1:9/v3": premises_of(openstack_cloud, runtime).shares_of(openstack_cloud.auth_url)
        },
    )
    with OpenStackProvider(given, other) as provider:
        made = provider.ensure_disks(TRANSFER, "one", {}, disks())
        with pytest.raises(InvalidInput, match=r"127\.0\.0\.1:/lab"):
            provider.open_writing("owner", made)
        provider.close_writing("owner")
        provider.delete_disks(made)
    assert leftovers(openstack_cloud, runtime) == []


def test_a_tenant_sees_nothing_of_another(openstack_cloud: OpenStackCloud, runtime: Path) -> None:
    with (
        provider_of(openstack_cloud, runtime) as mine,
        provider_of(openstack_cloud, runtime, "neighbour") as stranger,
    ):
        made = list(mine.ensure_disks(TRANSFER, "one", {}, disks()))
        try:
            assert stranger.list_networks() == []
            theirs = list(stranger.ensure_disks(TRANSFER, "one", {}, disks()))
            assert theirs[0].volume_id != made[0].volume_id
            stranger.delete_disks([*made, *theirs])
            assert mine.open_writing("owner", made)
            mine.close_writing("owner")
        finally:
            mine.delete_disks(made)


def test_a_port_keeps_the_mac_and_on_request_the_address(
    openstack_cloud: OpenStackCloud, provider: OpenStackProvider
) -> None:
    made = list(provider.ensure_disks(TRANSFER, "one", {}, disks()))
    try:
        wishes = {"keep_addresses": True, "security_groups": ["default"], "flavor": "tiny"}
        deployed = provider.create_machine(DEPLOYMENT, GUEST, wishes, made, BLUE)
        (nic,) = provider.get_machine(deployed.id).nics
        assert (nic.mac_address, nic.ip_addresses, nic.network_name) == (NIC.mac_address, NIC.ip_addresses, "blue")
        provider.delete_machine(DEPLOYMENT, GUEST.name)
        strange = replace(NIC, ip_addresses=("203.0.113.9",))
        with pytest.raises(InvalidInput, match=r"203\.0\.113\.9"):
            provider.create_machine(DEPLOYMENT, GUEST, wishes, made, [NicMapping(strange, "blue")])
    finally:
        provider.delete_machine(DEPLOYMENT, GUEST.name)
        provider.delete_disks(made)


def test_an_export_whose_server_was_killed_is_made_anew_with_what_was_written(provider: OpenStackProvider) -> None:
    made = list(provider.ensure_disks(TRANSFER, "one", {}, disks()))
    content = os.urandom(MIB)
    try:
        (first,) = provider.open_writing("owner", made)
        write_all(first.uri, content)
        _kill_servers(first.uri)
        (again,) = provider.open_writing("owner", made)
        assert read_all(again.uri, most=MIB) == content
        (found,) = provider.ensure_disks(TRANSFER, "one", {}, disks())
        assert not found.is_zero
    finally:
        provider.close_writing("owner")
        provider.delete_disks(made)


def test_the_way_home_begins_with_copies_of_the_old_machines_disks(
    openstack_cloud: OpenStackCloud, provider: OpenStackProvider
) -> None:
    guest = TinyGuest(disks=2, size_mib=48, format="raw")
    wanted = [DiskMapping(replace(DISK, id=f"vd{letter}", size_bytes=48 * MIB), "files") for letter in "ab"]
    with server_with(openstack_cloud, "old", guest, running=False):
        notes = Notes()
        assert list(provider.adopt_machine(TRANSFER, "one", "gone", wanted, notes)) == []
        assert list(provider.adopt_machine(TRANSFER, "one", "old", wanted[:1], notes)) == []
        assert [text.rpartition(": ")[2] for text in notes.warnings()] == ["all is copied anew"] * 2
        copies = list(provider.adopt_machine(TRANSFER, "one", "old", wanted, notes))
        try:
            assert list(provider.adopt_machine(TRANSFER, "one", "old", wanted, notes)) == copies
            found = provider.ensure_disks(TRANSFER, "one", {}, wanted)
            assert [disk.volume_id for disk in found] == [disk.volume_id for disk in copies]
            assert not any(disk.is_zero for disk in found)
            first, second = provider.open_writing("owner", copies)
            assert b"TINYBOOT" in read_all(first.uri, most=4 * MIB)
            write_all(second.uri, b"changed on the way home".ljust(MIB))
            provider.close_writing("owner")
            # The old machine is as it was: it still starts.
            provider.start("old")
            with pytest.raises(StepFailed, match=r"old is ACTIVE.*shut it down first"):
                provider.adopt_machine(TRANSFER, "one", "old", wanted, notes)
        finally:
            provider.close_writing("owner")
            provider.delete_disks(copies)


def _kill_servers(uri: str) -> None:
    place = str(Path(uri.partition("socket=")[2]).parent)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # one that ends meanwhile
            words = process.cmdline()
            if words[:1] == ["bwrap"] and place in words:
                for each in [*process.children(recursive=True), process]:
                    each.kill()


_READ = """
    import json, os, signal, sys
    from tests.libvirt_fixtures import Notes
    from isthmus.migration.providers.openstack import points
    from isthmus.migration.providers.openstack.provider import OpenStackProvider
    from pathlib import Path
    from isthmus.migration.providers.premises import Premises
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    points._wait_for = die
    connection = json.load(sys.stdin)
    provider = OpenStackProvider(connection, Premises(Path("{runtime}")))
    provider.open_reading("{transfer}", "double", {{}}, point="p1", since=None, report=Notes())
"""


@pytest.mark.nightly
def test_a_reading_whose_worker_was_killed_goes_on_with_its_snapshots_and_the_machine_runs_on(
    openstack_cloud: OpenStackCloud, runtime: Path
) -> None:
    """It is killed while the machine is paused and its snapshots are made."""
    guest = TinyGuest(disks=2, size_mib=48, format="raw")
    with server_with(openstack_cloud, "double", guest, running=True) as server:
        given = json.dumps(connection_of(openstack_cloud))
        script = textwrap.dedent(_READ.format(transfer=TRANSFER, runtime=runtime))
        with provider_of(openstack_cloud, runtime) as provider, openstack_cloud.connect("tenant") as tenant:
            killed = subprocess.run([sys.executable, "-c", script], input=given, text=True, check=False)
            assert killed.returncode == -signal.SIGKILL
            assert tenant.compute.get_server(server.id).status == "PAUSED"
            before = {each.id for each in tenant.block_storage.snapshots()}
            assert len(before) == 2
            reading = provider.open_reading(TRANSFER, "double", {}, point="p1", since=None, report=Notes())
            assert {each.id for each in tenant.block_storage.snapshots()} == before
            assert tenant.compute.get_server(server.id).status == "ACTIVE"
            assert reading.point == "p1"
            assert b"TINYBOOT" in read_all(reading.disks[0].uri, most=4 * MIB)
            provider.close_reading(TRANSFER, "double", keep=None)
    assert leftovers(openstack_cloud, runtime) == []


@pytest.mark.nightly
def test_a_root_disk_that_is_no_volume_is_read_through_an_image(
    openstack_cloud: OpenStackCloud, provider: OpenStackProvider
) -> None:
    with image_backed_server(openstack_cloud, "pet", TinyGuest(size_mib=48)):
        machine = provider.validate_source("pet", {})
        assert [(disk.id, disk.size_bytes) for disk in machine.disks] == [("root", 1 << 30)]
        reading = provider.open_reading(TRANSFER, "pet", {}, point="p1", since=None, report=Notes())
        assert b"TINYBOOT" in read_all(reading.disks[0].uri, most=4 * MIB)
        provider.close_reading(TRANSFER, "pet", keep=None)
        assert provider.get_machine("pet").power_state is PowerState.RUNNING


_BOOT = """
    import os, signal, sys, json
    from tests.libvirt_fixtures import Notes
    from isthmus.migration.machine import BootProbe, DeployedMachine
    from isthmus.migration.providers.openstack import booting
    from isthmus.migration.providers.openstack.provider import OpenStackProvider
    from pathlib import Path
    from isthmus.migration.providers.premises import Premises
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    connection, deployed = json.load(sys.stdin)
    booting._watch = die
    OpenStackProvider(connection, Premises()).boot_machine(DeployedMachine(**deployed), BootProbe(), Notes())
"""


@pytest.mark.nightly
def test_a_machine_whose_worker_was_killed_while_it_was_made_is_one_machine(
    openstack_cloud: OpenStackCloud, provider: OpenStackProvider
) -> None:
    made = list(provider.ensure_disks(TRANSFER, "one", {}, disks()))
    try:
        deployed = provider.create_machine(DEPLOYMENT, GUEST, {"flavor": "tiny", "name_suffix": "-x"}, made, BLUE)
        given = json.dumps([dict(provider.connection), asdict(deployed)])
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(_BOOT)], input=given, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        seen = provider.boot_machine(deployed, BootProbe(), Notes())
        assert seen.passed
        assert seen.machine is not None
        with openstack_cloud.connect("tenant") as tenant:
            assert [(each.id, each.name) for each in tenant.compute.servers()] == [(seen.machine.id, "one-x")]
        assert provider.get_machine(seen.machine.id) == provider.get_machine(deployed.id)
        with pytest.raises(Conflict):
            provider.open_writing("somebody else", made)
        replica = provider.ensure_disks(TRANSFER, "one", {}, disks())
        assert replica[0].volume_id != made[0].volume_id
        provider.delete_disks(replica)
    finally:
        provider.delete_machine(DEPLOYMENT, GUEST.name)
        provider.delete_disks(made)
