"""Docker networks on Neutron's: made, adopted, kept apart."""

import pytest
from lab.docker_networks import DockerNetworks
from lab.network_host import wait_for


def test_two_tenants_share_an_engine_and_addresses_and_no_packet_crosses(networks: DockerNetworks) -> None:
    # The address that both demand is outside the pools: a warm port may have any in them.
    upper_half = ("--ip-range", "10.36.0.128/25")
    networks.make("blue", "10.36.0.0/24", project="demo", words=upper_half)
    networks.make("green", "10.36.0.0/24", project="demo2", words=upper_half)
    networks.start("b1", "blue")
    networks.start("b2", "blue", "--ip", "10.36.0.99")
    networks.start("g1", "green")
    networks.start("g2", "green", "--ip", "10.36.0.99")

    assert networks.neutron_network("blue").project_id != networks.neutron_network("green").project_id
    networks.wait_ping("b1", "10.36.0.99")
    networks.wait_ping("g1", "10.36.0.99")
    quiet = networks.link("g2")["received"]
    assert networks.pings("b1", "10.36.0.99", 5)
    networks.execute("b1", "busybox", "arping", "-c", "3", "-I", "eth0", "10.36.0.99")
    assert networks.link("g2")["received"] == quiet
    loud = networks.link("b2")["received"]
    assert networks.pings("b1", "10.36.0.99", 5)
    assert networks.link("b2")["received"] >= loud + 5


def test_an_existing_network_is_used_and_left(networks: DockerNetworks) -> None:
    project = networks.cloud.identity.find_project("demo").id
    made = networks.cloud.network.create_network(name="tenant", project_id=project, mtu=1300)
    networks.cloud.network.create_subnet(
        network_id=made.id, project_id=project, ip_version=4, cidr="10.37.0.0/24", gateway_ip="10.37.0.254",
        host_routes=[{"destination": "192.0.2.0/24", "nexthop": "10.37.0.253"}],
    )  # fmt: skip

    networks.make("blue", options=("neutron.net.name=tenant",), ipam=("neutron.net.name=tenant",))
    networks.start("c1", "blue")

    assert networks.port("c1", "blue").network_id == made.id
    assert networks.link("c1")["mtu"] == 1300
    routes = networks.execute("c1", "ip", "route")
    assert "default via 10.37.0.254" in routes
    assert "192.0.2.0/24 via 10.37.0.253" in routes
    networks.remove("c1")
    networks.remove_network("blue")
    left = networks.cloud.network.get_network(made.id)
    assert left.tags == []
    for port in networks.cloud.network.ports(network_id=made.id):
        networks.cloud.network.delete_port(port.id)
    networks.cloud.network.delete_network(made.id)


def test_a_network_without_a_subnet_gets_one_of_its_own(networks: DockerNetworks) -> None:
    networks.make("blue")
    networks.make("green")
    networks.start("c1", "blue")

    pools = {networks.docker.inspect("network", name)["IPAM"]["Config"][0]["Subnet"] for name in ("blue", "green")}
    assert len(pools) == 2
    assert networks.address("c1", "blue")


def test_a_range_and_reserved_addresses_are_kept_to(networks: DockerNetworks) -> None:
    words = ("--ip-range", "10.38.0.0/28", "--aux-address", "printer=10.38.0.9", "--gateway", "10.38.0.8")
    networks.make("blue", "10.38.0.0/24", words=words)
    for name in ("c1", "c2", "c3"):
        networks.start(name, "blue")

    found = {networks.address(name, "blue") for name in ("c1", "c2", "c3")}
    assert len(found) == 3
    assert found <= {f"10.38.0.{last}" for last in range(1, 16) if last not in (8, 9)}


def test_dockers_own_addresses_can_be_used(networks: DockerNetworks) -> None:
    networks.docker.run("network", "create", "-d", networks.driver, "--subnet", "10.39.0.0/24", "blue")
    networks.networks.append("blue")
    networks.start("c1", "blue")
    networks.start("c2", "blue")

    networks.wait_ping("c1", networks.address("c2", "blue"))
    assert networks.port("c2", "blue").fixed_ips[0]["ip_address"] == networks.address("c2", "blue")


@pytest.mark.parametrize("way", ["network", "endpoint"])
def test_a_security_group_opens_and_closes(networks: DockerNetworks, way: str) -> None:
    project = networks.cloud.identity.find_project("demo").id
    group = networks.cloud.network.create_security_group(name="closed", project_id=project)
    option = f"isthmus.security_groups={group.id}"
    networks.make("blue", "10.40.0.0/24", options=(option,) if way == "network" else ())
    networks.start("c1", "blue")
    if way == "network":
        networks.start("c2", "blue")
    else:
        networks.start("c2", "none")
        networks.docker.run("network", "disconnect", "none", "c2")
        networks.docker.run("network", "connect", "--driver-opt", option, "blue", "c2")

    address = networks.address("c2", "blue")
    assert networks.port("c2", "blue").security_group_ids == [group.id]
    assert not networks.pings("c1", address, 2)
    networks.cloud.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="icmp", ethertype="IPv4", project_id=project
    )
    networks.wait_ping("c1", address)
    for name in ("c1", "c2"):
        networks.remove(name)
    networks.remove_network("blue")
    wait_for("the group is free", lambda: _deleted(networks, group.id))


def _deleted(networks: DockerNetworks, group: str) -> bool:
    used = [each for each in networks.cloud.network.ports() if group in each.security_group_ids]
    if used:
        return False
    networks.cloud.network.delete_security_group(group)
    return True
