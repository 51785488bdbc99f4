"""Swarm's side of the protocol: the manager gives out addresses, a node takes the ports."""

from typing import Any

from lab.docker_networks import DockerNetworks
from lab.network_host import wait_for

NETWORK = "5" * 64
ENDPOINT = "6" * 64


def test_the_manager_gives_out_addresses_and_a_node_takes_them(networks: DockerNetworks) -> None:
    def call(method: str, **body: Any) -> dict[str, Any]:
        status, answer = networks.call(method, body)
        assert status == 200, answer
        return answer

    pool = call("IpamDriver.RequestPool", AddressSpace="isthmus_swarm", Pool="10.71.0.0/24", Options={}, V6=False)
    data = {"AddressSpace": "isthmus_swarm", "Pool": "10.71.0.0/24", "Gateway": "10.71.0.1/24"}
    made: dict[str, Any] = {"NetworkID": NETWORK, "Options": {}, "IPv4Data": [data], "IPv6Data": None}
    call("NetworkDriver.AllocateNetwork", **made)
    address = call("IpamDriver.RequestAddress", PoolID=pool["PoolID"], Address="", Options={})["Address"]
    (reserved,) = networks.cloud.network.ports(name="kuryr-unbound-port")
    assert f"{reserved.fixed_ips[0]['ip_address']}/24" == address

    call("NetworkDriver.CreateNetwork", **made)
    endpoint = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}
    call("NetworkDriver.CreateEndpoint", **endpoint, Interface={"Address": address}, Options={})
    call("NetworkDriver.Join", **endpoint, SandboxKey="/var/run/docker/netns/x", Options={})
    wait_for("the port is bound", lambda: networks.cloud.network.get_port(reserved.id).binding_host_id != "")
    call("NetworkDriver.Leave", **endpoint)
    call("NetworkDriver.DeleteEndpoint", **endpoint)
    call("NetworkDriver.DeleteNetwork", NetworkID=NETWORK)

    # The node's part has ended; the manager's network and address are still there.
    assert list(networks.cloud.network.networks(tags="isthmus.swarm"))
    call("IpamDriver.ReleaseAddress", PoolID=pool["PoolID"], Address=address.split("/")[0])
    wait_for("the address is free", lambda: networks.cloud.network.find_port(reserved.id) is None)
    call("NetworkDriver.FreeNetwork", NetworkID=NETWORK)
    call("IpamDriver.ReleasePool", PoolID=pool["PoolID"])
