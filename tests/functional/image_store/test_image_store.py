"""Images of a real object store, by way of Swift and of S3: every format, archives, what is refused, the way there."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.image_packages import content_of, make_archive, make_image, make_package, served
from tests.image_store_fixtures import Containers, raw_of, staged
from tests.libvirt_fixtures import Notes, read_all, write_all

from isthmus.control.errors import Cancelled, Conflict, InvalidInput, NotFound, StepFailed
from isthmus.migration.machine import BootProbe, DeployedMachine, DestinationDisk, DiskMapping, Machine
from isthmus.migration.providers.image_store import s3, staging, swift
from isthmus.migration.providers.image_store.provider import ImageStoreProvider
from isthmus.migration.providers.premises import Premises
from isthmus.migration.reporting import Progress

TRANSFER, DEPLOYMENT = "cccccccc-2222-3333-4444-555555555555", "dddddddd-7777-8888-9999-000000000000"
MIB = 1 << 20


class Site:
    """A container, a provider for it, and a directory to make images in."""

    def __init__(self, store: Containers, place: Path, provider: ImageStoreProvider) -> None:
        self.store, self.place, self.provider = store, place, provider
        self.making = place / "making"
        self.making.mkdir()

    def put(self, file: Path, name: str = "") -> None:
        """Put a file into the container."""
        self.store.put("shelf", name or file.name, file)

    def left(self) -> list[str]:
        """What is staged, and what is served."""
        return staged(self.place / "staging") + served(self.place)

    def read(self, instance: str) -> bytes:
        """Return what the machine's first disk holds."""
        reading = self.provider.open_reading(TRANSFER, instance, {}, point="p", since=None, report=Notes())
        try:
            return read_all(reading.disks[0].uri)
        finally:
            self.provider.close_reading(TRANSFER, instance, keep=None)


@pytest.fixture(params=["swift", "s3"])
def site(object_store: Containers, request: pytest.FixtureRequest) -> Iterator[Site]:
    store = object_store if request.param == "swift" else object_store.buckets
    with tempfile.TemporaryDirectory(prefix="/tmp/is-") as name, store.made("shelf") as (connection,):
        place = Path(name)
        with closing(ImageStoreProvider(connection, Premises(place / "run", place / "staging"))) as provider:
            made = Site(store, place, provider)
            yield made
        assert made.left() == []
        assert store.parts("shelf") == []
        assert list((place / "staging").glob("reading-*")) == []


def test_images_of_every_format_and_archives_are_machines(site: Site) -> None:
    endings = ("raw", "qcow2", "vmdk", "vhd", "vhdx")
    for ending in endings:
        site.put(make_image(site.making / f"web.{ending}", 4), f"{ending}/web.{ending}")
    site.put(make_archive(site.making, "packed", size_mib=4))
    listed = [machine.id for machine in site.provider.list_machines()]
    assert listed == sorted([*(f"{ending}/web.{ending}" for ending in endings), "packed.ova"])
    for instance in listed:
        machine = site.provider.validate_source(instance, {"memory_mb": 2048})
        assert (machine.disks[0].size_bytes, machine.memory_mb) == (4 * MIB, 2048)
        assert site.read(instance) == content_of(4)
        assert site.left() == []
    with pytest.raises(Conflict, match=re.escape("raw/web.raw")):
        site.provider.get_machine("web")


def test_what_is_no_image_is_told_and_leaves_nothing(site: Site) -> None:
    noise = site.making / "noise"
    noise.write_bytes(os.urandom(3 * MIB))
    for ending in ("qcow2", "vmdk", "vhd", "vhdx", "ova", "ovf"):
        site.put(noise, f"{ending}/noise.{ending}")
        with pytest.raises(StepFailed, match=re.escape(f"noise.{ending}")):
            site.provider.validate_source(f"{ending}/noise.{ending}", {})
    # The header is sound, and the rest is not there.
    whole = make_image(site.making / "cut.qcow2", 8)
    os.truncate(whole, whole.stat().st_size - 512 * 1024)
    site.put(whole)
    with pytest.raises(StepFailed, match="damaged or cut short"):
        site.provider.open_reading(TRANSFER, "cut", {}, point="p", since=None, report=Notes())
    site.provider.close_reading(TRANSFER, "cut", keep=None)
    backed = site.making / "backed.qcow2"
    secret = ["-o", "backing_file=/etc/passwd,backing_fmt=raw"]
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", *secret, str(backed), "4M"], check=True)
    site.put(backed)
    with pytest.raises(StepFailed, match="backing file"):
        site.provider.open_reading(TRANSFER, "backed", {}, point="p", since=None, report=Notes())
    site.provider.close_reading(TRANSFER, "backed", keep=None)
    site.put(make_archive(site.making, "spoilt", size_mib=4, spoil=True))
    with pytest.raises(StepFailed, match="manifest"):
        site.provider.open_reading(TRANSFER, "spoilt", {}, point="p", since=None, report=Notes())
    site.provider.close_reading(TRANSFER, "spoilt", keep=None)
    assert site.left() == []


def test_space_is_checked_before_anything_is_staged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(make_image(site.making / "web.raw", 4))
    monkeypatch.setattr(staging, "_SPARE", 1 << 60)
    with pytest.raises(InvalidInput, match="staging_dir"):
        site.provider.validate_source("web", {})
    with pytest.raises(InvalidInput, match="staging_dir"):
        site.provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
    assert site.left() == []


def test_room_is_taken_before_anything_comes_and_given_back_where_it_is_not_enough(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are staged beside each other both found it free: the file system decides."""
    site.put(make_image(site.making / "web.raw", 4))
    taken: list[int] = []
    real = site.provider._store.pieces

    def pieces(key: str) -> Iterator[bytes]:
        taken.extend((site.place / "staging" / part).stat().st_blocks * 512 for part in site.left())
        yield from real(key)

    with monkeypatch.context() as patched:
        patched.setattr(site.provider._store, "pieces", pieces)
        assert site.read("web") == content_of(4)
    assert len(taken) == 1
    assert taken[0] >= 4 * MIB

    def full(descriptor: int, offset: int, length: int) -> None:
        os.ftruncate(descriptor, offset + length // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InvalidInput, match=r"web have 4194304 bytes.*staging_dir"):
        site.read("web")
    assert site.left() == []


_STAGE = """
    import json, os, signal, sys
    from pathlib import Path
    from tests.libvirt_fixtures import Notes
    from isthmus.migration.providers.image_store import staging
    from isthmus.migration.providers.image_store.provider import ImageStoreProvider
    from isthmus.migration.providers.premises import Premises
    real = staging._write
    def write(target, piece):
        real(target, piece)
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    staging._write = write
    connection, place = json.load(sys.stdin)
    provider = ImageStoreProvider(connection, Premises(Path(place) / "run", Path(place) / "staging"))
    provider.open_reading("{transfer}", "web", {{}}, point="p", since=None, report=Notes())
"""


def test_a_worker_killed_while_it_stages_is_taken_over_and_a_replaced_object_is_not_mixed_in(site: Site) -> None:
    site.put(make_image(site.making / "web.raw", 4))
    given = json.dumps([dict(site.provider.connection), str(site.place)])
    script = textwrap.dedent(_STAGE.format(transfer=TRANSFER))
    killed = subprocess.run([sys.executable, "-c", script], input=given, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [each.rpartition("/")[2] for each in site.left()] == ["web.raw.part"]
    reading = site.provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
    site.put(make_image(site.making / "web.raw", 4, seed=2))
    again = site.provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
    assert again == reading
    assert read_all(again.disks[0].uri) == content_of(4)
    site.provider.close_reading(TRANSFER, "web", keep=None)
    assert site.read("web") == content_of(4, 2)


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images of 8 MiB become large objects. No part of S3 but the last is smaller than 5 MiB."""
    monkeypatch.setattr(swift, "SEGMENT_BYTES", MIB)
    monkeypatch.setattr(s3, "PART_BYTES", 5 * MIB)


def machine_of(site: Site) -> Machine:
    make_package(site.making, "shop", disk_mib=(4, 8))
    site.store.fill("shelf", site.making)
    return site.provider.get_machine("shop")


def test_a_machine_goes_to_its_place_and_its_replica_comes_back_if_that_is_undone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch)
    machine, provider = machine_of(site), site.provider
    before = site.store.names("shelf")
    wishes = {"disk_format": "raw"}
    mappings = [DiskMapping(disk, "images") for disk in machine.disks]
    replica = list(provider.ensure_disks(TRANSFER, "shop", wishes, mappings))
    content = os.urandom(MIB + 4096)
    (first, _) = provider.open_writing("owner", replica)
    write_all(first.uri, content)
    provider.close_writing("owner")
    deployed = provider.create_machine(DEPLOYMENT, machine, wishes, replica, [])
    assert deployed.name.startswith("shop-")  # "shop" is taken in the container
    assert site.store.names("shelf") == before
    assert provider.boot_machine(deployed, BootProbe(), Notes()).passed
    assert site.left() == []
    assert site.store.read("shelf", f"{deployed.name}/disk1.raw")[: len(content)] == content
    assert [disk.size_bytes for disk in provider.get_machine(deployed.id).disks] == [4 * MIB, 8 * MIB]
    assert replace(provider.get_machine(deployed.name), id="") == replace(provider.get_machine(deployed.id), id="")
    provider.delete_machine(DEPLOYMENT, "shop")
    provider.delete_machine(DEPLOYMENT, "shop")
    assert site.store.names("shelf") == before
    with pytest.raises(NotFound):
        provider.get_machine(deployed.id)
    (first, _) = provider.open_writing("owner", replica)
    assert read_all(first.uri)[: len(content)] == content
    provider.close_writing("owner")
    provider.delete_disks(replica)


def test_a_copy_of_the_replica_leaves_it_where_it_is(site: Site) -> None:
    machine, provider = machine_of(site), site.provider
    replica = list(provider.ensure_disks(TRANSFER, "shop", {}, [DiskMapping(each, "images") for each in machine.disks]))
    clones = list(provider.clone_disks(DEPLOYMENT, "shop", replica, Notes()))
    deployed = provider.create_machine(DEPLOYMENT, machine, {"name_suffix": "-new"}, clones, [])
    assert provider.boot_machine(deployed, BootProbe(), Notes()).passed
    assert len(site.left()) == 2
    image = site.store.read("shelf", "shop-new/disk2.qcow2")
    assert raw_of(image, site.place) == bytes(8 * MIB)
    provider.delete_machine(DEPLOYMENT, "shop")
    provider.delete_clones(DEPLOYMENT, "shop", replica)
    assert len(site.left()) == 2
    provider.delete_disks(replica)


class StopsAt(Notes):
    """A report that lets a number of bytes go up and then asks for an end."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit, self._done = limit, 0

    def progress(self, progress: Progress) -> None:
        self._done = progress.done

    def check(self) -> None:
        if self._done >= self._limit:
            raise Cancelled("somebody asked for an end")


def deployed_of(site: Site) -> tuple[list[DestinationDisk], DeployedMachine]:
    """Make a machine of two raw disks, 4 and 8 MiB; it is not in its place yet."""
    machine, provider = machine_of(site), site.provider
    mappings = [DiskMapping(disk, "images") for disk in machine.disks]
    replica = list(provider.ensure_disks(TRANSFER, "shop", {"disk_format": "raw"}, mappings))
    for export in provider.open_writing("owner", replica):
        write_all(export.uri, os.urandom(4 * MIB))
    provider.close_writing("owner")
    return replica, provider.create_machine(DEPLOYMENT, machine, {"disk_format": "raw"}, replica, [])


def test_an_upload_that_is_stopped_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    replica, deployed = deployed_of(site)
    before = site.store.names("shelf")
    with pytest.raises(Cancelled):
        # In the second part of the second disk.
        site.provider.boot_machine(deployed, BootProbe(), StopsAt(10 * MIB))
    assert f"{deployed.name}/disk1.raw" in site.store.names("shelf")
    if site.provider.connection["kind"] == "s3":
        assert site.store.parts("shelf") == []
    site.provider.delete_machine(DEPLOYMENT, "shop")
    assert site.store.names("shelf") == before
    assert site.store.parts("shelf") == []
    site.provider.delete_disks(replica)


_UPLOAD = """
    import json, os, signal, sys
    from pathlib import Path
    from tests.libvirt_fixtures import Notes
    from isthmus.migration.machine import BootProbe, DeployedMachine
    from isthmus.migration.providers.image_store import s3, swift
    from isthmus.migration.providers.image_store.provider import ImageStoreProvider
    from isthmus.migration.providers.premises import Premises
    swift.SEGMENT_BYTES, s3.PART_BYTES = 1 << 20, 5 << 20
    class Kills(Notes):
        def progress(self, progress):
            if progress.done >= 10 << 20:
                os.kill(os.getpid(), signal.SIGKILL)
    connection, place, deployed = json.load(sys.stdin)
    provider = ImageStoreProvider(connection, Premises(Path(place) / "run", Path(place) / "staging"))
    provider.boot_machine(DeployedMachine(**deployed), BootProbe(), Kills())
"""


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes-on", "undone"])
def test_what_a_worker_killed_while_it_uploads_has_left_goes(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, goes_on: bool
) -> None:
    small_parts(monkeypatch)
    replica, deployed = deployed_of(site)
    before = site.store.names("shelf")
    given = json.dumps([dict(site.provider.connection), str(site.place), asdict(deployed)])
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(_UPLOAD)], input=given, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert site.store.parts("shelf") != []
    if goes_on:
        assert site.provider.boot_machine(deployed, BootProbe(), Notes()).passed
        assert [disk.size_bytes for disk in site.provider.get_machine(deployed.id).disks] == [4 * MIB, 8 * MIB]
    site.provider.delete_machine(DEPLOYMENT, "shop")
    assert site.store.names("shelf") == before
    assert site.store.parts("shelf") == []
    site.provider.delete_disks(replica)


def test_names_that_lead_elsewhere_are_no_machines(site: Site) -> None:
    image = make_image(site.making / "web.raw", 4)
    for name in ("../evil.raw", ".hidden.raw", "a/../evil.raw", "/evil.raw", "a/b/evil.raw", "...", "web.raw"):
        site.put(image, name)
    assert [machine.id for machine in site.provider.list_machines()] == ["web.raw"]
    with pytest.raises(NotFound):
        site.provider.get_machine("../evil.raw")
    package = make_package(site.making, "trick", disk_mib=(4,))
    package.write_text(package.read_text().replace("disk0.qcow2", "../web.raw"))
    site.put(package, "trick/trick.ovf")
    with pytest.raises(StepFailed, match=re.escape("trick.ovf")):
        site.provider.validate_source("trick/trick.ovf", {})
