"""Guests that are changed, not started, go the whole way: an encrypted root by a key in Barbican, Windows on NTFS."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from tests import windows_guest
from tests.bad_input_world import files_with
from tests.image_packages import leftovers_of_images, make_site
from tests.image_store_fixtures import auth_of
from tests.locked_guest import make_locked_disk
from tests.rpm_guest import KERNEL

KEY = "only Barbican may know this 7c1f"
LIMIT = 1500
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]  # appliances, on an emulated processor


class Shelves:
    """Two directories of images as clouds, and what is moved between them."""

    def __init__(self, plane: ControlPlane, place: Path) -> None:
        self.plane, self.place = plane, place
        self.user = RestUser.of(plane.demo_environment)
        self.sites = {side: make_site(place / side) for side in ("east", "west")}
        self.ends = {side: self._endpoint(side) for side in self.sites}
        self.transfers: list[str] = []

    def _endpoint(self, side: str) -> str:
        body = {"name": f"offline-{side}", "type": "images", "connection_info": self.sites[side]}
        return str(self.user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"])

    def replicate(self, disk: Path, name: str, os_type: str, wishes: dict[str, Any]) -> str:
        """Put a raw disk on the first shelf and replicate it; return the transfer."""
        shutil.move(disk, Path(self.sites["east"]["path"]) / f"{name}.raw")
        wanted: dict[str, Any] = {"origin_endpoint_id": self.ends["east"], "destination_endpoint_id": self.ends["west"]}
        wanted |= {"instances": [name], "network_map": {}, "destination_environment": wishes}
        wanted["source_environment"] = {"os_type": os_type}
        transfer = str(self.user.made("POST", "/transfers", {"transfer": wanted})["transfer"]["id"])
        self.transfers.append(transfer)
        execution = self.user.made("POST", f"/transfers/{transfer}/executions", {"execution": {}})["execution"]["id"]
        shown = self.user.ended(f"/transfers/{transfer}/executions/{execution}", "execution", LIMIT)
        assert shown["status"] == "COMPLETED", shown
        return transfer

    def deploy(self, transfer: str, **options: Any) -> dict[str, Any]:
        """Deploy and return how it ended."""
        body = {"transfer_id": transfer, "clone_disks": True, **options}
        made = self.user.made("POST", "/deployments", {"deployment": body})["deployment"]["id"]
        shown = self.user.ended(f"/deployments/{made}", "deployment", LIMIT)
        self.user.made("DELETE", f"/deployments/{made}")
        return shown

    def close(self) -> None:
        """Remove all of it."""
        for transfer in self.transfers:
            gone = self.user.made("POST", f"/transfers/{transfer}/actions", {"delete-disks": None})["execution"]["id"]
            self.user.ended(f"/transfers/{transfer}/executions/{gone}", "execution", LIMIT)
            self.user.made("DELETE", f"/transfers/{transfer}")
        deadline = time.monotonic() + LIMIT
        for end in self.ends.values():
            # What the deleted transfer left there is being removed.
            while (answer := self.user.call("DELETE", f"/endpoints/{end}")).status_code == 409:
                assert time.monotonic() < deadline, answer.text
                time.sleep(0.5)
            assert answer.status_code == 204, answer.text
        assert leftovers_of_images(self.sites["east"]) == []


@pytest.fixture
def shelves(control_plane: ControlPlane) -> Iterator[Shelves]:
    with tempfile.TemporaryDirectory(prefix="/tmp/og-") as name:
        made = Shelves(control_plane, Path(name))
        yield made
        made.close()


@pytest.fixture
def secrets(control_plane: ControlPlane) -> Iterator[Any]:
    """Return the user's own secrets in Barbican."""
    environment = control_plane.demo_environment
    connection: Any = openstack.connection.Connection(
        auth=auth_of(environment), region_name=environment.get("OS_REGION_NAME")
    )
    made: list[str] = []

    def store(keys: list[str]) -> str:
        secret = connection.key_manager.create_secret(
            name="luks", payload=json.dumps({"keys": keys}), payload_content_type="text/plain"
        )
        made.append(secret.secret_ref)
        return str(secret.secret_ref)

    yield store
    for reference in made:
        connection.key_manager.delete_secret(reference.rpartition("/")[2])
    connection.close()


def test_an_encrypted_root_is_changed_by_a_key_in_barbican(shelves: Shelves, secrets: Any) -> None:
    transfer = shelves.replicate(make_locked_disk(shelves.place, KEY), "locked", "linux", {})
    refused = shelves.deploy(transfer, luks_secret_ref=secrets(["not this one"]))
    assert refused["last_execution_status"] == "ERROR"
    assert "none of the given keys opens" in json.dumps(refused)
    shown = shelves.deploy(transfer, luks_secret_ref=secrets(["another volume's", KEY]))
    assert shown["last_execution_status"] == "COMPLETED", shown
    told = json.dumps(shown)
    assert f"initramfs: made again for kernel {KERNEL}" in told
    assert "fstab: /boot is mounted by UUID=" in told
    assert KEY not in told
    assert files_with(shelves.plane.state_dir, KEY) == []
    (machine,) = Path(shelves.sites["west"]["path"]).glob("locked/*.ovf")
    assert (machine.parent / "disk1.qcow2").exists()


def test_windows_on_ntfs_is_changed_on_its_way(shelves: Shelves) -> None:
    """On SATA with an Intel NIC: these need no drivers but Windows' own, so none has to be on the worker."""
    tree = windows_guest.make_tree(shelves.place / "guest")
    disk = windows_guest.make_disk(shelves.place, tree)
    wishes = {"disk_bus": "sata", "nic_model": "e1000e", "disk_format": "vhdx"}
    transfer = shelves.replicate(disk, "server", "windows", wishes)
    shown = shelves.deploy(transfer)
    assert shown["last_execution_status"] == "COMPLETED", shown
    assert "drivers: SATA starts" in json.dumps(shown)
    (machine,) = Path(shelves.sites["west"]["path"]).glob("server/*.ovf")
    assert "Microsoft Windows" in machine.read_text()
    assert windows_guest.started_services(machine.parent / "disk1.vhdx") == {"storahci": 0, "VMTools": 4}
