"""The demonstration's third part: one tenant network with a container and a virtual machine on it, a stranger beside.

It has a control plane of its own in namespaces of its own, as Neutron's switch needs interfaces of the machine's.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from lab.cri_calls import agent_socket
from lab.docker_networks import docker_networks
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from lab.tenant_machine import tenant_machine

RANGE = "10.66.0.0/24"
_LIMIT = 120.0


@dataclass(frozen=True)
class NetworkShown:
    """What was seen. `seconds_to_run` is how long `docker run` took on the tenant network."""

    container: str
    machine: str
    seconds_to_run: float
    container_reaches_machine: bool
    machine_reaches_container: bool
    stranger_kept_out: bool

    @property
    def passed(self) -> bool:
        """Whether all was as promised."""
        return self.container_reaches_machine and self.machine_reaches_container and self.stranger_kept_out


def show(say: Callable[[str], None]) -> NetworkShown:
    """Start networks in namespaces, put a container and a machine on one of them, and remove all of it."""
    say("network: isthmus up --with network (Neutron, OVN, Open vSwitch, the network agent), and Docker")
    with NetworkPlayground() as playground, docker_networks(playground) as docker, ExitStack() as undo:
        docker.make("tenant", RANGE, project="demo")
        docker.make("stranger", RANGE, project="demo2")
        docker.start("warming", "tenant")
        begun = time.monotonic()
        docker.start("web", "tenant")
        seconds = time.monotonic() - begun
        container = docker.address("web", "tenant")
        say(f"network: a container of tenant demo has {container} after {seconds:.1f} s")
        guest, machine = undo.enter_context(
            tenant_machine(
                playground.host,
                playground.directory / "guest",
                network=docker.neutron_network("tenant").id,
                agent=agent_socket(playground.state_dir),
                tap="demotap",
            )
        )
        say(f"network: a virtual machine on a tap has {machine} of the same network")
        docker.start("other", "stranger")
        wait_for("the container reaches the machine", lambda: docker.pings("web", machine), _LIMIT)
        shown = NetworkShown(
            container,
            machine,
            seconds,
            container_reaches_machine=docker.pings("web", machine),
            machine_reaches_container=guest.succeeds(f"ping -c3 -W5 {container}"),
            stranger_kept_out=not docker.pings("other", machine),
        )
        say("network: each reaches the other; a container of tenant demo2, with the same range of addresses, does not")
    return shown
