"""One tenant network for a container, a virtual machine, a bare-metal host and a container of another host.

Each reaches each other by ICMP and TCP, and one rule of a security group opens and closes all of them alike.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab.control_plane import ISTHMUS
from lab.cri_calls import CniCalls, agent_socket
from lab.network_agents import stop_agent
from lab.network_host import NetworkHost, wait_for
from lab.network_playground import NetworkPlayground
from lab.tenant_machine import tenant_machine

TCP_PORT = 7000


@dataclass(frozen=True)
class Member:
    """Somebody on the network: `succeeds` runs a shell command there, `listen` starts a TCP server."""

    name: str
    address: str
    succeeds: Callable[[str], bool]

    def pings(self, other: "Member") -> bool:
        return self.succeeds(f"ping -c1 -W2 {other.address}")

    def talks_to(self, other: "Member") -> bool:
        return self.succeeds(f"busybox nc -w 5 {other.address} {TCP_PORT} </dev/null | head -c 2 | grep ok")


@contextlib.contextmanager
def namespace_member(host: NetworkHost, name: str, netns: str, address: str, log: Path) -> Iterator[Member]:
    inside = ("ip", "netns", "exec", netns, "busybox", "sh", "-c")
    server = host.spawn(*inside, f"while :; do echo ok | busybox nc -l -p {TCP_PORT}; done", log=log)
    try:
        yield Member(name, address, lambda command: host.succeeds(*inside, command))
    finally:
        for process in psutil.Process(server.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        server.wait(60)


@pytest.fixture(scope="module")
def members(network_playground: NetworkPlayground, guarded_network: Any, group: Any) -> Iterator[tuple[Member, ...]]:
    """Return a container, a virtual machine and a bare-metal namespace, each put on the network by the agent."""
    host, log = network_playground.host, network_playground.directory / "members.log"
    calls = CniCalls(
        host, agent_socket(network_playground.state_dir), guarded_network.name, patience=180, securityGroups=[group.id]
    )
    port = (ISTHMUS, "port")
    socket = ("--socket", str(agent_socket(network_playground.state_dir)))
    with contextlib.ExitStack() as undo:
        netns = undo.enter_context(calls.namespace("box"))
        result = calls.add("box", netns)
        undo.callback(calls.delete, "box", netns)
        address = _address(result["ips"][0]["address"])
        container = undo.enter_context(namespace_member(host, "container", "box", address, log))

        host.run("ip", "netns", "add", "metal")
        undo.callback(host.run, "ip", "netns", "del", "metal")
        place = ("--netns", "metal", "--interface", "eth0")
        host.run(*port, "attach", guarded_network.id, *place, "--security-group", group.id, *socket)
        undo.callback(host.run, *port, "detach", *place, *socket)
        address = _address_in(host, "metal")
        metal = undo.enter_context(namespace_member(host, "bare metal", "metal", address, log))

        guest, address = undo.enter_context(
            tenant_machine(
                host,
                network_playground.directory / "guest",
                network=guarded_network.id,
                agent=agent_socket(network_playground.state_dir),
                tap="vmtap",
                options=("--security-group", group.id),
            )
        )
        guest.run(f"(while :; do echo ok | nc -l -p {TCP_PORT}; done) >/dev/null 2>&1 &")
        machine = Member("virtual machine", address, guest.succeeds)
        yield container, machine, metal


def _address(text: str) -> str:
    return text.split("/", maxsplit=1)[0]


def _address_in(host: NetworkHost, netns: str) -> str:
    words = host.run("ip", "-netns", netns, "-4", "addr", "show", "eth0").split()
    return _address(words[words.index("inet") + 1])


def _pairs(members: tuple[Member, ...]) -> list[tuple[Member, Member]]:
    return [(one, other) for one in members for other in members if one is not other]


def test_one_rule_opens_and_closes_all_of_them_alike(members: tuple[Member, ...], group: Any, demo: Any) -> None:
    pairs = _pairs(members)

    assert not any(one.pings(other) for one, other in pairs)
    assert not any(one.talks_to(other) for one, other in pairs)

    rules = [
        demo.create_security_group_rule(
            security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol=protocol
        )
        for protocol in ("icmp", "tcp")
    ]
    for one, other in pairs:
        wait_for(f"{one.name} pings {other.name}", lambda one=one, other=other: one.pings(other))
        wait_for(f"{one.name} talks to {other.name}", lambda one=one, other=other: one.talks_to(other))

    for rule in rules:
        demo.delete_security_group_rule(rule.id)
    for one, other in pairs:
        wait_for(f"{one.name} is shut out of {other.name}", lambda one=one, other=other: not one.pings(other))
        assert not one.talks_to(other)


@pytest.fixture
def neighbour(network_playground: NetworkPlayground, guarded_network: Any, group: Any) -> Iterator[Member]:
    """Return a container of the second host, put on the same network by that host's own agent."""
    second = network_playground.second_host()
    agent = second.start_agent()
    socket = second.directory / "agent" / "network-agent.sock"
    calls = CniCalls(second.host, socket, guarded_network.name, patience=180, securityGroups=[group.id])
    with calls.namespace("far") as netns:
        result = calls.add("far", netns)
        address = _address(result["ips"][0]["address"])
        with namespace_member(
            second.host, "container of the second host", "far", address, second.directory / "far.log"
        ) as member:
            yield member
        calls.delete("far", netns)
    stop_agent(second.host, agent)


def test_one_network_spans_two_hosts(members: tuple[Member, ...], neighbour: Member, group: Any, demo: Any) -> None:
    container = members[0]
    assert not container.pings(neighbour)
    for protocol in ("icmp", "tcp"):
        demo.create_security_group_rule(
            security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol=protocol
        )
    for one, other in ((container, neighbour), (neighbour, container)):
        wait_for(f"{one.name} pings {other.name}", lambda one=one, other=other: one.pings(other), 120)
        wait_for(f"{one.name} talks to {other.name}", lambda one=one, other=other: one.talks_to(other), 120)
