"""Two sites with one link between them and no way into either but the data channel; the machines are disk images."""

import asyncio
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from lab.clouds import LibvirtCloud
from lab.control_plane import ControlPlane
from lab.network_host import wait_for
from lab.rest_user import RestUser
from lab.tiny_guest import domain_xml
from lab.two_sites import LINK, Capture, TwoSites
from temporalio.service import RPCError
from tests.functional.disks.certificates import certificates
from tests.image_packages import leftovers_of_images, make_site
from tests.temporal_frontend import files, running_frontend

from isthmus.control.engine import EngineAddress, connect

MIB = 1 << 20
MARKER = b"isthmus-plaintext"
RECEIVES = "channel_listen = 10.79.0.2:7670-7671"
DOOR = "10.79.0.2:7670"


@dataclass(frozen=True)
class Ends:
    """Both sites, and the directories that only one of each sees."""

    sites: TwoSites
    user: RestUser
    temporal: EngineAddress
    east: dict[str, Any]
    west: dict[str, Any]

    def transfer(self, machine: str, cloud: LibvirtCloud | None = None) -> str:
        """Make a transfer of a machine from east to west; from a cloud there, or else from its directory."""
        ends = {}
        east = ("images", self.east) if cloud is None else ("libvirt", cloud.connection)
        for side, (kind, place) in (("east", east), ("west", ("images", self.west))):
            body = {"name": f"sites-{side}-{machine}", "type": kind, "connection_info": place}
            made = self.user.made("POST", "/endpoints", {"endpoint": {**body, "mapped_regions": [side]}})
            ends[side] = made["endpoint"]["id"]
        wanted = {"origin_endpoint_id": ends["east"], "destination_endpoint_id": ends["west"]}
        body = {**wanted, "instances": [machine], "network_map": {}}
        return str(self.user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"])

    def execute(self, transfer: str) -> str:
        """Begin an execution and return its path."""
        started = self.user.made("POST", f"/transfers/{transfer}/executions", {"execution": {}})["execution"]["id"]
        return f"/transfers/{transfer}/executions/{started}"

    def delete(self, transfer: str) -> None:
        """Remove all of a transfer, and wait until both sites have been told."""
        path = f"/transfers/{transfer}"
        started = self.user.made("POST", f"{path}/actions", {"delete-disks": None})["execution"]
        ended = self.user.ended(f"{path}/executions/{started['id']}", "execution")
        assert ended["status"] == "COMPLETED", ended
        shown = self.user.made("GET", path)["transfer"]
        self.user.made("DELETE", path)
        assert asyncio.run(_forgotten(self.temporal, transfer)) == []
        for end in ("origin", "destination"):
            self.user.made("DELETE", f"/endpoints/{shown[f'{end}_endpoint_id']}")
        assert leftovers_of_images(self.east) == leftovers_of_images(self.west) == []

    def replica(self) -> bytes:
        """Return what the only replica in the west holds."""
        (image,) = Path(self.west["path"]).glob(".isthmus/replica-*.qcow2")
        return raw_content(image)

    def disk(self, machine: str) -> Path:
        """Return a machine's image in the east."""
        return Path(self.east["path"]) / f"{machine}.raw"


async def _forgotten(temporal: EngineAddress, transfer: str) -> Any:
    """What could not be tidied away after a transfer's deletion, once that has ended."""
    client = await connect(temporal)
    for _ in range(100):
        try:
            return await asyncio.wait_for(client.get_workflow_handle(f"forget-{transfer}").result(), 60)
        except RPCError:  # the outbox has not told it yet
            await asyncio.sleep(0.1)
    return "not begun"


Sites = TypeVar("Sites", bound=TwoSites)


@contextmanager
def sites_of(
    control_plane: ControlPlane, kind: type[Sites]
) -> Iterator[tuple[Sites, Path, dict[str, Any], dict[str, Any]]]:
    """Two sites, where their files are, and the directory of images of each, which the other does not see."""
    with tempfile.TemporaryDirectory(prefix="/tmp/sites-") as name:
        place = Path(name)
        east, west = make_site(place / "east"), make_site(place / "west")
        pki = certificates(place / "pki")
        with running_frontend(pki, control_plane.temporal_address) as port:
            tls = "".join(f"{key} = {value}\n" for key, value in files(pki).items())
            lines = f"[temporal]\naddress = localhost:{port}\n{tls}"
            with kind(control_plane, place, port, lines) as sites:
                sites.east.hide(str(place / "west"))
                sites.west.hide(str(place / "east"))
                yield sites, place, east, west
    forget_workers(RestUser.of(control_plane.admin_environment))


@pytest.fixture(scope="module")
def ends(control_plane: ControlPlane) -> Iterator[Ends]:
    user = RestUser.of(control_plane.demo_environment)
    with sites_of(control_plane, TwoSites) as (sites, _, east, west):
        sites.west.start(RECEIVES)
        sites.east.start("")
        yield Ends(sites, user, EngineAddress(control_plane.temporal_address, "default"), east, west)


def forget_workers(administrator: RestUser) -> None:
    for service in administrator.made("GET", "/services")["services"]:
        if service["host"] in {"east", "west", "hub"}:
            administrator.made("DELETE", f"/services/{service['id']}")


def content(size: int) -> bytes:
    """Return bytes that do not shrink, with the marker in each sector: it would be in every packet."""
    sectors = [os.urandom(512 - len(MARKER)) + MARKER for _ in range(size // 512)]
    return b"".join(sectors)


def said(shown: dict[str, Any]) -> str:
    (task,) = (task for task in shown["tasks"] if task["task_type"] == "REPLICATE_DISKS")
    return "\n".join(event["message"] for event in task["events"])


def result(shown: dict[str, Any]) -> dict[str, Any]:
    (task,) = (task for task in shown["tasks"] if task["task_type"] == "REPLICATE_DISKS")
    return dict(task["result"])


@pytest.mark.timeout(400)
def test_a_machine_moves_from_site_to_site_and_only_the_channel_is_open(ends: Ends) -> None:
    disk = ends.disk("crossing")
    disk.write_bytes(content(12 * MIB) + bytes(20 * MIB))
    seen: set[str] = set()
    with Capture(ends.sites.east) as wire:
        transfer = ends.transfer("crossing")
        path = ends.execute(transfer)
        while ends.user.made("GET", path)["execution"]["status"] == "RUNNING":
            seen |= ends.sites.west.listening()
            assert ends.sites.east.listening() == set()
        shown = ends.user.ended(path, "execution", 120)
        assert shown["status"] == "COMPLETED", shown
        assert ends.replica() == disk.read_bytes()
        with disk.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(content(MIB))
        shown = ends.user.ended(ends.execute(transfer), "execution", 120)
        assert shown["status"] == "COMPLETED", shown
        assert ends.replica() == disk.read_bytes()
    assert f"through the data channel to worker west at {DOOR}" in said(shown)
    assert result(shown)["bytes_sent"] == MIB
    assert seen == {DOOR}
    assert ends.sites.west.listening() == set()
    assert len(wire.bytes) > 13 * MIB
    assert b"\x17\x03\x03" in wire.bytes
    assert MARKER not in wire.bytes
    ends.delete(transfer)


def test_what_would_cross_in_the_clear_would_be_seen(ends: Ends) -> None:
    """The test above could not fail otherwise."""
    with Capture(ends.sites.east) as wire:
        with ends.sites.east.host.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.sendto(content(1024), (ends.sites.west.address, 9))
        deadline = time.monotonic() + 30
        while MARKER not in wire.bytes and time.monotonic() < deadline:
            time.sleep(0.05)
    assert MARKER in wire.bytes


@pytest.fixture
def cloud(ends: Ends) -> Iterator[LibvirtCloud]:
    """A libvirt host in the east, in that site's network."""
    with tempfile.TemporaryDirectory(prefix="/tmp/lv-") as name:
        made = LibvirtCloud("e", Path(name) / "e", host_pid=ends.sites.east.host.pid)
        with made:
            yield made


def raw_content(image: Path) -> bytes:
    """Return what a qcow2 image that nobody has open holds."""
    raw = image.with_suffix(".check")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw)], check=True)
    try:
        return raw.read_bytes()
    finally:
        raw.unlink()


@pytest.mark.timeout(400)
def test_a_libvirt_machine_crosses_and_its_bitmaps_say_what_follows(ends: Ends, cloud: LibvirtCloud) -> None:
    """Hypervisor and checkpoints at one end, image files at the other."""
    image = cloud.pool_directory / "virtual.qcow2"
    plain = image.with_suffix(".raw")
    plain.write_bytes(content(8 * MIB) + bytes(24 * MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(plain), str(image)], check=True)
    plain.unlink()
    with closing(cloud.connect()) as connection:
        connection.defineXML(domain_xml("virtual", [image], "qcow2", network=None, memory_mib=32))
        connection.storagePoolLookupByName("default").refresh()
    transfer = ends.transfer("virtual", cloud)
    shown = ends.user.ended(ends.execute(transfer), "execution", 200)
    assert shown["status"] == "COMPLETED", shown
    assert f"through the data channel to worker west at {DOOR}" in said(shown)
    assert ends.replica() == raw_content(image)
    write = ["qemu-io", "-f", "qcow2", "-c", f"write -P 0x5a {5 * MIB} 65536", str(image)]
    subprocess.run(write, check=True, capture_output=True, timeout=30)
    shown = ends.user.ended(ends.execute(transfer), "execution", 200)
    assert shown["status"] == "COMPLETED", shown
    assert result(shown)["bytes_sent"] == 65536
    assert result(shown)["disks"][0]["reads"] == "dirty"
    assert ends.replica() == raw_content(image)
    assert ends.sites.west.listening() == set()
    ends.delete(transfer)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["east", "west"])
def test_a_worker_of_either_site_is_killed_in_the_midst(ends: Ends, victim: str) -> None:
    ends.sites.east.stop()
    ends.sites.east.start(f"bandwidth_limit = {8 * MIB}")
    machine = f"killed-{victim}"
    ends.disk(machine).write_bytes(content(64 * MIB))
    transfer = ends.transfer(machine)
    path = ends.execute(transfer)
    _wait_for_progress(ends, path)
    site = ends.sites.east if victim == "east" else ends.sites.west
    site.kill()
    site.start(RECEIVES if victim == "west" else f"bandwidth_limit = {8 * MIB}")
    shown = ends.user.ended(path, "execution", 300)
    assert shown["status"] == "COMPLETED", shown
    assert ends.replica() == ends.disk(machine).read_bytes()
    assert result(shown)["disks"][0]["bytes_resumed"] > 0
    assert ends.sites.west.listening() == ends.sites.east.listening() == set()
    ends.delete(transfer)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_link_that_is_cut_and_comes_back_costs_time_only(ends: Ends) -> None:
    ends.sites.east.stop()
    ends.sites.east.start(f"bandwidth_limit = {8 * MIB}")
    ends.disk("cut").write_bytes(content(64 * MIB))
    transfer = ends.transfer("cut")
    path = ends.execute(transfer)
    _wait_for_progress(ends, path)
    ends.sites.east.host.run("ip", "link", "set", LINK, "down")
    wait_for("the first attempt's end", lambda: "attempt 1 failed" in said(_shown(ends, path)), 180)
    ends.sites.east.host.run("ip", "link", "set", LINK, "up")
    shown = ends.user.ended(path, "execution", 300)
    assert shown["status"] == "COMPLETED", shown
    assert ends.replica() == ends.disk("cut").read_bytes()
    assert result(shown)["disks"][0]["bytes_resumed"] > 0
    ends.delete(transfer)


def _shown(ends: Ends, path: str) -> dict[str, Any]:
    return dict(ends.user.made("GET", path)["execution"])


def _wait_for_progress(ends: Ends, path: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        tasks = ends.user.made("GET", path)["execution"]["tasks"]
        copies = [task for task in tasks if task["task_type"] == "REPLICATE_DISKS"]
        if any(each["current_step"] for task in copies for each in task["progress_updates"]):
            return
        time.sleep(0.2)
    raise TimeoutError(f"no progress of {path} within 120 s")
