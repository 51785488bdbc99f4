"""Docker's swarm mode with two nodes, each an engine with an agent and a switch of its own, on one Neutron network."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from lab import network_image
from lab.control_plane import ISTHMUS
from lab.docker_networks import DRIVER
from lab.network_agents import stop_agent
from lab.network_engines import Docker
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from lab.network_second_host import FIRST_ADDRESS, SECOND_ADDRESS

LONG = 240
RANGE = "10.95.0.0/24"


@dataclass
class Swarm:
    """A manager and a worker."""

    manager: Docker
    worker: Docker
    neutron: Any
    containers: dict[str, Docker] = field(default_factory=dict)

    def start(self, node: Docker, name: str) -> str:
        """Start a container on a node; return its address."""
        self.containers[name] = node
        node.run("run", "-d", "--init", "--name", name, "--network", "blue", network_image.NAME, "sleep", "100000")
        return str(node.inspect("container", name)["NetworkSettings"]["Networks"]["blue"]["IPAddress"])

    def pings(self, name: str, address: str) -> bool:
        words = ("exec", name, "ping", "-c1", "-W2", address)
        return self.containers[name].tell(*words).returncode == 0

    def networks(self) -> list[Any]:
        return list(self.neutron.networks(tags="isthmus.swarm"))


@pytest.fixture(scope="module")
def swarm(patient_playground: NetworkPlayground) -> Iterator[Swarm]:
    """Give a swarm of the playground's two hosts; the engine of other tests, which swarm refuses, stops meanwhile."""
    playground = patient_playground
    before = playground.agent_options
    with ExitStack() as undo:
        playground.docker().stop()
        undo.callback(playground.docker().start)
        undo.callback(playground.restart_agent, before)
        playground.restart_agent(before + "docker_scope = global\n")
        second = playground.second_host()
        agent = second.start_agent()
        undo.callback(stop_agent, second.host, agent)
        first, other = (
            undo.enter_context(Docker(host, playground.directory / f"swarm-{name}", ()))
            for name, host in (("first", playground.host), ("second", second.host))
        )
        for node in (first, other):
            _install_plugin(node)
        address = ("--advertise-addr", FIRST_ADDRESS, "--listen-addr", f"{FIRST_ADDRESS}:2377")
        first.run("swarm", "init", *address)
        token = first.run("swarm", "join-token", "-q", "worker")
        address = ("--advertise-addr", SECOND_ADDRESS, "--listen-addr", f"{SECOND_ADDRESS}:2377")
        other.run("swarm", "join", *address, "--token", token, f"{FIRST_ADDRESS}:2377")
        made = Swarm(first, other, playground.cloud("admin").network)
        yield made
        for node in (other, first):
            node.tell("swarm", "leave", "--force")


def _install_plugin(node: Docker) -> None:
    place = node.directory / "plugin"
    node.host.run(ISTHMUS, "docker", "package", str(place))
    node.run("plugin", "create", DRIVER, str(place))
    node.run("plugin", "enable", DRIVER)


def test_containers_and_services_of_two_nodes_are_on_one_network(swarm: Swarm) -> None:
    manager = swarm.manager
    line = ("network", "create", "-d", f"{DRIVER}:latest", "--ipam-driver", f"{DRIVER}:latest", "--scope", "swarm")
    manager.run(*line, "--attachable", "--subnet", RANGE, "blue")
    # The manager allocates after it has answered.
    wait_for("Neutron has the network", swarm.networks, LONG)
    (network,) = swarm.networks()

    one, two = swarm.start(manager, "one"), swarm.start(swarm.worker, "two")
    wait_for("the manager's container reaches the worker's", lambda: swarm.pings("one", two), LONG)
    wait_for("and the other way", lambda: swarm.pings("two", one), LONG)

    manager.run(
        *("service", "create", "--detach", "--name", "web", "--mode", "global", "--network", "blue"),
        *("--endpoint-mode", "dnsrr", network_image.NAME, "sleep", "100000"),
    )

    def tasks() -> list[str]:
        wanted = ("service", "ps", "web", "--filter", "desired-state=running", "--format", "{{.CurrentState}}")
        return [state for state in manager.run(*wanted).splitlines() if state.startswith("Running")]

    wait_for("the service has a task on each node", lambda: len(tasks()) == 2, LONG)
    own = [port for port in swarm.neutron.ports(network_id=network.id) if port.device_owner == "compute:kuryr"]
    hosts = {port.binding_host_id for port in own if port.device_id}
    assert len(hosts) == 2

    manager.run("service", "rm", "web")
    manager.run("rm", "-f", "one")
    swarm.worker.run("rm", "-f", "two")
    wait_for("the network is deleted", lambda: manager.tell("network", "rm", "blue").returncode == 0, LONG)
    wait_for("Neutron has it no more", lambda: not swarm.networks(), LONG)
