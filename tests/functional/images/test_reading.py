"""Reading images of every format, and what is refused: hostile headers, damage, wrong manifests."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from lab.synthetic_guest import served
from tests.image_packages import (
    MAC,
    content_of,
    descriptor,
    leftovers_of_images,
    make_archive,
    make_image,
    make_package,
    make_site,
    premises_of,
)
from tests.libvirt_fixtures import Notes, nbd_client, read_all

from isthmus.control.errors import Conflict, NotFound, StepFailed, Unavailable
from isthmus.migration.machine import Firmware
from isthmus.migration.providers.images import exports
from isthmus.migration.providers.images.provider import ImagesProvider

TRANSFER = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def site() -> Iterator[tuple[Path, ImagesProvider]]:
    with tempfile.TemporaryDirectory(prefix="/tmp/ir-") as name:
        connection = make_site(Path(name))
        with closing(ImagesProvider(connection, premises_of(Path(name)))) as provider:
            yield Path(connection["path"]), provider
        assert leftovers_of_images(connection) == []


def _read(provider: ImagesProvider, instance: str) -> bytes:
    reading = provider.open_reading(TRANSFER, instance, {}, point="p", since=None, report=Notes())
    try:
        with nbd_client(reading.disks[0].uri) as handle:
            assert handle.is_read_only()
        return read_all(reading.disks[0].uri)
    finally:
        provider.close_reading(TRANSFER, instance, keep=None)


@pytest.mark.parametrize("ending", ["raw", "qcow2", "vmdk", "vhd", "vhdx"])
def test_a_lone_image_of_every_format_is_a_machine(site: tuple[Path, ImagesProvider], ending: str) -> None:
    root, provider = site
    make_image(root / f"web.{ending}", 4)
    machine = provider.validate_source("web", {"memory_mb": 2048, "firmware": "EFI"})
    assert (machine.id, machine.memory_mb, machine.firmware) == (f"web.{ending}", 2048, Firmware.EFI)
    assert machine.disks[0].size_bytes == 4 << 20
    assert _read(provider, f"web.{ending}") == content_of(4)


def test_a_server_that_is_killed_as_it_starts_is_no_fault_of_the_image(
    site: tuple[Path, ImagesProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is there, and stays."""
    root, provider = site
    make_image(root / "web.raw", 4)
    real = exports._answers

    def kill_first(uri: str) -> bool:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "--persistent" in process.cmdline() and any(str(root) in word for word in process.cmdline()):
                    process.kill()
        return real(uri)

    with monkeypatch.context() as patched:
        patched.setattr(exports, "_answers", kill_first)
        with pytest.raises(Unavailable, match=r"server of web.raw was killed as it started"):
            _read(provider, "web")
    assert _read(provider, "web") == content_of(4)


def test_a_server_that_is_slow_to_become_one_is_waited_for(
    site: tuple[Path, ImagesProvider], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it may be looked at before it has its command line: that does not mean that it has died."""
    root, provider = site
    make_image(root / "web.raw", 4)
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "bwrap").write_text(f'#!/bin/sh\nsleep 1\nexec {shutil.which("bwrap")} "$@"\n')
    (slow / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    assert _read(provider, "web") == content_of(4)


def test_a_vmdk_in_several_files_is_read(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    make_image(root / "web.vmdk", 4, "subformat=monolithicFlat")
    assert [machine.id for machine in provider.list_machines()] == ["web.vmdk"]
    assert _read(provider, "web") == content_of(4)


def test_an_archive_is_read_in_place(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    make_archive(root, "shop")
    machine = provider.validate_source("shop", {})
    assert (machine.num_cpu, machine.memory_mb, machine.os_type) == (2, 512, "linux")
    assert [(nic.mac_address, nic.network_name) for nic in machine.nics] == [(MAC, "VM Network")]
    assert [disk.bus for disk in machine.disks] == ["scsi"]
    assert _read(provider, "shop") == content_of(8)


def test_a_wrong_manifest_is_told_before_anything_is_served(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    make_archive(root, "shop", spoil=True)
    with pytest.raises(StepFailed, match=r"shop-disk1.vmdk of shop.ova is not what its manifest says"):
        _read(provider, "shop")


def test_a_file_that_the_manifest_does_not_name_is_told(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    manifest = make_package(root, "shop").with_suffix(".mf")
    manifest.write_text(manifest.read_text().splitlines()[0] + "\n")
    with pytest.raises(StepFailed, match=r"manifest of shop.ovf does not name disk0.qcow2"):
        _read(provider, "shop")


def test_a_backing_file_is_not_read(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        "/etc/passwd",
        "-F",
        "raw",
        str(root / "web.qcow2"),
        "1M",
    ]
    subprocess.run(command, check=True)
    with pytest.raises(StepFailed, match=r"web.qcow2 has a backing file"):
        provider.validate_source("web.qcow2", {})


def test_data_in_another_file_is_not_read(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    outside = root.parent / "secret.raw"
    options = f"data_file={outside},data_file_raw=on"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(root / "web.qcow2"), "1M"], check=True
    )
    with pytest.raises(StepFailed, match="keeps its data in another file"):
        provider.get_machine("web.qcow2")


def test_a_vmdk_that_names_a_file_elsewhere_is_not_read(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    text = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    (root / "web.vmdk").write_text(text + 'RW 2048 FLAT "../../../etc/passwd" 0\n')
    with pytest.raises(StepFailed, match="outside its own directory"):
        provider.get_machine("web.vmdk")


def test_a_raw_disk_that_begins_like_qcow2_stays_raw(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", str(root / "web.raw"), "1M"]
    subprocess.run(command, check=True)
    content = (root / "web.raw").read_bytes()
    assert _read(provider, "web.raw").startswith(content)


def test_links_are_no_images(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    (root / "web.raw").symlink_to("/etc/passwd")
    (root / "deep").symlink_to("/var")
    assert list(provider.list_machines()) == []
    with pytest.raises(NotFound):
        provider.get_machine("web.raw")


def test_an_absurd_size_is_refused(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    make_image(root / "web.qcow2", 4)
    with (root / "web.qcow2").open("r+b") as file:
        file.seek(24)
        file.write((1 << 61).to_bytes(8, "big"))
    with pytest.raises(StepFailed, match=r"web.qcow2"):
        provider.get_machine("web.qcow2")
    (root / "big.raw").touch()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(root / "huge.qcow2"), "65T"], check=True)
    with pytest.raises(StepFailed, match="more than 64 TiB"):
        provider.get_machine("huge.qcow2")
    with pytest.raises(StepFailed, match="is empty"):
        provider.get_machine("big.raw")


@pytest.mark.parametrize("ending", ["qcow2", "vmdk", "vhd", "vhdx"])
def test_an_image_that_is_cut_short_is_told(site: tuple[Path, ImagesProvider], ending: str) -> None:
    root, provider = site
    file = make_image(root / f"web.{ending}", 4)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - (512 << 10))
    with pytest.raises(StepFailed, match=rf"web.{ending}"):
        provider.validate_source(file.name, {})


@pytest.mark.parametrize("ending", ["qcow2", "vmdk", "vhd", "vhdx"])
def test_noise_is_no_image(site: tuple[Path, ImagesProvider], ending: str) -> None:
    root, provider = site
    (root / f"web.{ending}").write_bytes(content_of(1))
    with pytest.raises(StepFailed, match=f"web.{ending} is not a {ending} image"):
        provider.get_machine(f"web.{ending}")
    assert list(provider.list_machines()) == []


def test_an_archive_that_is_cut_short_is_told(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    archive = make_archive(root, "shop")
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size // 2)
    with pytest.raises(StepFailed, match=r"shop.ova is not a sound tar archive"):
        provider.get_machine("shop.ova")


def test_a_machine_in_a_broken_package_is_found_and_its_fault_told(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    (root / "shop.ovf").write_text(descriptor("shop", ["gone.qcow2"]))
    assert list(provider.list_machines()) == []
    with pytest.raises(StepFailed, match=r"names image gone.qcow2, which is not there"):
        provider.get_machine("shop")
    with tarfile.open(root / "empty.ova", "w"):
        pass
    with pytest.raises(StepFailed, match="holds 0 OVF descriptors"):
        provider.get_machine("empty.ova")


def test_an_image_that_a_program_writes_is_a_conflict(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    with served(make_image(root / "web.qcow2", 4), "qcow2"), pytest.raises(Conflict, match="in use by another program"):
        provider.validate_source("web", {})


def test_a_replaced_image_is_never_mixed_with_the_one_before(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    make_image(root / "web.raw", 4)
    first = provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
    make_image(root / "new.raw", 4, seed=2).replace(root / "web.raw")
    second = provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
    assert first.point == "p"
    assert second.point.startswith("p-")
    assert read_all(second.disks[0].uri) == content_of(4, 2)
    assert provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes()) == second
    provider.close_reading(TRANSFER, "web", keep=None)


def test_a_server_sees_its_image_alone(site: tuple[Path, ImagesProvider]) -> None:
    root, provider = site
    make_image(root / "web.raw", 4)
    make_image(root / "other.raw", 4)
    provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
    try:
        seen = _of_server(str(root.parent / "run"))
        assert sorted(each.name for each in (seen / "images").iterdir()) == ["web.raw"]
        assert not (seen / "etc").exists()
        assert not (seen / "work").exists()
    finally:
        provider.close_reading(TRANSFER, "web", keep=None)


def _of_server(runtime: str) -> Path:
    """Return the root directory, as the kernel shows it, of the server whose sandbox has this runtime directory."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            children = (process / f"task/{process.name}/children").read_text().split()
        except OSError:
            continue
        if words[0] == b"bwrap" and any(word.startswith(runtime.encode()) for word in words) and children:
            return Path(f"/proc/{children[0]}/root")
    raise AssertionError("no server is running")
