"""Replicas on two of Manila's dummy back ends: by OpenStack's own client, and with the manager killed in every act."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance.back_ends import OPTION, configuration
from lab.control_plane import ControlPlane
from lab.share_user import ShareUser

OPENSTACK = str(Path(sys.executable).parent / "openstack")
DELAY = 1.0
"""Seconds that the driver takes for each act, so that the manager can be killed in the middle of it."""
KIND = "mirrored"
SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "revert_to_snapshot_support": "True",
    "replication_type": "readable",
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    file = tmp_path_factory.mktemp("dummies") / "shares.conf"
    file.write_text(configuration(delay=DELAY))
    with ControlPlane(only=("keystone", "api", "share-manager"), options=(OPTION, str(file))) as made:
        yield made


@pytest.fixture(scope="module")
def administrator(plane: ControlPlane) -> ShareUser:
    """Return the administrator, when both back ends have reported; a type of replicated shares is there."""
    made = ShareUser.of(plane.admin_environment)
    body = {"share_type": {"name": KIND, "share_type_access:is_public": True, "extra_specs": SPECS}}
    made.made("POST", "/types", body)
    deadline = time.monotonic() + 60
    while len(made.made("GET", "/scheduler-stats/pools")["pools"]) < 2:
        assert time.monotonic() < deadline, "a back end has not reported"
        time.sleep(0.2)
    return made


def of_share(user: ShareUser, share_id: str) -> dict[str, dict[str, Any]]:
    found = user.made("GET", f"/share-replicas/detail?share_id={share_id}")["share_replicas"]
    return {each["id"]: each for each in found}


def test_openstacks_client_takes_a_replica_through_its_life(plane: ControlPlane, administrator: ShareUser) -> None:
    def openstack(*words: str) -> Any:
        command = [OPENSTACK, "share", *words]
        done = subprocess.run(
            command, env=plane.admin_environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() and "json" in words else None

    share = administrator.share(share_type=KIND)
    made = openstack("replica", "create", share["id"], "--wait", "-f", "json")
    assert {each["ID"] for each in openstack("replica", "list", "--share", share["id"], "-f", "json")} > {made["id"]}
    assert openstack("replica", "export", "location", "list", made["id"], "-f", "json")
    openstack("replica", "promote", made["id"], "--wait")
    shown = openstack("replica", "show", made["id"], "-f", "json")
    assert (shown["replica_state"], shown["status"]) == ("active", "available")
    (old,) = set(of_share(administrator, share["id"])) - {made["id"]}
    openstack("replica", "resync", old)
    openstack("replica", "delete", old, "--wait")
    administrator.delete(share)


def test_replicas_survive_the_death_of_their_manager(plane: ControlPlane, administrator: ShareUser) -> None:
    user = administrator.stranger()
    share = user.share(share_type=KIND)
    path = f"/shares/{share['id']}"
    user.made("POST", f"{path}/action", {"allow_access": {"access_type": "ip", "access_to": "192.0.2.1"}})

    replica = user.made("POST", "/share-replicas", {"share_replica": {"share_id": share["id"]}})["share_replica"]["id"]
    _kill(plane)
    user.settled(f"/share-replicas/{replica}", "share_replica")
    user.settled(f"/share-replicas/{replica}", "share_replica", field="replica_state", wanted="in_sync")

    snapshot = user.made("POST", "/snapshots", {"snapshot": {"share_id": share["id"]}})["snapshot"]
    _kill(plane)
    user.settled(f"/snapshots/{snapshot['id']}", "snapshot")

    user.made("POST", f"{path}/action", {"revert": {"snapshot_id": snapshot["id"]}})
    _kill(plane)
    user.settled(path, "share")

    user.made("POST", f"/share-replicas/{replica}/action", {"promote": None})
    _kill(plane)
    user.settled(f"/share-replicas/{replica}", "share_replica", field="replica_state", wanted="active")
    assert {each["status"] for each in of_share(user, share["id"]).values()} == {"available"}

    user.made("DELETE", f"/snapshots/{snapshot['id']}")
    _kill(plane)
    user.gone(f"/snapshots/{snapshot['id']}")

    (old,) = set(of_share(user, share["id"])) - {replica}
    user.made("DELETE", f"/share-replicas/{old}")
    _kill(plane)
    user.gone(f"/share-replicas/{old}")
    user.settled(path, "share", field="access_rules_status", wanted="active")

    user.delete(share)
    assert {name: used for name, used in user.usage().items() if used != (0, 0)} == {}


def _kill(plane: ControlPlane) -> None:
    """Kill the manager while its driver is at it, and return when its successor is ready."""
    time.sleep(DELAY / 2)
    plane.kill("share-manager")
    plane.wait_ready()
