"""What every provider must do, whatever its cloud (`isthmus.migration.providers.contract`).

A provider joins by a fixture that yields a `Subject`: two clouds of its kind and an instance in the first.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lab.openstack_cloud import OpenStackCloud
from lab.tiny_guest import TinyGuest
from tests.image_packages import leftovers_of_images, make_package, make_site, premises_of, served
from tests.image_store_fixtures import Containers, staged
from tests.libvirt_fixtures import Clouds, Notes, clouds, leftovers, make_machine, read_all, write_all
from tests.openstack_fixtures import connection_of, provider_of, runtime_directory, server_with
from tests.openstack_fixtures import leftovers as leftovers_of_openstack

from isthmus.control.errors import Conflict, InvalidInput, IsthmusError, NotFound, NotSupported, Unavailable
from isthmus.migration.disks.image_file import ImageFile, ImageReader
from isthmus.migration.machine import (
    BootProbe,
    DestinationDisk,
    DiskMapping,
    Machine,
    NicMapping,
    PowerState,
)
from isthmus.migration.providers.contract import ChangeSource, DestinationProvider, Provider, SourceProvider
from isthmus.migration.providers.image_store.provider import ImageStoreProvider
from isthmus.migration.providers.images.provider import ImagesProvider
from isthmus.migration.providers.premises import Premises

__all__ = ["clouds", "make_machine"]
TRANSFER, DEPLOYMENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
OWNER = f"{TRANSFER}/contract"
WRITTEN = bytes(range(256)) * 8192


@dataclass(frozen=True)
class Subject:
    """A provider under test. `instance` is a stopped machine with two disks that the source cloud has.

    `runs` is false where nothing can run (a directory of images): starting is refused, and machines stay off.
    """

    source: SourceProvider
    destination: DestinationProvider
    instance: str
    connection: dict[str, Any]
    silent_connection: dict[str, Any]
    leftovers: Callable[[], Sequence[str]]
    runs: bool = True


@pytest.fixture
def libvirt_subject(clouds: Clouds, make_machine: Callable[..., Any]) -> Iterator[Subject]:
    make_machine("contract", TinyGuest(disks=2, size_mib=48))
    yield Subject(
        clouds.source,
        clouds.destination,
        "contract",
        clouds.east.connection,
        {"uri": "qemu+unix:///system?socket=/nonexistent/socket"},
        lambda: leftovers(clouds.east) + leftovers(clouds.west),
    )
    assert leftovers(clouds.west) == []


@pytest.fixture
def images_subject() -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="/tmp/ii-") as name:
        place = Path(name)
        east, west = (make_site(place / side) for side in ("east", "west"))
        make_package(Path(east["path"]), "contract", disk_mib=(48, 48))
        premises = premises_of(place, Path("/nonexistent"))
        with closing(ImagesProvider(east, premises)) as source, closing(ImagesProvider(west, premises)) as destination:
            yield Subject(
                source,
                destination,
                "contract",
                east,
                {**east, "path": "/nonexistent/images"},
                lambda: leftovers_of_images(east) + leftovers_of_images(west),
                runs=False,
            )
        assert leftovers_of_images(east) + leftovers_of_images(west) == []


@pytest.fixture
def image_store_subject(object_store: Containers) -> Iterator[Subject]:
    """Two containers of a real object store."""
    silent = {"auth": {**object_store.connection("east")["auth"], "auth_url": "http://127.0.0.1:9/v3"}}
    yield from store_subject(object_store, silent)


@pytest.fixture
def image_store_s3_subject(object_store: Containers) -> Iterator[Subject]:
    """Two buckets of a real object store."""
    yield from store_subject(object_store.buckets, {"endpoint_url": "http://127.0.0.1:9"})


def store_subject(store: Containers, silent: Mapping[str, Any]) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="/tmp/is-") as name, store.made("east", "west") as (east, west):
        place = Path(name)
        make_package(place, "contract", disk_mib=(48, 48))
        store.fill("east", place)
        premises = Premises(place / "run", place / "staging")
        with ExitStack() as stack:
            source, destination = (
                stack.enter_context(closing(ImageStoreProvider(each, premises))) for each in (east, west)
            )
            yield Subject(
                source,
                destination,
                "contract",
                east,
                {**east, **silent},
                lambda: [*store.names("west"), *staged(place / "staging"), *served(place)],
                runs=False,
            )
        assert [*store.names("west"), *store.parts("west"), *staged(place / "staging"), *served(place)] == []


@pytest.fixture(scope="module")
def openstack_machine(openstack_cloud: OpenStackCloud) -> Iterator[Any]:
    """One for all tests: its server takes long to be made, and every test leaves it as it was."""
    with server_with(
        openstack_cloud, "contract", TinyGuest(disks=2, size_mib=48, format="raw"), running=False, network="green"
    ) as made:
        yield made


@pytest.fixture
def openstack_subject(openstack_cloud: OpenStackCloud, openstack_machine: Any) -> Iterator[Subject]:
    with runtime_directory() as runtime, provider_of(openstack_cloud, runtime) as provider:
        connection = connection_of(openstack_cloud)
        yield Subject(
            provider,
            provider,
            "contract",
            connection,
            {**connection, "auth": {**connection["auth"], "auth_url": "http://127.0.0.1:9/v3"}},
            lambda: leftovers_of_openstack(openstack_cloud, runtime),
        )
        assert leftovers_of_openstack(openstack_cloud, runtime) == []


# OpenStack takes minutes, an object store half a one; in each run their own tests and a journey there and back are run.
@pytest.fixture(
    params=[
        "libvirt",
        "images",
        *(pytest.param(each, marks=pytest.mark.nightly) for each in ("image-store", "image-store-s3", "openstack")),
    ]
)
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(f"{request.param.replace('-', '_')}_subject")
    return found


@pytest.fixture
def replica(subject: Subject) -> Iterator[list[DestinationDisk]]:
    """Yield the destination's disks for the subject's machine; they are deleted at the end."""
    disks = list(subject.destination.ensure_disks(TRANSFER, subject.instance, {}, mappings(subject)))
    yield disks
    subject.destination.close_writing(OWNER)
    subject.destination.delete_disks(disks)
    subject.destination.delete_disks(disks)


def mappings(subject: Subject) -> list[DiskMapping]:
    storage = subject.destination.list_storage()[1]
    assert storage is not None
    return [DiskMapping(disk, storage) for disk in machine_of(subject).disks]


def nic_mappings(subject: Subject) -> list[NicMapping]:
    network = subject.destination.list_networks()[0]
    return [NicMapping(nic, network.id) for nic in machine_of(subject).nics]


def machine_of(subject: Subject) -> Machine:
    return subject.source.get_machine(subject.instance)


def test_capacity_is_told_as_far_as_it_is_known_and_changes_nothing(subject: Subject) -> None:
    found = subject.destination.capacity()
    again = subject.destination.capacity()
    assert found == replace(again, free_memory_mb=found.free_memory_mb)
    assert found.max_cpu is None or found.max_cpu >= machine_of(subject).num_cpu
    assert found.memory_mb is None or found.memory_mb > 0
    assert machine_of(subject).name not in found.machines
    assert all(address == address.lower() for address in found.mac_addresses)


def test_schemas_are_json_schemas_and_take_the_lab_connection(subject: Subject) -> None:
    provider = subject.source
    for schema in (provider.connection_schema(), provider.source_schema(), subject.destination.destination_schema()):
        jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(subject.connection, provider.connection_schema())


def test_a_cloud_that_does_not_answer_is_unavailable_soon(subject: Subject) -> None:
    provider: Provider = type(subject.source)(subject.silent_connection, subject.source.premises)
    began = time.monotonic()
    with provider, pytest.raises(Unavailable):
        provider.validate_connection()
    assert time.monotonic() - began < 20


def test_machines_are_listed_by_id_and_found_by_name_and_id(subject: Subject) -> None:
    listed = subject.source.list_machines()
    assert [machine.id for machine in listed] == sorted(machine.id for machine in listed)
    machine = machine_of(subject)
    # A list need not tell what takes a look into each machine.
    known = (replace(item, disks=machine.disks, nics=machine.nics, guest_agent=machine.guest_agent) for item in listed)
    assert machine in known
    assert subject.source.get_machine(machine.id) == machine
    assert [item.name for item in subject.source.list_machines(f"^{machine.name}$")] == [machine.name]
    assert len(machine.disks) == 2
    assert subject.source.validate_source(subject.instance, {}) == machine


def test_what_is_not_there_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound):
        subject.source.get_machine("no-such-machine")
    with pytest.raises(InvalidInput):
        subject.source.list_machines("(")
    subject.source.close_reading(TRANSFER, "no-such-machine", keep=None)


def test_options_name_the_schema_keys(subject: Subject) -> None:
    destination = {option.name for option in subject.destination.destination_options({})}
    assert destination <= set(subject.destination.destination_schema()["properties"])
    assert {option.name for option in subject.source.source_options({})} <= set(
        subject.source.source_schema()["properties"]
    )


def test_a_reading_is_found_again_and_closed_twice(subject: Subject) -> None:
    report, machine = Notes(), machine_of(subject)
    try:
        first = subject.source.open_reading(TRANSFER, subject.instance, {}, point="p1", since=None, report=report)
        again = subject.source.open_reading(TRANSFER, subject.instance, {}, point="p1", since=None, report=report)
        assert again == first
        assert first.point == "p1"
        assert [(disk.disk_id, disk.size_bytes) for disk in first.disks] == [
            (disk.id, disk.size_bytes) for disk in machine.disks
        ]
        assert {disk.changes for disk in first.disks} == {ChangeSource.ALLOCATION}
        assert any(read_all(first.disks[0].uri, most=len(WRITTEN)))
    finally:
        subject.source.close_reading(TRANSFER, subject.instance, keep=None)
    subject.source.close_reading(TRANSFER, subject.instance, keep=None)
    assert machine_of(subject).power_state is PowerState.OFF


def test_a_second_pass_never_reads_by_allocation_and_a_lost_point_is_told(subject: Subject) -> None:
    def changes(point: str, since: str, report: Notes) -> set[ChangeSource]:
        reading = subject.source.open_reading(TRANSFER, subject.instance, {}, point=point, since=since, report=report)
        subject.source.close_reading(TRANSFER, subject.instance, keep=reading.point)
        return {disk.changes for disk in reading.disks}

    try:
        subject.source.open_reading(TRANSFER, subject.instance, {}, point="p1", since=None, report=Notes())
        subject.source.close_reading(TRANSFER, subject.instance, keep="p1")
        tracked = all(disk.can_track_changes for disk in machine_of(subject).disks)
        report = Notes()
        assert changes("p2", "p1", report) == {ChangeSource.DIRTY_BITMAP if tracked else ChangeSource.HASH_MAP}
        assert report.warnings() == []
        report = Notes()
        assert changes("p3", "never-made", report) == {ChangeSource.HASH_MAP}
        assert bool(report.warnings()) == tracked
    finally:
        subject.source.close_reading(TRANSFER, subject.instance, keep=None)


def test_start_and_shut_down_say_who_did_it(subject: Subject) -> None:
    assert subject.source.shut_down(subject.instance, {}, Notes()) is False
    if not subject.runs:
        with pytest.raises(NotSupported):
            subject.source.start(subject.instance)
        return
    subject.source.start(subject.instance)
    subject.source.start(subject.instance)
    assert machine_of(subject).power_state is PowerState.RUNNING
    forced = {"shutdown_timeout": 1, "force_shutdown": True}
    assert subject.source.shut_down(subject.instance, forced, Notes()) is True
    assert machine_of(subject).power_state is PowerState.OFF


def test_disks_are_made_once_and_grown(subject: Subject, replica: list[DestinationDisk]) -> None:
    assert all(disk.is_zero for disk in replica)
    again = subject.destination.ensure_disks(TRANSFER, subject.instance, {}, mappings(subject))
    assert [disk.volume_id for disk in again] == [disk.volume_id for disk in replica]
    larger = [
        replace(item, disk=replace(item.disk, size_bytes=item.disk.size_bytes + (8 << 20)))
        for item in mappings(subject)
    ]
    grown = subject.destination.ensure_disks(TRANSFER, subject.instance, {}, larger)
    assert [disk.size_bytes for disk in grown] == [item.disk.size_bytes for item in larger]


def test_disks_that_cannot_all_be_made_are_taken_back(subject: Subject) -> None:
    first, second = mappings(subject)
    with pytest.raises(InvalidInput):
        subject.destination.ensure_disks(
            TRANSFER, subject.instance, {}, [first, replace(second, destination_storage="no-such-storage")]
        )
    assert subject.leftovers() == []


def test_a_disk_larger_than_the_free_space_is_refused_before_anything_is_made(subject: Subject) -> None:
    huge = [replace(item, disk=replace(item.disk, size_bytes=1 << 60)) for item in mappings(subject)]
    with pytest.raises(InvalidInput, match="free"):
        subject.destination.validate_destination(TRANSFER, machine_of(subject), {}, huge, nic_mappings(subject))
    nowhere = [replace(item, destination_network="no-such-network") for item in nic_mappings(subject)]
    with pytest.raises(InvalidInput, match="no-such-network"):
        subject.destination.validate_destination(TRANSFER, machine_of(subject), {}, mappings(subject), nowhere)
    subject.destination.validate_destination(
        TRANSFER, machine_of(subject), {}, mappings(subject), nic_mappings(subject)
    )
    assert subject.leftovers() == []


def test_an_export_for_writing_is_found_again_and_is_exclusive(
    subject: Subject, replica: list[DestinationDisk]
) -> None:
    exports = subject.destination.open_writing(OWNER, replica)
    assert subject.destination.open_writing(OWNER, replica) == exports
    with pytest.raises(Conflict):
        subject.destination.open_writing("somebody else", replica)
    write_all(exports[0].uri, WRITTEN)
    subject.destination.close_writing(OWNER)
    subject.destination.close_writing(OWNER)
    if near := exports[0].image:
        found = bytearray(len(WRITTEN))
        with ImageReader(ImageFile(Path(near.path), near.format)) as reader:
            reader.read(0, memoryview(found))
        assert found == WRITTEN
    assert read_all(subject.destination.open_writing(OWNER, replica)[0].uri, most=len(WRITTEN)).startswith(WRITTEN)


def test_clones_and_kept_content(subject: Subject, replica: list[DestinationDisk]) -> None:
    cloud = subject.destination
    write_all(cloud.open_writing(OWNER, replica)[0].uri, WRITTEN)
    cloud.close_writing(OWNER)
    clones = list(cloud.clone_disks(DEPLOYMENT, subject.instance, replica, Notes()))
    try:
        assert cloud.clone_disks(DEPLOYMENT, subject.instance, replica, Notes()) == clones
        assert {disk.volume_id for disk in clones}.isdisjoint(disk.volume_id for disk in replica)
        assert read_all(cloud.open_writing(OWNER, clones)[0].uri, most=len(WRITTEN)).startswith(WRITTEN)
        cloud.close_writing(OWNER)
    finally:
        cloud.delete_clones(DEPLOYMENT, subject.instance, replica)
    cloud.delete_clones(DEPLOYMENT, subject.instance, replica)
    with pytest.raises(IsthmusError):
        cloud.open_writing(OWNER, clones)
    cloud.create_snapshots(DEPLOYMENT, replica)
    cloud.create_snapshots(DEPLOYMENT, replica)
    write_all(cloud.open_writing(OWNER, replica)[0].uri, WRITTEN[::-1])
    cloud.close_writing(OWNER)
    cloud.restore_snapshots(DEPLOYMENT, replica)
    cloud.restore_snapshots(DEPLOYMENT, replica)
    cloud.delete_snapshots(DEPLOYMENT, replica)
    cloud.delete_snapshots(DEPLOYMENT, replica)
    assert read_all(cloud.open_writing(OWNER, replica)[0].uri, most=len(WRITTEN)).startswith(WRITTEN)


def test_a_replica_may_begin_as_a_copy_of_a_machine_that_is_here(
    subject: Subject, replica: list[DestinationDisk]
) -> None:
    cloud, machine = subject.destination, machine_of(subject)
    write_all(cloud.open_writing(OWNER, replica)[0].uri, WRITTEN)
    cloud.close_writing(OWNER)
    made = cloud.create_machine(DEPLOYMENT, machine, {}, replica, nic_mappings(subject))
    back = "88888888-2222-3333-4444-555555555555"
    try:
        # One that is not there any more is no reason to stay away.
        assert list(cloud.adopt_machine(back, machine.name, "gone", mappings(subject), Notes())) == []
        copies = list(cloud.adopt_machine(back, machine.name, made.name, mappings(subject), Notes()))
        if not copies:
            # A cloud that cannot leaves nothing behind, and all is copied from the source.
            return
        assert list(cloud.adopt_machine(back, machine.name, made.name, mappings(subject), Notes())) == copies
        found = cloud.ensure_disks(back, machine.name, {}, mappings(subject))
        assert [disk.volume_id for disk in found] == [disk.volume_id for disk in copies]
        assert {disk.volume_id for disk in copies}.isdisjoint(disk.volume_id for disk in replica)
        assert not any(disk.is_zero for disk in found[:1])
        assert read_all(cloud.open_writing(OWNER, copies)[0].uri).startswith(WRITTEN)
        cloud.close_writing(OWNER)
        cloud.delete_disks(copies)
        if subject.runs:
            cloud.boot_machine(made, BootProbe(), Notes())
            with pytest.raises(IsthmusError, match=made.name):
                cloud.adopt_machine(back, machine.name, made.name, mappings(subject), Notes())
    finally:
        cloud.delete_machine(DEPLOYMENT, machine.name)


def test_a_machine_is_defined_once_started_and_removed(subject: Subject, replica: list[DestinationDisk]) -> None:
    cloud, machine = subject.destination, machine_of(subject)
    made = cloud.create_machine(DEPLOYMENT, machine, {}, replica, nic_mappings(subject))
    try:
        assert cloud.create_machine(DEPLOYMENT, machine, {}, replica, nic_mappings(subject)) == made
        assert cloud.get_machine(made.id).power_state is PowerState.OFF
        assert [nic.mac_address for nic in cloud.get_machine(made.id).nics] == [nic.mac_address for nic in machine.nics]
        assert cloud.boot_machine(made, BootProbe(), Notes()).passed
        assert cloud.get_machine(made.id).power_state is (PowerState.RUNNING if subject.runs else PowerState.OFF)
        assert cloud.boot_machine(made, BootProbe(), Notes()).passed
    finally:
        cloud.delete_machine(DEPLOYMENT, machine.name)
    cloud.delete_machine(DEPLOYMENT, machine.name)
    with pytest.raises(NotFound):
        cloud.get_machine(made.id)
