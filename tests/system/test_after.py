"""What follows the copy, on two real clouds through the command line: verify, test, deploy, report, go home."""

import json
import subprocess
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
from lab.looking_around import look_back
from lab.rest_user import RestUser

MACHINE = "small"
MIB = 1 << 20


@pytest.fixture
def clouds() -> Iterator[tuple[LibvirtCloud, LibvirtCloud]]:
    with tempfile.TemporaryDirectory(prefix="/tmp/after-") as directory:
        east = LibvirtCloud("e", Path(directory) / "e")
        west = LibvirtCloud("w", Path(directory) / "w", networks=("default", "isolated"))
        with east, west:
            yield east, west


def _write(file: Path, offset: int, size: int) -> None:
    """Write into a qcow2 image that nobody has open."""
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P 0x5a {offset} {size}", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _same(first: Path, second: Path) -> bool:
    command = ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", str(first), str(second)]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


def _machines(cloud: LibvirtCloud) -> list[str]:
    with closing(cloud.connect()) as connection:
        return sorted(domain.name() for domain in connection.listAllDomains())


def _disk_of(cloud: LibvirtCloud, machine: str) -> Path:
    with closing(cloud.connect()) as connection:
        return Path(connection.lookupByName(machine).XMLDesc().partition("source file='")[2].partition("'")[0])


def _transfer(user: RestUser, east: LibvirtCloud, west: LibvirtCloud) -> str:
    ends = [
        user.made(
            "POST",
            "/endpoints",
            {"endpoint": {"name": cloud.name, "type": "libvirt", "connection_info": cloud.connection}},
        )["endpoint"]["id"]
        for cloud in (east, west)
    ]
    body: dict[str, Any] = {
        "origin_endpoint_id": ends[0],
        "destination_endpoint_id": ends[1],
        "instances": [MACHINE],
        "network_map": {"default": "default"},
        "skip_os_morphing": True,
    }
    return str(user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"])


def _executed(user: RestUser, cli: CommandLine, transfer: str) -> int:
    """Execute a transfer to its end and return the bytes that were sent."""
    execution = cli.made("execution", "create", transfer)["id"]
    ended = user.ended(f"/transfers/{transfer}/executions/{execution}", "execution")
    assert ended["status"] == "COMPLETED", ended
    (sent,) = [task["result"]["bytes_sent"] for task in ended["tasks"] if task["task_type"] == "REPLICATE_DISKS"]
    return int(sent)


def _deployed(user: RestUser, cli: CommandLine, transfer: str, *words: str) -> str:
    deployment = str(cli.made("deployment", "create", transfer, "--skip-os-morphing", *words)["id"])
    ended = user.ended(f"/deployments/{deployment}", "deployment")
    assert ended["last_execution_status"] == "COMPLETED", ended
    return deployment


@pytest.mark.timeout(600)
def test_a_replica_is_verified_tested_deployed_reported_and_brought_home(
    control_plane: ControlPlane, clouds: tuple[LibvirtCloud, LibvirtCloud], tmp_path: Path
) -> None:
    east, west = clouds
    small_machines.define_many(east, [MACHINE])
    user, cli = RestUser.of(control_plane.demo_environment), CommandLine(control_plane.demo_environment)
    transfer = _transfer(user, east, west)
    _executed(user, cli, transfer)
    (replica,) = small_machines.volumes(west)

    (row,) = cli.listed("transfer", "verify", transfer)
    assert (row["Equal"], row["Changed since"], row["Different"]) == (64 * MIB, 0, 0)
    _write(west.pool_directory / replica, 5 * MIB, 4096)
    found = cli.run("transfer", "verify", transfer)
    assert found.returncode == 1
    assert "differs from its source on vda" in found.stderr
    assert _executed(user, cli, transfer) == 65536
    (row,) = cli.listed("transfer", "verify", transfer)
    assert row["Different"] == 0

    _deployed(user, cli, transfer, "--test-network", "isolated")
    assert _machines(west) == []
    assert small_machines.volumes(west) == [replica]

    deployment = _deployed(user, cli, transfer)
    assert _machines(west) == [MACHINE]
    assert "nothing to retry" in cli.run("deployment", "retry", deployment).stderr
    (report,) = cli.listed("report", "fetch", deployment, "--directory", str(tmp_path))
    key = tmp_path / "key.pem"
    key.write_text(cli.run("report", "key").stdout)
    assert cli.run("report", "verify", report["File"], "--key", str(key)).returncode == 0
    told = json.loads(Path(report["File"]).read_text())
    assert (told["deployment"]["status"], len(told["passes"])) == ("COMPLETED", 2)
    assert told["verification"]["equal"] is True
    Path(report["File"]).write_text(json.dumps({**told, "instance": "other"}))
    assert cli.run("report", "verify", report["File"], "--key", str(key)).returncode == 1
    said: list[str] = []
    look_back(control_plane.demo_environment, said.append, deployment=deployment)
    assert 'report: instance: "' in "\n".join(said)
    assert said[-1].endswith("unchanged")

    small_machines.power_off(west, MACHINE)
    away = _disk_of(west, MACHINE)
    _write(away, 20 * MIB, 65536)
    home = cli.made("transfer", "failback", transfer)["id"]
    before = set(small_machines.volumes(east))
    assert 65536 <= _executed(user, cli, home) <= MIB
    (arrived,) = set(small_machines.volumes(east)) - before
    assert _same(east.pool_directory / arrived, away)
    _deployed(user, cli, home)
    assert len(_machines(east)) == 2
