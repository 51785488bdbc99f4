"""Containers in virtual machines: ports on top of the machine's own, against real Neutron and OVN.

The machine is a host of namespaces with its interface on a Neutron port, and an agent of its own. Where this kernel has
no VLANs, a real guest, whose kernel has them, plays the machine for the trunk's traffic.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.control_plane import ISTHMUS
from lab.network_host import wait_for
from lab.network_nested import NestedHost
from lab.network_playground import NetworkPlayground
from tests.network_ports import LONG, Ports, made_network, place

HAS_VLANS = Path("/proc/net/vlan").exists()


@pytest.fixture(scope="module")
def network(demo: Any, administrator: Any) -> Iterator[Any]:
    with made_network(demo, administrator, "10.67.0.0/24") as made:
        yield made


@pytest.fixture
def neighbour(network_playground: NetworkPlayground, ports: Ports, network: Any, space: str, demo: Any) -> Any:
    """Return the address of a container of the cloud itself, and a function that pings from there."""
    group = demo.find_security_group("default", project_id=network.project_id)
    known = [rule for rule in demo.security_group_rules(security_group_id=group.id) if rule.protocol == "icmp"]
    if not known:
        demo.create_security_group_rule(
            security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol="icmp"
        )
    address = ports("attach", network.id, *place(space))["port"]["addresses"][0].split("/")[0]

    def pings(other: str) -> bool:
        return network_playground.host.succeeds("ip", "netns", "exec", space, "ping", "-c1", "-W2", other)

    return address, pings


def test_a_container_in_a_machine_is_on_the_network_by_an_allowed_address_pair(
    network_playground: NetworkPlayground, network: Any, demo: Any, neighbour: Any, tmp_path: Path
) -> None:
    address, pings = neighbour
    parent = demo.create_port(network_id=network.id, name="machine")
    with NestedHost(network_playground, tmp_path / "nested", parent) as machine:
        machine.start_agent("macvlan")
        machine.host.run("ip", "netns", "add", "c1")
        socket = ("--socket", str(machine.socket))
        told = machine.host.run(ISTHMUS, "port", "attach", network.id, *place("c1"), *socket, "-f", "json", limit=LONG)
        port = json.loads(told)["port"]
        mine = port["addresses"][0].split("/")[0]

        (pair,) = demo.get_port(parent.id).allowed_address_pairs
        assert (pair["ip_address"], pair["mac_address"]) == (mine, port["mac"])
        inside = ("ip", "netns", "exec", "c1", "ping", "-c1", "-W2", address)
        wait_for("the nested container reaches its neighbour", lambda: machine.host.succeeds(*inside), LONG)
        wait_for("and is reached", lambda: pings(mine), LONG)

        machine.host.run(ISTHMUS, "port", "detach", *place("c1"), *socket, limit=LONG)
        wait_for("the pair is gone", lambda: not demo.get_port(parent.id).allowed_address_pairs, LONG)
        wait_for("the port is gone", lambda: demo.find_port(port["port_id"]) is None, LONG)
        assert not machine.host.succeeds(*inside)
    demo.delete_port(parent.id)
