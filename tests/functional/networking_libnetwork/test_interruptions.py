"""Calls twice, in odd orders, and cut off: what Docker's retries find, and what is left."""

from typing import Any

import pytest
from lab.docker_networks import DockerNetworks
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

NETWORK = "d" * 64
ENDPOINT = "e" * 64
SPACE = "isthmus_local"
SWEPT = 240
"""Seconds until what Docker does not know was missed for long enough, and is swept away."""


class Engine:
    """Docker's side of the protocol, one call at a time."""

    def __init__(self, networks: DockerNetworks) -> None:
        self._networks = networks

    def call(self, method: str, **body: Any) -> dict[str, Any]:
        status, answer = self._networks.call(method, body)
        assert status == 200, answer
        return answer

    def make(self, pool: str) -> str:
        made = self.call("IpamDriver.RequestPool", AddressSpace=SPACE, Pool=pool, Options={}, V6=False)
        gateway = self.call(
            "IpamDriver.RequestAddress",
            PoolID=made["PoolID"],
            Address="",
            Options={"RequestAddressType": "com.docker.network.gateway"},
        )
        data = {"AddressSpace": SPACE, "Pool": pool, "Gateway": gateway["Address"], "AuxAddresses": {}}
        for _ in range(2):
            self.call("NetworkDriver.CreateNetwork", NetworkID=NETWORK, Options={}, IPv4Data=[data], IPv6Data=[])
        return str(made["PoolID"])

    def end(self, pool_id: str) -> None:
        for _ in range(2):
            self.call("NetworkDriver.DeleteNetwork", NetworkID=NETWORK)
            self.call("IpamDriver.ReleasePool", PoolID=pool_id)

    def endpoint(self, method: str, **body: Any) -> dict[str, Any]:
        return self.call(f"NetworkDriver.{method}", NetworkID=NETWORK, EndpointID=ENDPOINT, **body)


def test_every_call_twice_is_as_once(networks: DockerNetworks) -> None:
    engine = Engine(networks)
    pool_id = engine.make("10.60.0.0/24")
    assert engine.make("10.60.0.0/24") == pool_id
    address = engine.call("IpamDriver.RequestAddress", PoolID=pool_id, Address="", Options={})["Address"]
    interface = {"Address": address, "AddressIPv6": "", "MacAddress": ""}

    made = [engine.endpoint("CreateEndpoint", Interface=interface, Options={}) for _ in range(2)]
    joined = [engine.endpoint("Join", SandboxKey="/run/docker/netns/x", Options={}) for _ in range(2)]
    info = engine.endpoint("EndpointOperInfo")["Value"]

    assert made[0] == made[1]
    assert set(made[0]["Interface"]) == {"MacAddress"}
    assert joined[0] == joined[1]
    assert joined[0]["Gateway"] == "10.60.0.1"
    assert networks.host.succeeds("ip", "link", "show", joined[0]["InterfaceName"]["SrcName"])
    assert info["status"] == "ACTIVE"
    for _ in range(2):
        engine.endpoint("Leave")
        engine.endpoint("DeleteEndpoint")
        engine.call("IpamDriver.ReleaseAddress", PoolID=pool_id, Address=address.split("/")[0])
    engine.end(pool_id)


def test_an_address_is_not_given_again_before_it_is_released(networks: DockerNetworks) -> None:
    engine = Engine(networks)
    pool_id = engine.make("10.61.0.0/24")
    first = engine.call("IpamDriver.RequestAddress", PoolID=pool_id, Address="", Options={})["Address"]
    engine.endpoint("CreateEndpoint", Interface={"Address": first}, Options={})
    engine.endpoint("DeleteEndpoint")

    second = engine.call("IpamDriver.RequestAddress", PoolID=pool_id, Address="", Options={})["Address"]
    engine.call("IpamDriver.ReleaseAddress", PoolID=pool_id, Address=first.split("/")[0])
    engine.endpoint("CreateEndpoint", Interface={"Address": second}, Options={})

    assert first != second
    # In the wrong order, too, the endpoint keeps its address until it is deleted.
    engine.call("IpamDriver.ReleaseAddress", PoolID=pool_id, Address=second.split("/")[0])
    assert engine.endpoint("EndpointOperInfo")["Value"]["status"] == "DOWN"
    engine.endpoint("DeleteEndpoint")
    engine.call("IpamDriver.ReleaseAddress", PoolID=pool_id, Address=second.split("/")[0])
    engine.end(pool_id)


EXPOSED = {"com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}, {"Proto": 17, "Port": 53}]}


def test_what_an_endpoint_exposes_is_opened_once_and_closed(networks: DockerNetworks) -> None:
    engine = Engine(networks)
    pool_id = engine.make("10.65.0.0/24")
    address = engine.call("IpamDriver.RequestAddress", PoolID=pool_id, Address="", Options={})["Address"]
    engine.endpoint("CreateEndpoint", Interface={"Address": address}, Options={})
    (port_id, before) = port_of(networks, engine)
    for _ in range(2):
        engine.endpoint("ProgramExternalConnectivity", Options=EXPOSED)
    (group,) = groups_of(networks, port_id)
    assert set(port_of(networks, engine)[1]) == {*before, group.id}
    opened = {(rule["protocol"], rule["port_range_min"], rule["ethertype"]) for rule in ingress(group)}
    assert opened == {(*what, family) for what in (("tcp", 80), ("udp", 53)) for family in ("IPv4", "IPv6")}
    for _ in range(2):
        engine.endpoint("RevokeExternalConnectivity")
    assert groups_of(networks, port_id) == []
    assert port_of(networks, engine)[1] == before
    # One that a crash left half made is made anew.
    networks.cloud.network.create_security_group(name=f"{port_id}-exposed_ports", project_id=group.project_id)
    engine.endpoint("ProgramExternalConnectivity", Options=EXPOSED)
    (again,) = groups_of(networks, port_id)
    assert len(ingress(again)) == 4
    engine.endpoint("DeleteEndpoint")
    assert groups_of(networks, port_id) == []
    engine.call("IpamDriver.ReleaseAddress", PoolID=pool_id, Address=address.split("/")[0])
    engine.end(pool_id)


def test_a_port_of_an_endpoint_that_docker_forgot_exposes_nothing_to_the_next(networks: DockerNetworks) -> None:
    engine = Engine(networks)
    networks.make("green", "10.68.0.0/24")
    pool_id = engine.make("10.66.0.0/24")
    engine.endpoint("CreateEndpoint", Interface={}, Options={})
    port_id, _ = port_of(networks, engine)
    engine.endpoint("ProgramExternalConnectivity", Options=EXPOSED)
    (group,) = groups_of(networks, port_id)

    wait_for("what Docker forgot is closed", lambda: groups_of(networks, port_id) == [], SWEPT)
    left = networks.cloud.network.find_port(port_id)
    assert left is None or group.id not in left.security_group_ids
    engine.end(pool_id)


def port_of(networks: DockerNetworks, engine: Engine) -> tuple[str, list[str]]:
    """Return the id of the endpoint's port, and its security groups."""
    port_id = engine.endpoint("EndpointOperInfo")["Value"]["isthmus.port"]
    return port_id, networks.cloud.network.get_port(port_id).security_group_ids


def groups_of(networks: DockerNetworks, port_id: str) -> list[Any]:
    """Return the security groups that open a port's exposed ports."""
    return list(networks.cloud.network.security_groups(name=f"{port_id}-exposed_ports"))


def ingress(group: Any) -> list[dict[str, Any]]:
    """Return the rules of a group that let something in."""
    return [rule for rule in group.security_group_rules if rule["direction"] == "ingress"]


@pytest.mark.nightly  # three minutes; in each run tests/chaos kills the agent among others
def test_the_agent_killed_between_all_calls(networks: DockerNetworks, network_playground: NetworkPlayground) -> None:
    engine = Engine(networks)

    def kill() -> None:
        network_playground.plane.kill("network-agent")
        network_playground.plane.wait_ready()

    pool_id = engine.make("10.62.0.0/24")
    kill()
    address = engine.call("IpamDriver.RequestAddress", PoolID=pool_id, Address="", Options={})["Address"]
    kill()
    engine.endpoint("CreateEndpoint", Interface={"Address": address}, Options={})
    kill()
    source = engine.endpoint("Join", SandboxKey="/run/docker/netns/x", Options={})["InterfaceName"]["SrcName"]
    kill()
    assert networks.host.succeeds("ip", "link", "show", source)
    engine.endpoint("DeleteEndpoint")
    kill()
    engine.call("IpamDriver.ReleaseAddress", PoolID=pool_id, Address=address.split("/")[0])
    engine.end(pool_id)


def test_containers_go_on_without_agent_and_engine(
    networks: DockerNetworks, network_playground: NetworkPlayground
) -> None:
    networks.make("blue", "10.63.0.0/24")
    networks.start("c1", "blue")
    networks.start("c2", "blue")
    address = networks.address("c2", "blue")
    networks.wait_ping("c1", address)

    network_playground.plane.kill("network-agent")
    networks.docker.kill()
    networks.docker.start()
    assert networks.pings("c1", address)
    network_playground.plane.wait_ready()

    assert networks.pings("c1", address)
    networks.remove("c2")
    networks.start("c3", "blue")
    networks.wait_ping("c1", networks.address("c3", "blue"))


def test_containers_that_died_with_the_engine_are_released(
    networks: DockerNetworks, network_playground: NetworkPlayground
) -> None:
    networks.make("blue", "10.64.0.0/24")
    networks.start("c1", "blue")
    pid = networks.docker.inspect("container", "c1")["State"]["Pid"]

    networks.docker.kill()
    networks.host.run("kill", "-KILL", str(pid))
    networks.docker.start()

    wait_for("the container is seen dead", lambda: not networks.docker.inspect("container", "c1")["State"]["Running"])
    networks.docker.run("start", "c1")
    networks.start("c2", "blue")
    networks.wait_ping("c2", networks.address("c1", "blue"))
