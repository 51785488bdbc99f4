"""Docker networks of this driver on the playground's host: made by `docker`, seen in Neutron, OVSDB and the kernel.

    with docker_networks(playground) as networks:
        networks.make("blue", "10.1.0.0/24", project="demo2")
        networks.start("c1", "blue")
        assert networks.pings("c1", networks.address("c2", "blue"))

What was made is removed at the end, and what is then left anywhere is told by `traces`.
"""

import contextlib
import functools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from typing import Any, Self

from lab import network_image
from lab.network_engines import Docker
from lab.network_host import NetworkHost, wait_for
from lab.network_playground import NetworkPlayground

DRIVER = "isthmus"
_LIMIT = 60.0


@dataclass(frozen=True)
class Traces:
    """What there is of containers: ids of ports that are somebody's, names of interfaces, ids of networks and such."""

    objects: frozenset[str]
    ports: frozenset[str]
    bound: frozenset[str]
    links: frozenset[str]

    def beyond(self, before: Self) -> frozenset[str]:
        """Return what there was not before."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return frozenset(each for now, then in pairs for each in now - then)


@dataclass
class DockerNetworks:
    """Docker of one host, and what was made by it; `cloud` looks into Neutron as the administrator."""

    host: NetworkHost
    docker: Docker
    cloud: Any
    ovsdb: str
    driver: str = DRIVER
    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)

    def make(
        self,
        name: str,
        *subnets: str,
        project: str | None = None,
        options: tuple[str, ...] = (),
        ipam: tuple[str, ...] = (),
        words: tuple[str, ...] = (),
    ) -> str:
        """Make a Docker network and return its id; RuntimeError has what Docker said."""
        own = () if project is None else (f"isthmus.project={project}",)
        line = ["network", "create", "-d", self.driver, "--ipam-driver", self.driver, *words]
        for subnet in subnets:
            line += ["--subnet", subnet] + (["--ipv6"] if ":" in subnet else [])
        for flag, given in (("-o", (*own, *options)), ("--ipam-opt", (*own, *ipam))):
            for each in given:
                line += [flag, each]
        made = self.docker.run(*line, name)
        self.networks.append(name)
        return made

    def start(self, name: str, network: str, *words: str) -> str:
        """Start a container that sleeps, and return its id."""
        self.containers.append(name)
        line = ("run", "-d", "--init", "--network", network, "--name", name, *words)
        return self.docker.run(*line, network_image.NAME, "sleep", "100000")

    def endpoint(self, container: str, network: str) -> dict[str, Any]:
        """Return what Docker knows of a container on a network: EndpointID, IPAddress, …"""
        found: dict[str, Any] = self.docker.inspect("container", container)["NetworkSettings"]["Networks"][network]
        return found

    def address(self, container: str, network: str) -> str:
        """Return a container's IPv4 address on a network."""
        return str(self.endpoint(container, network)["IPAddress"])

    def execute(self, container: str, *words: str) -> str:
        """Run a command in a container and return its output."""
        return self.docker.run("exec", container, *words)

    def pings(self, container: str, address: str, tries: int = 3) -> bool:
        """Return whether one of some pings from a container is answered."""
        told = self.docker.tell("exec", container, "ping", "-c", str(tries), "-W", "2", address)
        return told.returncode == 0

    def wait_ping(self, container: str, address: str) -> None:
        """Wait until a ping from a container is answered."""
        wait_for(f"ping from {container} to {address}", lambda: self.pings(container, address, 1), _LIMIT)

    def link(self, container: str, interface: str = "eth0") -> dict[str, Any]:
        """Return what the kernel in a container says of an interface: mtu, address (its MAC), packets received."""
        base = f"/sys/class/net/{interface}"
        names = ("mtu", "address", "statistics/rx_packets")
        values = self.execute(container, "cat", *(f"{base}/{name}" for name in names)).split()
        return {"mtu": int(values[0]), "address": values[1], "received": int(values[2])}

    def port(self, container: str, network: str) -> Any:
        """Return the Neutron port of a container, once it carries the endpoint's id."""
        endpoint = self.endpoint(container, network)
        found: list[Any] = []

        def labelled() -> bool:
            found[:] = self.cloud.network.ports(device_id=endpoint["EndpointID"])
            return bool(found)

        wait_for(f"the port of {container} is named", labelled, _LIMIT)
        (port,) = found
        return port

    def neutron_network(self, name: str) -> Any:
        """Return the Neutron network of a Docker network."""
        docker_id = self.docker.inspect("network", name)["Id"]
        (found,) = self.cloud.network.networks(tags=f"kuryr.net.uuid.lh:{docker_id[:32]}")
        return found

    def remove(self, container: str) -> None:
        """Remove a container."""
        self.docker.run("rm", "-f", container)
        if container in self.containers:
            self.containers.remove(container)

    def remove_network(self, name: str) -> None:
        """Remove a Docker network."""
        self.docker.run("network", "rm", name)
        self.networks.remove(name)

    def traces(self) -> Traces:
        """Return what there is now, but for warm ports and what is prepared for them."""
        network = self.cloud.network
        kinds = (network.networks, network.subnet_pools, network.security_groups, network.ips)
        # Neutron makes a project's own group `default` when it first hears of the project.
        objects = {each.id for kind in kinds for each in kind() if each.name != "default"}
        ports = list(network.ports())
        warm = {each.id for each in ports if each.name == "isthmus-warm" and not each.device_id}
        others = {each.id for each in ports if each.device_owner != "network:distributed"}
        bound = self.ovs_ports()
        links = {each["ifname"] for each in json.loads(self.host.run("ip", "-j", "link"))}
        used = {name for port in warm for name in links if port[:11] in name}
        return Traces(frozenset(objects), frozenset(others - warm), frozenset(bound - warm), frozenset(links - used))

    def ovs_ports(self) -> set[str]:
        """Return the ids of the ports that Open vSwitch has an interface for."""
        line = ("ovs-vsctl", f"--db={self.ovsdb}", "--format=json", "--columns=external_ids", "list", "interface")
        rows = json.loads(self.host.run(*line))["data"]
        return {pair[1] for row in rows for pair in row[0][1] if pair[0] == "iface-id"}

    def call(self, method: str, body: bytes | dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Call a method of the plugin as Docker does; return the status and the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        line = [
            "curl",
            "-s",
            "--unix-socket",
            f"/run/docker/plugins/{self.driver}.sock",
            "-w",
            "\n%{http_code}",
            "--data-binary",
            "@-",
        ]
        done = subprocess.run(
            self.host.command(*line, f"http://docker/{method}"), input=data, capture_output=True, timeout=60, check=True
        )
        answer, _, status = done.stdout.decode().rpartition("\n")
        return int(status), json.loads(answer)

    def clean_containers(self) -> None:
        """Remove the containers that are left of those that were made."""
        for container in reversed(self.containers):
            self.docker.tell("rm", "-f", container)
        self.containers.clear()

    def clean(self) -> None:
        """Remove what is left of what was made."""
        self.clean_containers()
        for network in reversed(self.networks):
            self.docker.tell("network", "rm", network)


@contextlib.contextmanager
def docker_networks(playground: NetworkPlayground) -> Iterator[DockerNetworks]:
    """Give Docker of the playground's host; what is made by it is removed at the end."""
    ovsdb = f"unix:{playground.state_dir}/run/ovs/ovsdb.sock"
    networks = DockerNetworks(playground.host, playground.docker(), _administrator(playground), ovsdb)
    try:
        yield networks
    finally:
        networks.clean()


@functools.cache
def _administrator(playground: NetworkPlayground) -> Any:
    """Return the administrator's connection: making one takes a process and a token."""
    return playground.cloud("admin")
