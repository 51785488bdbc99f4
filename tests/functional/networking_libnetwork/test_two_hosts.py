"""Two hosts, each with an agent, a store and a Docker network of its own, on one Neutron network."""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lab.docker_networks import DockerNetworks
from lab.network_agents import stop_agent
from lab.network_host import NetworkHost, wait_for
from lab.network_playground import NetworkPlayground
from lab.network_second_host import HOSTNAME

RANGE = "10.72.0.0/24"
SPACE = "isthmus_local"
LONG = 240
Call = Callable[..., dict[str, Any]]


def docker_of(host: NetworkHost) -> Call:
    """Return Docker's side of the protocol on a host."""

    def call(method: str, **body: Any) -> dict[str, Any]:
        line = ("curl", "-s", "--max-time", "110", "--unix-socket", "/run/docker/plugins/isthmus.sock")
        words = ("-w", "\n%{http_code}", "--data-binary", "@-", f"http://docker/{method}")
        done = subprocess.run(
            host.command(*line, *words), input=json.dumps(body).encode(), capture_output=True, timeout=120, check=True
        )
        answer, _, status = done.stdout.decode().rpartition("\n")
        assert status == "200", answer
        found: dict[str, Any] = json.loads(answer)
        return found

    return call


@pytest.fixture(scope="module")
def hosts(patient_playground: NetworkPlayground) -> Iterator[tuple[Call, Call]]:
    """Give Docker's side of the first and of the second host."""
    second = patient_playground.second_host()
    agent = second.start_agent()
    yield docker_of(patient_playground.host), docker_of(second.host)
    stop_agent(second.host, agent)


def make(docker: Call, docker_id: str, network: str) -> str:
    """Make a Docker network on a Neutron network that exists; return its pool."""
    pool = docker("IpamDriver.RequestPool", AddressSpace=SPACE, Pool=RANGE, Options={}, V6=False)
    data = {"AddressSpace": SPACE, "Pool": RANGE, "Gateway": "10.72.0.1/24", "AuxAddresses": {}}
    options = {"com.docker.network.generic": {"neutron.net.uuid": network}}
    docker("NetworkDriver.CreateNetwork", NetworkID=docker_id, Options=options, IPv4Data=[data], IPv6Data=[])
    return str(pool["PoolID"])


def test_a_hosts_end_of_a_network_leaves_the_others_ports_and_subnet(
    networks: DockerNetworks, hosts: tuple[Call, Call]
) -> None:
    first, second = hosts
    neutron = networks.cloud.network
    project = networks.cloud.identity.find_project("demo").id
    network = neutron.create_network(name="both", project_id=project)

    def warm_of_second() -> set[str]:
        ports = neutron.ports(network_id=network.id, tags=f"isthmus.host:{HOSTNAME}")
        return {port.id for port in ports if port.name == "isthmus-warm"}

    def subnets() -> list[str]:
        return [subnet.cidr for subnet in neutron.subnets(network_id=network.id)]

    pool = make(first, "1" * 64, network.id)
    make(second, "2" * 64, network.id)
    wait_for("the second host has its warm ports", lambda: len(warm_of_second()) >= 4, LONG)
    before = warm_of_second()

    first("NetworkDriver.DeleteNetwork", NetworkID="1" * 64)

    assert warm_of_second() == before
    assert subnets() == [RANGE]
    second("NetworkDriver.DeleteNetwork", NetworkID="2" * 64)
    first("IpamDriver.ReleasePool", PoolID=pool)
    assert subnets() == []
    wait_for("no port is left", lambda: not list(neutron.ports(network_id=network.id)), LONG)
    neutron.delete_network(network.id)


def test_networks_that_name_no_subnet_and_are_made_at_once_get_one_each(networks: DockerNetworks) -> None:
    docker = docker_of(networks.host)

    def request(_: int) -> dict[str, Any]:
        return docker("IpamDriver.RequestPool", AddressSpace=SPACE, Pool="", Options={}, V6=False)

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(request, range(4)))

    try:
        assert len({each["Pool"] for each in made}) == 4
        assert len({each["PoolID"] for each in made}) == 4
    finally:
        for each in {each["PoolID"] for each in made}:
            docker("IpamDriver.ReleasePool", PoolID=each)
