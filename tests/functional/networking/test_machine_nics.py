"""A machine that the libvirt provider makes, with its NIC on a Neutron network: real libvirtd, Neutron, OVN, agent."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab.clouds import LibvirtCloud
from lab.cri_calls import agent_socket
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from lab.tiny_guest import MIB, TinyGuest, build_disks
from openstack.exceptions import ConflictException
from tests.libvirt_fixtures import BOOT_SECONDS, Notes
from tests.network_ports import LONG, Ports, made_network, place

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.migration.machine import (
    BootProbe,
    DestinationDisk,
    Firmware,
    Machine,
    Nic,
    NicMapping,
    PowerState,
    ProbeType,
)
from isthmus.migration.providers.contract import HostNetwork
from isthmus.migration.providers.libvirt import neutron_nics
from isthmus.migration.providers.libvirt.provider import LibvirtProvider

DEPLOYMENT = "cccccccc-0000-0000-0000-000000000001"
MAC, ADDRESS = "52:54:00:aa:00:01", "10.64.0.77"
KEEPING = {"neutron": {"keep_addresses": True}, "virt_type": "qemu"}
LIVES = BootProbe(ProbeType.CONSOLE, marker="GUEST-UP", timeout_seconds=BOOT_SECONDS)


@dataclass
class World:
    """The cloud of the playground's host, a Neutron network, and what arrives on it."""

    playground: NetworkPlayground
    provider: LibvirtProvider
    neutron: Any
    network: Any
    machine: Machine
    disks: list[DestinationDisk]

    @property
    def nics(self) -> list[NicMapping]:
        return [NicMapping(nic, f"neutron:{self.network.name}") for nic in self.machine.nics]

    def make(self, environment: Any = None) -> Any:
        return self.provider.create_machine(
            DEPLOYMENT, self.machine, KEEPING if environment is None else environment, self.disks, self.nics
        )

    def ports(self) -> list[Any]:
        return [port for port in self.neutron.ports(network_id=self.network.id) if port.mac_address == MAC]

    def is_reached_from(self, space: str) -> bool:
        inside = ("ip", "netns", "exec", space)
        return self.playground.host.succeeds(*inside, "ping", "-c1", "-W2", ADDRESS) and self.playground.host.succeeds(
            *inside, "busybox", "nc", "-w", "5", ADDRESS, "7", "-e", "true"
        )


@pytest.fixture(scope="module")
def cloud(network_playground: NetworkPlayground) -> Iterator[LibvirtCloud]:
    """Return libvirt on the playground's host, in its network namespace."""
    directory = Path(tempfile.mkdtemp(prefix="/tmp/in-"))
    try:
        with LibvirtCloud("host", directory / "h", networks=(), host_pid=network_playground.host.pid) as made:
            yield made
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def world(network_playground: NetworkPlayground, cloud: LibvirtCloud) -> Iterator[World]:
    demo = network_playground.cloud("demo")
    project = str(demo.current_project_id)
    (path,) = build_disks(cloud.pool_directory, TinyGuest(), name="net")
    disk = DestinationDisk("vda", f"default/{path.name}", 96 * MIB, "qcow2", "default")
    nic = Nic(MAC, MAC, "default", "virtio", (ADDRESS, "fe80::5054:ff:feaa:1"))
    machine = Machine("m", "web", 1, 192, Firmware.BIOS, PowerState.OFF, nics=(nic,))
    administrator = network_playground.cloud("admin").network
    with ExitStack() as undo:
        connection = undo.enter_context(closing(cloud.connect()))
        connection.storagePoolLookupByName("default").refresh()
        network = undo.enter_context(made_network(demo.network, administrator, "10.64.0.0/24"))
        provider = undo.enter_context(closing(LibvirtProvider(cloud.connection)))
        provider.host_network = HostNetwork(agent_socket(network_playground.state_dir), lambda: project)
        yield World(network_playground, provider, demo.network, network, machine, [disk])
        provider.delete_machine(DEPLOYMENT, "web")


@pytest.fixture
def space(network_playground: NetworkPlayground, ports: Ports, world: World, demo_rules: None) -> Iterator[str]:
    """Return a namespace with a port of the network: a container's place."""
    del demo_rules
    network_playground.host.run("ip", "netns", "add", "beside")
    ports("attach", world.network.id, *place("beside"))
    yield "beside"
    ports("detach", *place("beside"))
    network_playground.host.run("ip", "netns", "del", "beside")


@pytest.fixture(scope="module")
def demo_rules(world: World) -> Iterator[None]:
    """Let everything into the project's default group while these tests run."""
    group = world.neutron.find_security_group("default", project_id=world.network.project_id)
    rules = []
    for protocol in ("icmp", "tcp"):
        with contextlib.suppress(ConflictException):
            rules.append(
                world.neutron.create_security_group_rule(
                    security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol=protocol
                )
            )
    yield
    for rule in rules:
        world.neutron.delete_security_group_rule(rule.id)


def test_a_machine_comes_to_life_on_a_neutron_network_with_its_mac_and_address(
    world: World, cloud: LibvirtCloud, space: str
) -> None:
    made = world.make()
    (port,) = world.ports()
    assert [each["ip_address"] for each in port.fixed_ips] == [ADDRESS]
    assert port.name == "web"
    assert world.make() == made
    assert [each.id for each in world.ports()] == [port.id]

    assert world.provider.boot_machine(made, LIVES, Notes()).passed
    wait_for("a container reaches the machine", lambda: world.is_reached_from(space), LONG)
    wait_for("the port is ACTIVE", lambda: world.neutron.get_port(port.id).status == "ACTIVE", LONG)

    # A worker that was killed after the start watches on; nothing is plugged twice.
    assert world.provider.boot_machine(made, BootProbe(), Notes()).passed
    assert world.is_reached_from(space)
    # The machine is a source, too: where it is tells what a network map must name.
    (nic,) = world.provider.get_machine(made.name).nics
    assert (nic.mac_address, nic.network_name) == (MAC, f"neutron:{world.network.name}")

    # Started again by its owner, it has another tap of the same name.
    with closing(cloud.connect()) as connection:
        domain = connection.lookupByName(made.name)
        domain.destroy()
        domain.create()
    wait_for("a container reaches the machine again", lambda: world.is_reached_from(space), LONG)

    world.provider.delete_machine(DEPLOYMENT, "web")
    wait_for("the port is gone", lambda: not world.ports(), LONG)
    world.provider.delete_machine(DEPLOYMENT, "web")


def test_a_deployment_that_was_killed_after_its_port_was_reserved_leaves_nothing(world: World) -> None:
    neutron_nics.reserve(world.provider.host_network, KEEPING, DEPLOYMENT, "web", world.nics)
    assert len(world.ports()) == 1
    agent = psutil.Process(world.playground.plane.pid("network-agent"))
    agent.kill()
    world.playground.plane.wait_ready()
    assert len(world.ports()) == 1
    world.provider.delete_machine(DEPLOYMENT, "web")
    wait_for("the port is gone", lambda: not world.ports(), LONG)


def test_networks_are_those_of_the_owners_project_and_what_does_not_fit_is_refused_by_name(world: World) -> None:
    provider, machine = world.provider, world.machine
    assert f"neutron:{world.network.name}" in [network.name for network in provider.list_networks()]
    provider.validate_destination("t", machine, KEEPING, [], world.nics)
    unknown = [NicMapping(machine.nics[0], "neutron:nowhere")]
    with pytest.raises(InvalidInput, match="no Neutron network 'nowhere'"):
        provider.validate_destination("t", machine, {}, [], unknown)
    nameless = [NicMapping(Nic(MAC, MAC, "default"), f"neutron:{world.network.id}")]
    with pytest.raises(NotFound, match="no address of NIC"):
        provider.validate_destination("t", machine, KEEPING, [], nameless)

    mine = provider.host_network
    assert mine is not None
    other = str(world.playground.cloud("demo2").current_project_id)
    provider.host_network = HostNetwork(mine.socket, lambda: other)
    try:
        assert f"neutron:{world.network.name}" not in [network.name for network in provider.list_networks()]
        with pytest.raises(NotFound, match="sees no network"):
            world.make()
        provider.host_network = None
        with pytest.raises(InvalidInput, match="need a worker on the hypervisor's own machine"):
            world.make()
    finally:
        provider.host_network = mine
    assert world.ports() == []


def test_an_address_that_is_taken_fails_the_deployment_and_leaves_no_machine(world: World) -> None:
    taken = world.neutron.create_port(network_id=world.network.id, fixed_ips=[{"ip_address": ADDRESS}])
    try:
        with pytest.raises(Conflict, match=ADDRESS.replace(".", r"\.")):
            world.make()
    finally:
        world.neutron.delete_port(taken.id)
    assert world.provider.list_machines("web") == []
