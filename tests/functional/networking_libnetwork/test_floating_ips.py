"""`docker run -p` by floating IPs of an external network: real router, real NAT, reached from outside the tenants."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from lab.docker_networks import DockerNetworks
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from tests.functional.networking_libnetwork.conftest import tidy

from isthmus.embedded.open_vswitch import datapath

EXTERNAL, OUTSIDE = "172.24.4.0/24", "172.24.4.1"
LONG = 240


@dataclass
class Public:
    """Docker's networks with a router before them; the host itself is what is outside."""

    networks: DockerNetworks
    playground: NetworkPlayground

    def serve(self, name: str, published: str) -> None:
        self.networks.start(name, "north", "-p", published)
        self.networks.docker.run("exec", "-d", name, "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")

    def floating_ips(self, name: str) -> list[Any]:
        endpoint = self.networks.endpoint(name, "north")["EndpointID"]
        return [each for each in self.networks.cloud.network.ips() if endpoint in each.description]

    def answers(self, address: str, port: int) -> bool:
        return self.networks.host.succeeds("curl", "-sf", "-m", "5", f"http://{address}:{port}/hostname")


@pytest.fixture(scope="module")
def public(patient_playground: NetworkPlayground) -> Iterator[Public]:
    """Give a network `north` behind a router with a gateway, and an agent that publishes by floating IPs."""
    playground, cloud = patient_playground, patient_playground.cloud("admin").network
    before = playground.agent_options
    with ExitStack() as undo:
        playground.switch.vsctl("add-br", "br-ex", "--", "set", "bridge", "br-ex", f"datapath_type={datapath()}")
        undo.callback(playground.switch.vsctl, "del-br", "br-ex")
        playground.host.run("ip", "address", "add", f"{OUTSIDE}/24", "dev", "br-ex")
        playground.host.run("ip", "link", "set", "br-ex", "up")
        external = cloud.create_network(
            name="public", is_router_external=True, provider_network_type="flat", provider_physical_network="external"
        )
        undo.callback(_delete_external, cloud, external.id)
        cloud.create_subnet(
            network_id=external.id, cidr=EXTERNAL, ip_version=4, gateway_ip=OUTSIDE, is_dhcp_enabled=False
        )
        undo.callback(playground.restart_agent, before)
        playground.restart_agent(before + f"external_network = {external.id}\n")
        with tidy(playground) as networks:
            networks.make("north", "10.90.0.0/24", project="demo")
            demo = playground.cloud("demo").network
            router = demo.create_router(name="north", external_gateway_info={"network_id": external.id})
            (subnet,) = demo.subnets(network_id=networks.neutron_network("north").id)
            with ExitStack() as routed:
                demo.add_interface_to_router(router, subnet=subnet.id)
                routed.callback(demo.remove_interface_from_router, router, subnet=subnet.id)
                routed.callback(networks.clean_containers)
                yield Public(networks, playground)
            demo.delete_router(router)


def _delete_external(cloud: Any, network_id: str) -> None:
    for router in cloud.routers():
        if (router.external_gateway_info or {}).get("network_id") == network_id:
            cloud.update_router(router, external_gateway_info={})
    cloud.delete_network(network_id)


@pytest.mark.parametrize(("name", "published", "port"), [("same", "80:80", 80), ("other", "8080:80", 8080)])
def test_a_published_port_is_reached_by_a_floating_ip_and_freed(
    public: Public, name: str, published: str, port: int
) -> None:
    public.serve(name, published)
    (floating,) = public.floating_ips(name)
    assert floating.floating_ip_address.startswith("172.24.4.")
    reached = f"{name} is reached at {floating.floating_ip_address}"
    wait_for(reached, lambda: public.answers(floating.floating_ip_address, port), LONG)
    # Nothing of it is in the packets' way.
    public.playground.plane.kill("network-agent")
    assert public.answers(floating.floating_ip_address, port)
    public.playground.plane.wait_ready()
    public.networks.remove(name)
    gone = "the floating IP is free"
    wait_for(gone, lambda: public.networks.cloud.network.find_ip(floating.id) is None, LONG)
