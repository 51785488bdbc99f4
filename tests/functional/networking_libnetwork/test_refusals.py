"""What cannot be done is said in the protocol's own error, and leaves nothing behind."""

import subprocess

import pytest
from lab import network_image
from lab.docker_networks import DRIVER, DockerNetworks


def create(networks: DockerNetworks, *words: str) -> subprocess.CompletedProcess[str]:
    """Try to make a network `bad`."""
    return networks.docker.tell("network", "create", "-d", DRIVER, "--ipam-driver", DRIVER, *words, "bad")


def start(networks: DockerNetworks, network: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Try to start a container `bad`, removing what Docker keeps of one that did not start."""
    told = networks.docker.tell(
        "run", "-d", "--name", "bad1", "--network", network, *words, network_image.NAME, "sleep", "1"
    )
    networks.docker.tell("rm", "-f", "bad1")
    return told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--subnet", "10.50.0.0/24", "-o", "neutron.net.name=nowhere"), "no network nowhere"),
        (("--ipam-opt", "neutron.pool.name=nowhere"), "nowhere"),
        (("--ipam-opt", "neutron.subnet.uuid=nowhere"), "nowhere"),
        (("--subnet", "10.50.0.0/24", "-o", "isthmus.projet=demo"), "isthmus.projet is not known"),
        (("--subnet", "10.50.0.0/24", "--ipam-opt", "isthmus.project=nobody"), "no credential of project nobody"),
        (("--subnet", "10.50.0.0/24", "-o", "com.docker.network.driver.mtu=9000"), "mtu"),
        (("--subnet", "10.50.0.0/24", "-o", "isthmus.security_groups=nowhere"), "no security group nowhere"),
    ],
)
def test_a_network_that_cannot_be_made(networks: DockerNetworks, words: tuple[str, ...], said: str) -> None:
    told = create(networks, *words)

    assert told.returncode != 0
    assert said.lower() in told.stderr.lower()
    left = [each.name for each in networks.cloud.network.subnet_pools()]
    assert "kuryrPool-10.50.0.0/24" not in left


def test_another_tenants_network_is_not_seen(networks: DockerNetworks) -> None:
    project = networks.cloud.identity.find_project("demo2").id
    foreign = networks.cloud.network.create_network(name="foreign", project_id=project)

    told = create(networks, "--subnet", "10.50.0.0/24", "-o", f"neutron.net.uuid={foreign.id}")

    assert f"no network {foreign.id}" in told.stderr
    assert networks.cloud.network.get_network(foreign.id).tags == []
    networks.cloud.network.delete_network(foreign.id)


def test_another_tenants_security_group_is_not_seen(networks: DockerNetworks) -> None:
    project = networks.cloud.identity.find_project("demo2").id
    group = networks.cloud.network.create_security_group(name="foreign", project_id=project)

    told = create(networks, "--subnet", "10.50.0.0/24", "-o", f"isthmus.security_groups={group.id}")

    assert f"no security group {group.id}" in told.stderr
    networks.cloud.network.delete_security_group(group.id)


@pytest.mark.parametrize("subnet", ["10.51.0.0/16", "10.51.1.0/25", "10.51.1.0/24"])
def test_a_pool_that_overlaps_another_networks(networks: DockerNetworks, subnet: str) -> None:
    networks.make("good", "10.51.1.0/24")

    told = create(networks, "--subnet", subnet)

    assert "overlaps" in told.stderr
    networks.start("c1", "good")


def test_a_gateway_that_is_not_the_networks(networks: DockerNetworks) -> None:
    project = networks.cloud.identity.find_project("demo").id
    made = networks.cloud.network.create_network(name="tenant2", project_id=project)
    networks.cloud.network.create_subnet(network_id=made.id, project_id=project, ip_version=4, cidr="10.52.0.0/24")

    told = create(networks, "--subnet", "10.52.0.0/24", "--gateway", "10.52.0.9", "-o", f"neutron.net.uuid={made.id}")

    assert "gateway 10.52.0.9 does not fit" in told.stderr
    assert networks.cloud.network.get_network(made.id).tags == []
    networks.cloud.network.delete_network(made.id)


def test_an_mtu_beyond_an_existing_networks(networks: DockerNetworks) -> None:
    project = networks.cloud.identity.find_project("demo").id
    made = networks.cloud.network.create_network(name="narrow", project_id=project, mtu=1300)

    told = create(
        networks,
        *("--subnet", "10.52.0.0/24", "-o", f"neutron.net.uuid={made.id}", "-o", "com.docker.network.driver.mtu=1301"),
    )

    assert "MTU 1301 is too large" in told.stderr
    networks.cloud.network.delete_network(made.id)


def test_an_address_that_is_taken(networks: DockerNetworks) -> None:
    networks.make("good", "10.53.0.0/24", words=("--ip-range", "10.53.0.128/25"))
    networks.start("c1", "good")
    network = networks.neutron_network("good")
    networks.cloud.network.create_port(
        network_id=network.id,
        name="server",
        device_id="vm",
        device_owner="compute:nova",
        project_id=network.project_id,
        fixed_ips=[{"ip_address": "10.53.0.77"}],
    )

    held = start(networks, "good", "--ip", networks.address("c1", "good"))
    foreign = start(networks, "good", "--ip", "10.53.0.77")
    outside = start(networks, "good", "--ip", "10.99.0.1")

    assert held.returncode != 0
    assert "already given" in held.stderr
    assert "10.53.0.77 is used by port server of compute:nova" in foreign.stderr
    assert outside.returncode != 0
    for port in networks.cloud.network.ports(name="server"):
        networks.cloud.network.delete_port(port.id)


def test_a_pool_that_is_exhausted_and_has_room_again(networks: DockerNetworks) -> None:
    networks.make("tiny", "10.54.0.0/29")
    started = []
    for number in range(6):
        name = f"t{number}"
        networks.containers.append(name)
        line = ("run", "-d", "--init", "--network", "tiny", "--name", name, network_image.NAME, "sleep", "1000")
        told = networks.docker.tell(*line)
        if told.returncode != 0:
            break
        started.append(name)

    # 8 addresses less network, broadcast, gateway and, if Neutron serves DHCP there, its own.
    assert 4 <= len(started) <= 5
    assert "no more ip addresses" in told.stderr.lower() or "no free" in told.stderr.lower()
    networks.remove(started[0])
    networks.docker.tell("rm", "-f", name)
    networks.start("again", "tiny")


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("NetworkDriver.Join", b"{", "no JSON"),
        ("NetworkDriver.Join", b"[1]", "no JSON object"),
        ("NetworkDriver.Join", b'{"NetworkID": "x"}', "EndpointID"),
        ("NetworkDriver.CreateEndpoint", b'{"NetworkID": "x", "EndpointID": "y"}', "no Neutron network belongs"),
        ("NetworkDriver.Join", b'{"NetworkID": "x", "EndpointID": "y"}', "no Neutron network belongs"),
        ("IpamDriver.RequestAddress", b'{"PoolID": "isthmus|x"}', "no pool of this driver"),
        ("IpamDriver.RequestAddress", b'{"PoolID": "7be51a0e-0000-4000-8000-000000000000"}', "was deleted"),
        ("IpamDriver.RequestPool", b'{"Pool": "10.0.0.0/99"}', "Pool"),
    ],
)
def test_malformed_and_foreign_requests(networks: DockerNetworks, method: str, body: bytes, said: str) -> None:
    status, answer = networks.call(method, body)

    assert status == 400
    assert said in answer["Err"]
    assert answer["Error"] == answer["Err"]


@pytest.mark.parametrize(
    "method", ["Leave", "DeleteEndpoint", "DeleteNetwork", "FreeNetwork", "RevokeExternalConnectivity"]
)
def test_taking_away_what_never_was_is_done(networks: DockerNetworks, method: str) -> None:
    for _ in range(2):
        assert networks.call(f"NetworkDriver.{method}", {"NetworkID": "never", "EndpointID": "was"}) == (200, {})


def test_releasing_what_never_was_is_done(networks: DockerNetworks) -> None:
    pool = "7be51a0e-0000-4000-8000-000000000000"
    for _ in range(2):
        assert networks.call("IpamDriver.ReleaseAddress", {"PoolID": pool, "Address": "10.0.0.9"}) == (200, {})
        assert networks.call("IpamDriver.ReleasePool", {"PoolID": pool}) == (200, {})
