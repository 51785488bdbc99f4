"""A running machine of a libvirt cloud moves into OpenStack, boots there, and comes home, through the real API."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.control_plane import ISTHMUS, ControlPlane
from lab.openstack_cloud import OpenStackCloud
from lab.tiny_guest import TinyGuest, build_disks, domain_xml
from lab.worker_beside import WorkerBeside
from tests.openstack_fixtures import connection_of, delete_server, leftovers

Environments = Callable[[str], dict[str, str]]
MACHINE, MAC, REGION = "traveller", "52:54:00:ab:cd:07", "os-lab"


@dataclass(frozen=True)
class Ends:
    east: LibvirtCloud
    openstack: OpenStackCloud
    directory: Path
    runtime: Path


@pytest.fixture
def ends(openstack_cloud: OpenStackCloud, control_plane: ControlPlane) -> Iterator[Ends]:
    """The clouds are in a region of their own, whose worker has OpenStack's share."""
    with tempfile.TemporaryDirectory(prefix="/tmp/os-") as name:
        directory = Path(name)
        worker = WorkerBeside(control_plane, directory, REGION, f"file_shares = {openstack_cloud.share_line}\n")
        with LibvirtCloud("east", directory / "e") as east, worker:
            disks = build_disks(east.pool_directory, TinyGuest(size_mib=64), name=MACHINE)
            with closing(east.connect()) as connection:
                connection.defineXML(domain_xml(MACHINE, disks, "qcow2", mac_address=MAC)).create()
            yield Ends(east, openstack_cloud, directory, directory / "open")


def _isthmus(environment: dict[str, str], *words: str) -> Any:
    done = subprocess.run([ISTHMUS, *words], env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout) if "json" in words else done.stdout


def _register(environment: dict[str, str], ends: Ends) -> None:
    openstack = connection_of(ends.openstack)
    for provider, name, details in (("libvirt", "os-east", ends.east.connection), ("openstack", "os-cloud", openstack)):
        file = ends.directory / f"{name}.json"
        file.write_text(json.dumps(details))
        words = ("--provider", provider, "--name", name, "--region", REGION, "--connection", str(file))
        _isthmus(environment, "endpoint", "create", *words)


def _migrate(environment: dict[str, str], source: str, destination: str, network: str, wishes: dict[str, Any]) -> Any:
    return _isthmus(
        environment,
        *("migrate", MACHINE, "--from", source, "--to", destination, "--default-network", network),
        *("--skip-os-morphing", "--no-clone", "--syncs", "1", "--boot-probe", "console:GUEST-UP"),
        *("--boot-timeout", "400", "--destination-environment", json.dumps(wishes), "-f", "json"),
    )


@pytest.mark.timeout(1500)
def test_a_machine_moves_into_openstack_boots_there_and_comes_home(environment_of: Environments, ends: Ends) -> None:
    environment = environment_of("demo")
    with Console(ends.east, MACHINE) as console:
        _register(environment, ends)
        console.wait_for("GUEST-UP", 300)
        console.wait_for(r"RECORD \d+", 60)

    there = _migrate(environment, "os-east", "os-cloud", "blue", {"flavor": "tiny"})

    assert "GUEST-UP" in there["probe"]
    assert there["bytes_verified"] >= there["bytes_full"] > 0
    with ends.openstack.connect("tenant") as tenant:
        (server,) = [each for each in tenant.compute.servers() if each.name == MACHINE]
        said = tenant.compute.get_server_console_output(server)["output"]
        (port,) = tenant.network.ports(device_id=server.id)
        assert (server.status, port.mac_address, port.status) == ("ACTIVE", MAC, "ACTIVE")
        assert "RECORDS ok=" in said
        assert " bad=0" in said

    back = _migrate(environment, "os-cloud", "os-east", "default", {"name_suffix": "-home"})

    assert "GUEST-UP" in back["probe"]
    assert back["bytes_verified"] >= back["bytes_full"] > 0
    with closing(ends.east.connect()) as connection:
        assert connection.lookupByName(f"{MACHINE}-home").isActive()
    with ends.openstack.connect("tenant") as tenant:
        assert tenant.compute.get_server(server.id).status == "SHUTOFF"
        (attached,) = tenant.compute.volume_attachments(server)
        volume = tenant.block_storage.get_volume(attached.volume_id)
        delete_server(tenant, server)
        tenant.network.delete_port(port)
        tenant.block_storage.delete_volume(volume)
        tenant.block_storage.wait_for_delete(volume, interval=0.5, wait=60)
    assert leftovers(ends.openstack, ends.runtime) == []
