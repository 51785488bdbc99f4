"""Real Docker on a real Neutron, OVN and Open vSwitch."""

import contextlib
from collections.abc import Iterator

import pytest
from lab.docker_networks import DockerNetworks, docker_networks
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

_SETTLED = 180.0


@pytest.fixture(scope="session")
def patient_playground(network_playground: NetworkPlayground) -> NetworkPlayground:
    """Give the playground with an agent that waits for a Neutron as slow as a loaded machine makes it."""
    patient = "call_timeout = 60\nattach_timeout = 100\n"
    network_playground.restart_agent(network_playground.agent_options + patient)
    return network_playground


@contextlib.contextmanager
def tidy(playground: NetworkPlayground) -> Iterator[DockerNetworks]:
    """Give Docker's networks, of which nothing is left in Neutron, OVSDB and the kernel afterwards."""
    with docker_networks(playground) as found:
        before = found.traces()
        yield found
        found.clean()
        with contextlib.suppress(TimeoutError):
            wait_for("nothing is left", lambda: not found.traces().beyond(before), _SETTLED)
        assert not found.traces().beyond(before)


@pytest.fixture
def networks(patient_playground: NetworkPlayground) -> Iterator[DockerNetworks]:
    """Give Docker's networks of one test."""
    with tidy(patient_playground) as found:
        yield found


@pytest.fixture(scope="module")
def blue(patient_playground: NetworkPlayground) -> Iterator[DockerNetworks]:
    """Give a module's dual-stack network `blue` with containers c1 and c2; others are removed by their tests."""
    with tidy(patient_playground) as found:
        # Addresses that tests demand are outside the pool: a warm port may have any in it.
        found.make("blue", "10.30.0.0/24", "fd00:30::/64", words=("--ip-range", "10.30.0.128/25"))
        found.start("c1", "blue")
        found.start("c2", "blue")
        yield found
