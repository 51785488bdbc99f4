"""A wave of twenty real machines through the command line: one cannot be moved, the others are, its retry completes."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lab import small_machines
from lab.clouds import LibvirtCloud
from lab.command_line import CommandLine
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser

MACHINES = [f"small{number:02}" for number in range(20)]
STUBBORN = "small07"


@pytest.fixture
def clouds() -> Iterator[tuple[LibvirtCloud, LibvirtCloud]]:
    with tempfile.TemporaryDirectory(prefix="/tmp/wave-") as directory:
        east, west = (LibvirtCloud(name, Path(directory) / name) for name in ("e", "w"))
        with east, west:
            yield east, west


def _transfers(user: RestUser, east: LibvirtCloud, west: LibvirtCloud) -> dict[str, str]:
    """Make a transfer for each machine and return their ids by machine."""
    ends = []
    body: dict[str, Any]
    for cloud in (east, west):
        body = {"name": cloud.name, "type": "libvirt", "connection_info": cloud.connection}
        ends.append(user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"])
    made = {}
    for name in MACHINES:
        body = {
            "origin_endpoint_id": ends[0],
            "destination_endpoint_id": ends[1],
            "instances": [name],
            "network_map": {"default": "default"},
            "skip_os_morphing": True,
            "clone_disks": False,
        }
        made[name] = user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"]
    return made


def _members(user: RestUser, wave_id: str) -> dict[str, dict[str, Any]]:
    """Return a wave's members by transfer."""
    groups = user.made("GET", f"/waves/{wave_id}")["wave"]["groups"]
    return {member["transfer_id"]: member for group in groups for member in group["members"]}


def _running(cloud: LibvirtCloud) -> set[str]:
    """Return the names of the machines that are on (or paused) in a cloud."""
    with closing(cloud.connect()) as connection:
        return {each.name() for each in connection.listAllDomains() if each.isActive()}


@pytest.mark.timeout(400)
def test_of_twenty_machines_one_is_rolled_back_and_its_retry_completes(
    control_plane: ControlPlane, clouds: tuple[LibvirtCloud, LibvirtCloud]
) -> None:
    east, west = clouds
    small_machines.define_many(east, MACHINES)
    small_machines.pause(east, STUBBORN)
    user, cli = RestUser.of(control_plane.demo_environment), CommandLine(control_plane.demo_environment)
    transfers = _transfers(user, east, west)
    group = f"all={','.join(transfers.values())}"

    options = ("--max-in-flight", "4", "--shutdown-instances", "--auto-deploy")
    wave = cli.made("wave", "create", "night", "--group", group, *options)["id"]
    assert cli.made("wave", "start", wave)["status"] == "SCHEDULED"
    watched = cli.run("wave", "watch", wave)

    assert watched.returncode == 1
    assert "19 COMPLETED, 1 ERROR" in watched.stderr
    members = _members(user, wave)
    failed = members.pop(transfers[STUBBORN])
    assert failed["status"] == "ERROR"
    assert f"machine {STUBBORN} is paused" in failed["message"]
    assert {member["status"] for member in members.values()} == {"COMPLETED"}
    path = f"/transfers/{transfers[STUBBORN]}/executions/{failed['execution_id']}"
    undone = [each["task_type"] for each in user.made("GET", path)["execution"]["tasks"] if each["on_error"]]
    assert "DELETE_TRANSFER_DISKS" in undone
    assert len(small_machines.volumes(west)) == 19
    assert _running(west) == set(MACHINES) - {STUBBORN}
    assert _running(east) == {STUBBORN}

    by_hand = cli.made("execution", "retry", transfers[STUBBORN], failed["execution_id"])["id"]
    again_failed = user.ended(f"/transfers/{transfers[STUBBORN]}/executions/{by_hand}", "execution")
    assert (again_failed["status"], again_failed["retry_of"]) == ("ERROR", failed["execution_id"])
    assert len(small_machines.volumes(west)) == 19

    small_machines.power_off(east, STUBBORN)
    cli.made("wave", "retry", wave)
    watched = cli.run("wave", "watch", wave)

    assert watched.returncode == 0, watched.stderr
    assert "COMPLETED (20 COMPLETED)" in watched.stdout
    assert len(small_machines.volumes(west)) == 20
    assert (_running(west), _running(east)) == (set(MACHINES), set())
    again = _members(user, wave)
    assert again.pop(transfers[STUBBORN])["execution_id"] != failed["execution_id"]
    assert {key: each["execution_id"] for key, each in again.items()} == {
        key: each["execution_id"] for key, each in members.items()
    }
