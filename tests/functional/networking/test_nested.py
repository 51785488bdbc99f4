"""Containers in virtual machines: ports on top of the machine's own, against real Neutron and OVN.

The machine is a host of namespaces with its interface on a Neutron port, and an agent of its own. Where this kernel has
no VLANs, a real guest, whose kernel has them, plays the machine for the trunk's traffic.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from keystoneauth1.adapter import Adapter
from lab import network_datagrams
from lab.control_plane import ISTHMUS
from lab.cri_calls import agent_socket
from lab.network_guest import NetworkGuest
from lab.network_host import wait_for
from lab.network_nested import NestedHost
from lab.network_playground import NetworkPlayground
from openstack.exceptions import ConflictException
from tests.network_ports import LONG, Ports, made_network, place

from isthmus.embedded.keystone import REGION
from isthmus.networking.attaching.nesting import carried_ports, join_parent, leave_parent
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.binding.nested import VlanBinder
from isthmus.networking.neutron.brake import Brake
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.planning.wishes import host_tag

VRRP_MAC = "00:00:5e:00:01:07"
"""Neutron's OVN driver (29) takes no other MAC addresses than these (RFC 5798) in a pair, but the parent's own."""
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


@pytest.fixture
def machine(network_playground: NetworkPlayground, network: Any, demo: Any, tmp_path: Path) -> Iterator[NestedHost]:
    """Give the machine, whose port is the parent of a trunk."""
    parent = demo.create_port(network_id=network.id, name="machine")
    trunk = demo.create_trunk(name="machine", port_id=parent.id)
    with NestedHost(network_playground, tmp_path / "nested", parent) as made:
        made.host.run("ip", "netns", "add", "c1")
        yield made
    delete(demo, trunk, parent)


def delete(demo: Any, trunk: Any, parent: Any) -> None:
    """Delete a trunk and its parent port, once the agent that lent the port has given it back."""
    wait_for("the parent port is its owner's again", lambda: not demo.get_port(parent.id).device_id, LONG)
    wait_for("the trunk is deleted", lambda: is_deleted(demo, trunk), LONG)
    demo.delete_port(parent.id)


def is_deleted(demo: Any, trunk: Any) -> bool:
    """Delete a trunk, which Neutron refuses while its parent port is bound."""
    try:
        demo.delete_trunk(trunk)
    except ConflictException:
        return False
    return True


def attach(machine: NestedHost, to: str, *words: str) -> Any:
    """Attach a container of the machine; return what its agent said, a refusal as text."""
    line = (ISTHMUS, "port", "attach", to, *place("c1"), "--socket", str(machine.socket), "-f", "json", *words)
    said = machine.host.run("sh", "-c", " ".join((*line, "2>&1")), check=False, limit=LONG)
    return json.loads(said)["port"] if said.startswith("{") else said


def detach(machine: NestedHost) -> None:
    machine.host.run(ISTHMUS, "port", "detach", *place("c1"), "--socket", str(machine.socket), limit=LONG)


def pings_from(machine: NestedHost, address: str) -> bool:
    return machine.host.succeeds("ip", "netns", "exec", "c1", "ping", "-c1", "-W2", address)


def test_an_allowed_address_pair_lets_a_container_in_a_machine_send(
    network_playground: NetworkPlayground, machine: NestedHost, demo: Any, neighbour: Any, space: str
) -> None:
    """One way only: Neutron 29 tells OVN of the pair in words (VRRPv3) that OVN 23.03 does not know, and that drops
    what comes back.
    """
    address, _ = neighbour
    machine.start_agent("macvlan")
    port = attach(machine, machine.parent.network_id, "--mac", VRRP_MAC)
    mine = port["addresses"][0].split("/")[0]
    (pair,) = demo.get_port(machine.parent.id).allowed_address_pairs
    assert (pair["ip_address"], pair["mac_address"]) == (mine, VRRP_MAC)
    heard = network_playground.directory / f"heard-{space}"
    listener = network_playground.host.spawn("ip", "netns", "exec", space, *network_datagrams.echo(7000), log=heard)
    say = network_datagrams.ask(address, 7000, "from a nested container")
    try:

        def is_heard() -> bool:
            machine.host.succeeds("ip", "netns", "exec", "c1", *say)
            return "from a nested container" in heard.read_text()

        wait_for("the nested container is heard", is_heard, LONG)
    finally:
        if program := network_playground.host.program_of(listener):
            program.kill()
        listener.wait(60)
    detach(machine)
    wait_for("the pair is gone", lambda: not demo.get_port(machine.parent.id).allowed_address_pairs, LONG)
    wait_for("the port is gone", lambda: demo.find_port(port["port_id"]) is None, LONG)


def test_a_pair_that_neutron_refuses_is_told_and_leaves_nothing(machine: NestedHost, network: Any, demo: Any) -> None:
    machine.start_agent("macvlan")
    before = {port.id for port in demo.ports(network_id=network.id)}
    said = attach(machine, network.id)
    assert "VRRP" in said
    assert "binder vlan" in said
    assert not demo.get_port(machine.parent.id).allowed_address_pairs
    assert "eth0" not in machine.host.run("ip", "-n", "c1", "link")
    wait_for("its port is gone", lambda: {port.id for port in demo.ports(network_id=network.id)} <= before, LONG)


def test_what_a_killed_agent_left_goes_unless_the_machine_carries_it(
    machine: NestedHost, network: Any, demo: Any
) -> None:
    """The store is lost, too: Neutron's word alone says which port may be in a container."""
    left = demo.create_port(network_id=network.id, name="left")
    carried = demo.create_port(network_id=network.id, name="carried", mac_address=VRRP_MAC)
    for port in (left, carried):
        demo.set_tags(port, [host_tag("nested")])
    pair = {"ip_address": carried.fixed_ips[0]["ip_address"], "mac_address": VRRP_MAC}
    demo.update_port(machine.parent.id, allowed_address_pairs=[pair])
    machine.start_agent("macvlan")
    wait_for("the port that nothing carries is gone", lambda: demo.find_port(left.id) is None, LONG)
    # What else is planned in the same round is done by the time that something is attached and let go.
    port = attach(machine, network.id, "--mac", "00:00:5e:00:01:08")
    detach(machine)
    wait_for("the attached port is gone", lambda: demo.find_port(port["port_id"]) is None, LONG)
    assert demo.find_port(carried.id) is not None
    demo.delete_port(carried.id)


def test_a_trunk_gives_back_what_a_machine_without_vlans_cannot_use(
    machine: NestedHost, network: Any, demo: Any, neighbour: Any
) -> None:
    address, pings = neighbour
    machine.start_agent("vlan")
    before = {port.id for port in demo.ports(network_id=network.id)}
    port = attach(machine, network.id)
    (trunk,) = demo.trunks(port_id=machine.parent.id)
    if HAS_VLANS:
        (subport,) = trunk.sub_ports
        assert subport["port_id"] == port["port_id"]
        wait_for("the nested container reaches its neighbour", lambda: pings_from(machine, address), LONG)
        wait_for("and is reached", lambda: pings(port["addresses"][0].split("/")[0]), LONG)
        detach(machine)
    else:
        assert "8021q" in port
    wait_for("the trunk has no subport", lambda: not demo.get_trunk(trunk.id).sub_ports, LONG)
    wait_for("its port is gone", lambda: {port.id for port in demo.ports(network_id=network.id)} <= before, LONG)


class OfGuest(VlanBinder):
    """The binder `vlan` of a machine whose links are not this test's to see."""

    def __init__(self, mac: str) -> None:
        self._mac = mac

    @property
    def parent(self) -> str:
        return "eth0"

    def parent_mac(self) -> str:
        return self._mac


def test_a_subport_of_a_trunk_carries_a_guests_vlan(
    network_playground: NetworkPlayground, network: Any, demo: Any, neighbour: Any, tmp_path: Path
) -> None:
    address, pings = neighbour
    parent = demo.create_port(network_id=network.id, name="trunked")
    trunk = demo.create_trunk(name="trunked", port_id=parent.id)
    client = Neutron(Adapter(network_playground.session("demo"), interface="public", region_name=REGION), 60, Brake(4))
    parts = cast(Parts, SimpleNamespace(neutron=lambda _: client, projects=SimpleNamespace(names=("demo",))))
    binder, host = OfGuest(parent.mac_address), network_playground.host
    socket = ("--socket", str(agent_socket(network_playground.state_dir)))
    host.run("ip", "tuntap", "add", "trunktap", "mode", "tap")
    host.run(ISTHMUS, "port", "attach", parent.id, "--tap", "trunktap", *socket, limit=LONG)
    made = client.create_port(network_id=network.id, name="subport")
    joined = join_parent(parts, binder, made)
    assert join_parent(parts, binder, made) == joined
    assert carried_ports(parts, binder, [made, replace(made, id="another")]) == {made.id}
    vlan, mine = joined.vif_details["segmentation_id"], str(made.fixed_ips[0].address)
    with NetworkGuest(host, tmp_path, tap="trunktap", mac=parent.mac_address) as guest:
        for command in (
            f"ip link add link eth0 name eth0.1 type vlan id {vlan}",
            f"ip link set eth0.1 address {made.mac}",
            f"ip addr add {mine}/24 dev eth0.1",
            "ip link set eth0.1 up",
        ):
            guest.run(command)
        wait_for("the guest's VLAN reaches a container", lambda: guest.succeeds(f"ping -c1 -W2 {address}"), LONG)
        assert pings(mine)

        leave_parent(parts, binder, made)
        leave_parent(parts, binder, made)
        assert not demo.get_trunk(trunk.id).sub_ports
        assert carried_ports(parts, binder, [made]) == set()
        wait_for("it is cut off", lambda: not guest.succeeds(f"ping -c1 -W2 {address}"), LONG)
    host.run(ISTHMUS, "port", "detach", "--tap", "trunktap", *socket, limit=LONG)
    host.run("ip", "link", "del", "trunktap")
    client.delete("ports", made.id)
    delete(demo, trunk, parent)
