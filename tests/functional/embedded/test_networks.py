"""A control plane with networks: a real Neutron, OVN and Open vSwitch go through a hard life in a host of their own."""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import psutil
import pytest
from keystoneauth1 import exceptions
from keystoneauth1.identity import v3
from lab.control_plane import ISTHMUS
from lab.network_host import NetworkHost, wait_for
from lab.network_playground import NetworkPlayground

from isthmus.control import secrets
from isthmus.control.configuration import load
from isthmus.control.identity import service_session
from isthmus.embedded import network, network_agent
from isthmus.embedded.credentials import Credentials

PARTS = ("mariadb", "keystone", "barbican", *network.PART_NAMES)
ENDS = ("left", "right")


@pytest.fixture(scope="module")
def playground() -> Iterator[NetworkPlayground]:
    with NetworkPlayground(only=(network_agent.PART,)) as started:
        yield started


@pytest.fixture(scope="module")
def neutron(playground: NetworkPlayground) -> Any:
    return playground.cloud("admin").network


@pytest.fixture(scope="module")
def addresses(playground: NetworkPlayground, neutron: Any) -> dict[str, str]:
    """Return the addresses of two namespaces, each tied to a port of one Neutron network."""
    made = neutron.create_network(name="plane")
    neutron.create_subnet(network_id=made.id, ip_version=4, cidr="10.20.0.0/24")
    return {name: tie(playground, neutron, made.id, name) for name in ENDS}


def tie(playground: NetworkPlayground, neutron: Any, network_id: str, name: str) -> str:
    """Tie a new namespace to a new port of the network and return its address, once Neutron says that it is active."""
    port = neutron.create_port(
        network_id=network_id, name=name, device_owner="compute:test", binding_host_id=socket.gethostname()
    )
    assert port.binding_vif_type == "ovs"
    address: str = port.fixed_ips[0]["ip_address"]
    for words in (
        f"netns add {name}",
        f"link add {name} type veth peer name eth0 netns {name}",
        f"-n {name} link set eth0 address {port.mac_address} mtu 1442 up",
        f"-n {name} address add {address}/24 dev eth0",
        f"link set {name} up",
    ):
        playground.host.run("ip", *words.split())
    playground.switch.vsctl("add-port", "br-int", name, "--", "set", "Interface", name,
                            f"external_ids:iface-id={port.id}")  # fmt: skip
    wait_for(f"port {name} is active", lambda: neutron.get_port(port.id).status == "ACTIVE")
    return address


def attach(playground: NetworkPlayground, name: str) -> str:
    """Attach a new namespace through the agent and return its port, once the agent has spare ones ready, too."""
    demo = playground.cloud("demo").network
    made = demo.create_network(name=name)
    demo.create_subnet(network_id=made.id, ip_version=4, cidr="10.21.0.0/24")
    agent = str(playground.state_dir / "isthmus" / "network-agent.sock")
    playground.host.run("ip", "netns", "add", name)
    playground.host.run(
        *(ISTHMUS, "port", "attach", made.id, "--netns", name, "--interface", "eth0", "--socket", agent)
    )
    wait_for("there are spare interfaces", lambda: any(each.startswith("t_c") for each in interfaces(playground.host)))
    (link,) = json.loads(playground.host.run("ip", "-netns", name, "-json", "link", "show", "eth0"))
    (port,) = demo.ports(mac_address=link["address"])
    found: str = port.id
    return found


def reaches(playground: NetworkPlayground, addresses: dict[str, str]) -> bool:
    return playground.host.succeeds("ip", "netns", "exec", "left", "ping", "-c1", "-W1", addresses["right"])


def wait_until_connected(playground: NetworkPlayground, addresses: dict[str, str]) -> None:
    wait_for("the one namespace reaches the other", lambda: reaches(playground, addresses))


def interfaces(host: NetworkHost) -> set[str]:
    return {link["ifname"] for link in json.loads(host.run("ip", "-json", "link"))}


def agent_credentials(playground: NetworkPlayground) -> dict[str, dict[str, Any]]:
    """Return what the agent gets from Barbican, by project."""
    files = (playground.plane.configuration, playground.state_dir / "network" / "agent.conf")
    conf = load([f"--config-file={file}" for file in files])
    references = dict(entry.split("=", 1) for entry in conf.network_agent.credentials)
    with playground.host.inside():
        return {project: secrets.fetch(service_session(conf), reference) for project, reference in references.items()}


def test_status_shows_every_part_of_networks_running(playground: NetworkPlayground) -> None:
    parts = playground.plane.parts()
    assert tuple(parts) == PARTS
    assert {row["state"] for row in parts.values()} == {"running"}
    assert all(row["address"] and row["memory"] for row in parts.values())


def test_ports_of_a_network_become_active_and_reach_one_another(
    playground: NetworkPlayground, addresses: dict[str, str]
) -> None:
    wait_until_connected(playground, addresses)


def test_only_neutron_of_them_listens_on_a_port_and_only_on_loopback(playground: NetworkPlayground) -> None:
    listening = {line.split()[4] for line in playground.host.run("ss", "-Hlntu").splitlines()}
    assert listening == {f"127.0.0.1:{playground.plane.ports[name]}" for name in ("keystone", "barbican", "neutron")}


def test_no_secret_of_networks_stands_in_argv_or_in_a_file_of_options_or_in_a_log(
    playground: NetworkPlayground,
) -> None:
    made = Credentials(**json.loads((playground.state_dir / "credentials.json").read_text()))
    known = {*asdict(made).values()}
    known |= {each["application_credential_secret"] for each in agent_credentials(playground).values()}
    seen = [" ".join(process.cmdline()) for process in playground.host.processes()]
    seen += [log.read_text(errors="replace") for log in (playground.state_dir / "log").iterdir()]
    seen += [file.read_text() for file in playground.state_dir.glob("network/**/*") if file.suffix in {".conf", ""}
             and file.is_file()]  # fmt: skip
    assert len(seen) > 2 * len(network.PART_NAMES)
    assert not [secret for secret in known for text in seen if secret in text]


def test_the_agents_credential_is_good_for_its_projects_networks_and_for_nothing_else(
    playground: NetworkPlayground, neutron: Any
) -> None:
    credentials = agent_credentials(playground)
    assert set(credentials) == set(network_agent.PROJECTS)
    plane = playground.plane
    keystone, barbican = (f"http://127.0.0.1:{plane.ports[name]}" for name in ("keystone", "barbican"))
    agent = playground.host.session(v3.ApplicationCredential(f"{keystone}/v3", **credentials["demo"]), timeout=60)
    ports = f"http://127.0.0.1:{plane.ports['neutron']}/v2.0/ports"
    foreign = neutron.create_network(name="not demo's")
    own = playground.cloud("demo").network.create_network(name="demo's")
    with pytest.raises(exceptions.NotFound):
        agent.post(ports, json={"port": {"network_id": foreign.id}})
    body = {"network_id": own.id, "binding:host_id": socket.gethostname(), "tags": ["a", "b"]}
    made = agent.post(ports, json={"port": body}).json()["port"]
    assert (made["binding:host_id"], made["binding:vif_type"]) == (socket.gethostname(), "ovs")
    assert sorted(made["tags"]) == ["a", "b"]
    assert [port["id"] for port in agent.get(ports).json()["ports"]] == [made["id"]]
    for elsewhere in (f"{barbican}/v1/secrets", f"{keystone}/v3/users/{agent.get_user_id()}"):
        with pytest.raises(exceptions.Unauthorized):
            agent.get(elsewhere)
    for kind, thing in (("port", made["id"]), ("network", own.id), ("network", foreign.id)):
        getattr(neutron, f"delete_{kind}")(thing)


def test_a_taken_port_of_neutron_is_named_before_anything_starts(playground: NetworkPlayground) -> None:
    with NetworkHost() as host, host.inside(), socket.create_server(("127.0.0.1", 19696)):
        said = _refusal(host, playground)
    assert re.search(r"port 19696 \(for neutron\) is taken .*--neutron-port", said)


def test_another_open_vswitch_in_the_namespace_is_left_alone(playground: NetworkPlayground) -> None:
    with NetworkHost() as host:
        host.run("ip", "tuntap", "add", "dev", "ovs-netdev", "mode", "tap")
        said = _refusal(host, playground)
        assert "interface ovs-netdev exists: another Open vSwitch" in said
        assert "ovs-netdev" in interfaces(host)


def _refusal(host: NetworkHost, playground: NetworkPlayground) -> str:
    """Return what `isthmus up --with network` says on a host where it cannot be; nothing may have been started."""
    state_dir = str(playground.directory / f"refused-{host.pid}")
    before = len(host.processes())
    with pytest.raises(RuntimeError) as refused:
        host.run(ISTHMUS, "up", "--state-dir", state_dir, "--detach", "--with", "network")
    assert len(host.processes()) == before
    return str(refused.value)


def test_every_part_comes_back_when_all_are_killed_at_once(
    playground: NetworkPlayground, neutron: Any, addresses: dict[str, str]
) -> None:
    killed = {part: playground.plane.kill(part) for part in PARTS}
    playground.plane.wait_ready()
    assert all(playground.plane.pid(part) != pid for part, pid in killed.items())
    assert "plane" in {each.name for each in neutron.networks()}
    wait_until_connected(playground, addresses)


def test_down_leaves_no_process_and_no_interface_and_the_next_up_has_all_networks(
    playground: NetworkPlayground, neutron: Any, addresses: dict[str, str]
) -> None:
    ports = {port.id for port in neutron.ports(name=list(ENDS))}
    attached = attach(playground, "third")
    playground.plane.stop()
    assert len(playground.host.processes()) == 1
    assert interfaces(playground.host) == {"lo", "uplink0", *ENDS, f"tap{attached[:11]}"}
    playground.plane.start()
    assert {port.id for port in neutron.ports(name=list(ENDS))} == ports
    wait_until_connected(playground, addresses)
    wait_for("the agent's port is active again", lambda: neutron.get_port(attached).status == "ACTIVE")


def test_down_clears_what_a_killed_supervisor_left(playground: NetworkPlayground) -> None:
    psutil.Process(playground.plane.supervisor()).kill()
    assert "br-int" in interfaces(playground.host)
    playground.plane.stop()
    assert len(playground.host.processes()) == 1
    assert not {"br-int", "ovs-netdev"} & interfaces(playground.host)


def test_without_networks_the_rest_starts_alone(playground: NetworkPlayground) -> None:
    plane = playground.plane
    plane.run("up", "--detach", "--without", "network", "--only", "keystone", limit=240)
    assert set(plane.parts()) == {"mariadb", "keystone"}
    plane.stop()
    with pytest.raises(RuntimeError, match="no part neutron"):
        plane.run("up", "--detach", "--only", "neutron")
