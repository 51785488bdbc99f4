"""`isthmus port` on the network playground's host, and networks to attach to, for tests."""

import contextlib
import ipaddress
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.control_plane import ISTHMUS
from lab.cri_calls import agent_socket
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from openstack.exceptions import ConflictException

LONG = 240


@dataclass
class Ports:
    """`isthmus port` on the playground's host."""

    playground: NetworkPlayground

    def __call__(self, verb: str, *words: str, **options: Any) -> Any:
        socket = str(agent_socket(self.playground.state_dir))
        command = (ISTHMUS, "port", verb, *words, "-f", "json", "--socket", socket)
        return json.loads(self.playground.host.run(*command, limit=LONG, **options))

    def refusal(self, *words: str) -> str:
        """Return what the agent says to an attach call that it must refuse."""
        socket = str(agent_socket(self.playground.state_dir))
        command = " ".join((ISTHMUS, "port", "attach", *words, "--socket", socket, "2>&1; echo code=$?"))
        said = self.playground.host.run("sh", "-c", command, limit=LONG)
        assert "code=1" in said, said
        return said

    def health(self) -> Any:
        socket = str(agent_socket(self.playground.state_dir))
        return json.loads(self.playground.host.run("curl", "-s", "--unix-socket", socket, "http://x/health"))

    def problems(self, space: str) -> list[str]:
        found: list[str] = self("show", *place(space))["port"]["problems"]
        return found

    def addresses(self, space: str) -> str:
        return self.playground.host.run("ip", "-n", space, "addr", "show", "eth0")


@contextlib.contextmanager
def made_network(owner: Any, administrator: Any, cidr: str) -> Iterator[Any]:
    network = owner.create_network(name=f"net-{uuid.uuid4().hex[:8]}")
    try:
        # Addresses that tests demand are in the lower half: a warm port may have any of the pool.
        hosts = list(ipaddress.ip_network(cidr).hosts())
        pool = {"start": str(hosts[len(hosts) // 2]), "end": str(hosts[-1])}
        owner.create_subnet(network_id=network.id, cidr=cidr, ip_version=4, allocation_pools=[pool])
        yield network
    finally:
        wait_for("the network is deleted", lambda: _delete(administrator, network.id), LONG)


def _delete(neutron: Any, network_id: str) -> bool:
    for port in neutron.ports(network_id=network_id):
        neutron.delete_port(port.id)
    try:
        neutron.delete_network(network_id)
    except ConflictException:  # a port was made meanwhile
        return False
    return True


def place(space: str) -> tuple[str, ...]:
    return ("--netns", space, "--interface", "eth0")
