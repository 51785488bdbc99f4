"""Real Docker on a real Neutron, OVN and Open vSwitch."""

from collections.abc import Iterator

import pytest
from lab.docker_networks import DockerNetworks, docker_networks
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground


@pytest.fixture
def networks(network_playground: NetworkPlayground) -> Iterator[DockerNetworks]:
    """Give Docker's networks of one test, after which nothing of it is left in Neutron, OVSDB and the kernel."""
    with docker_networks(network_playground) as found:
        before = found.traces()
        yield found
        found.clean()
        wait_for("nothing is left", lambda: found.traces() == before, 90)
