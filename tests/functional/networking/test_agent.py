"""The agent against real Neutron, OVN and Open vSwitch: what goes wrong is said, undone, or mended."""

import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from lab.attach_truth import look, ovsdb
from lab.cri_calls import agent_socket
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from tests.network_ports import LONG, Ports, made_network, place


@pytest.fixture(scope="module")
def network(demo: Any, administrator: Any) -> Iterator[Any]:
    with made_network(demo, administrator, "10.62.0.0/24") as made:
        yield made


def test_an_attachment_survives_the_agent_and_what_somebody_breaks_is_mended(
    network_playground: NetworkPlayground, ports: Ports, network: Any, space: str
) -> None:
    port = ports("attach", network.id, *place(space))["port"]
    assert port["addresses"][0].split("/")[0] in ports.addresses(space)
    assert ports.problems(space) == []
    network_playground.plane.kill("network-agent")
    assert port["addresses"][0] in ports.addresses(space)
    network_playground.plane.wait_ready()
    ovsdb(network_playground.host, network_playground.state_dir, "del-port", port["far_interface"])
    wait_for("the port is plugged again", lambda: not ports.problems(space), LONG)
    assert port["addresses"][0] in ports.addresses(space)


def test_what_nobody_has_attached_goes(
    network_playground: NetworkPlayground, ports: Ports, network: Any, demo: Any, administrator: Any
) -> None:
    host, state = network_playground.host, network_playground.state_dir
    name = ports.health()["host"]
    orphan = demo.create_port(network_id=network.id, name="left")
    demo.set_tags(orphan, [f"isthmus.host:{name}"])
    host.run("ip", "link", "add", "tapfeedfeedfee", "type", "veth", "peer", "name", "t_cfeedfeedfee")
    host.run("ip", "link", "set", "tapfeedfeedfee", "alias", "isthmus:feedfeedfeed")
    wait_for("the orphan is deleted", lambda: administrator.find_port(orphan.id) is None, LONG)
    wait_for("the stray is removed", lambda: "tapfeedfeedfee" not in host.run("ip", "link"), LONG)
    wait_for("all agree", lambda: look(host, state, administrator).disagreements() == [], LONG)


def test_a_port_that_was_there_is_given_back_as_it_was(ports: Ports, network: Any, demo: Any, space: str) -> None:
    mine = demo.create_port(network_id=network.id, name=f"mine-{space}", device_owner="lab:mine")
    port = ports("attach", mine.name, *place(space))["port"]
    assert port["port_id"] == mine.id
    assert demo.get_port(mine.id).device_owner == "compute:kuryr"
    ports("detach", *place(space))
    wait_for("the port is given back", lambda: demo.get_port(mine.id).device_owner == "lab:mine", LONG)
    assert not demo.get_port(mine.id).device_id
    demo.delete_port(mine.id)


def test_refusals_say_why_and_leave_nothing(
    network_playground: NetworkPlayground, ports: Ports, network: Any, administrator: Any, space: str
) -> None:
    where = " ".join(place(space))
    host, state = network_playground.host, network_playground.state_dir
    with made_network(network_playground.cloud("demo2").network, administrator, "10.62.0.0/24") as foreign:
        assert "sees no network" in ports.refusal(foreign.id, where)
        assert "sees no network" in ports.refusal(foreign.name, where)
    taken = administrator.create_port(network_id=network.id, fixed_ips=[{"ip_address": "10.62.0.77"}])
    assert "10.62.0.77" in ports.refusal(network.id, where, "--address 10.62.0.77")
    administrator.delete_port(taken.id)
    assert "is not in it" in ports.refusal(network.id, where, "--address 192.0.2.1")
    assert "no network namespace" in ports.refusal(network.id, "--netns never-was --interface eth0")
    foreign_group = network_playground.cloud("demo2").network.create_security_group(name=f"g-{space}")
    assert foreign_group.id in ports.refusal(network.id, where, f"--security-group {foreign_group.id}")
    host.run("ip", "-n", space, "link", "add", "eth0", "type", "bridge")
    assert "already" in ports.refusal(network.id, where)
    wait_for("all agree", lambda: look(host, state, administrator).disagreements() == [], LONG)


def test_a_deleted_port_is_told(ports: Ports, network: Any, administrator: Any, space: str) -> None:
    port = ports("attach", network.id, *place(space))["port"]
    administrator.delete_port(port["port_id"])
    wait_for("the loss is seen", lambda: any("deleted port" in each for each in ports.problems(space)), LONG)
    ports("detach", *place(space))
    assert ports("attach", network.id, *place(space))["port"]["state"] == "plugged"


def test_a_silent_neutron_stops_only_what_needs_it(
    network_playground: NetworkPlayground, ports: Ports, network: Any, space: str
) -> None:
    def warm() -> int:
        return sum(pool["warm"] for pool in ports.health()["pools"] if pool["network_id"] == network.id)

    ports("attach", network.id, *place(space))
    ports("detach", *place(space))
    wait_for("warm ports are there", lambda: warm() > 0, LONG)
    neutron = psutil.Process(network_playground.plane.pid("neutron"))
    stopped = [neutron, *neutron.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        socket = str(agent_socket(network_playground.state_dir))
        body = {"place": {"kind": "netns", "netns": space, "interface": "eth0"}, "to": network.id, "mac": None}
        # `isthmus port` asks Neutron whether it is a port or a network: that is refused within its time limit.
        said = network_playground.host.run(
            "curl", "-s", "--max-time", "60", "--unix-socket", socket, "-H", "Content-Type: application/json",
            "-d", json.dumps(body), "http://x/ports/attach", limit=LONG,
        )  # fmt: skip
        assert "gave no answer" in said
        assert "eth0" not in network_playground.host.run("ip", "-n", space, "link")
    finally:
        for process in stopped:
            process.resume()
    wait_for("Neutron is well", lambda: ports.health()["healthy"], LONG)
    assert ports("attach", network.id, *place(space))["port"]["state"] == "plugged"
