"""`isthmus migrate` to a Neutron network: a machine that ran on libvirt's network is reached by containers of a tenant.

A whole control plane with networks, on a host of its own, is most of what this costs: it belongs to the nightly run.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.control_plane import ISTHMUS
from lab.cri_calls import agent_socket
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from lab.tiny_guest import TinyGuest, build_disks, domain_xml
from tests.network_ports import LONG, Ports, made_network, place

pytestmark = pytest.mark.nightly

BOOT_SECONDS = 240
RANGE = "192.168.120.0/24"
"""That of libvirt's network, so that the machine can keep its address."""


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="/tmp/mn-"))
    yield made
    shutil.rmtree(made)


def run(playground: NetworkPlayground, *words: str, text: str | None = None) -> str:
    """Run `isthmus` as the user demo on the playground's host."""
    done = subprocess.run(
        playground.host.command(ISTHMUS, *words),
        env={**os.environ, **playground.plane.environment("demo")},
        input=text,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def address_of(cloud: LibvirtCloud, name: str) -> str:
    connection = cloud.connect()
    found: list[str] = []

    def has_lease() -> bool:
        leases = connection.lookupByName(name).interfaceAddresses(0)
        found[:] = [each["addr"] for interface in leases.values() for each in interface["addrs"] or ()]
        return bool(found)

    try:
        wait_for("the machine has an address at home", has_lease, BOOT_SECONDS)
    finally:
        connection.close()
    return found[0]


def test_a_machine_keeps_its_address_on_a_tenants_network(directory: Path) -> None:
    with ExitStack() as undo:
        playground = undo.enter_context(NetworkPlayground())
        east = undo.enter_context(LibvirtCloud("east", directory / "e"))
        west = undo.enter_context(LibvirtCloud("west", directory / "w", networks=(), host_pid=playground.host.pid))
        demo, administrator = playground.cloud("demo").network, playground.cloud("admin").network
        network = undo.enter_context(made_network(demo, administrator, RANGE))
        address, mac = _start_guest(east, undo)
        for name, cloud in (("east", east), ("west", west)):
            line = ("endpoint", "create", "--provider", "libvirt", "--name", name, "--connection", "-")
            run(playground, *line, text=json.dumps(cloud.connection))
        assert f"neutron:{network.name}" in run(playground, "endpoint", "network", "list", "--endpoint", "west")

        run(
            playground, "migrate", "web", "--from", "east", "--to", "west",
            "--network", f"default=neutron:{network.name}",
            "--destination-environment", '{"neutron": {"keep_addresses": true}}', "--skip-os-morphing", "--syncs", "1",
            "--boot-probe", "console:GUEST-UP", "--boot-timeout", str(BOOT_SECONDS), "--no-watch",
        )  # fmt: skip

        (port,) = demo.ports(network_id=network.id, mac_address=mac)
        assert [each["ip_address"] for each in port.fixed_ips] == [address]
        _let_pings_in(demo, network)
        ports = Ports(playground)
        playground.host.run("ip", "netns", "add", "box")
        ports("attach", network.id, *place("box"))
        ping = ("ip", "netns", "exec", "box", "ping", "-c1", "-W2", address)
        wait_for("a container reaches the machine", lambda: playground.host.succeeds(*ping), LONG)
        socket = ("--socket", str(agent_socket(playground.state_dir)))
        assert address in playground.host.run(ISTHMUS, "port", "list", *socket)
        ports("detach", *place("box"))


def _start_guest(east: LibvirtCloud, undo: ExitStack) -> tuple[str, str]:
    disks = build_disks(east.pool_directory, TinyGuest(), name="web")
    mac = "52:54:00:aa:00:77"
    connection = east.connect()
    undo.callback(connection.close)
    connection.storagePoolLookupByName("default").refresh()
    domain = connection.defineXML(domain_xml("web", disks, "qcow2", mac_address=mac))
    domain.create()
    with Console(east, "web") as console:
        console.wait_for("RECORD", BOOT_SECONDS)
    return address_of(east, "web"), mac


def _let_pings_in(demo: Any, network: Any) -> None:
    group = demo.find_security_group("default", project_id=network.project_id)
    demo.create_security_group_rule(security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol="icmp")
