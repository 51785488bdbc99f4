"""What all tests share: one whole control plane for a run, started when the first test asks for it.

`pytest -n 2 --dist loadfile` runs files of tests beside each other, as most wait more than they compute: then there are
two of all that a run shares, each in a process of its own.
"""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from lab.control_plane import ControlPlane
from lab.network_playground import NetworkPlayground
from lab.openstack_cloud import OpenStackCloud
from tests.image_store_fixtures import Containers, object_store_of

# How long an example takes says something of the machine, nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Give each of two processes ports of its own."""
    if process := getattr(config, "workerinput", {}).get("workerid"):
        first = 20000 + 6000 * (int(process.removeprefix("gw")) % 2)
        os.environ["ISTHMUS_LAB_PORTS"] = f"{first}-{first + 6000}"


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """Return the run's control plane with every part. Tests that kill or stop parts make one of their own."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def backing_services() -> Iterator[ControlPlane]:
    """Return MariaDB, Keystone, Barbican and Temporal, for tests that run Isthmus's services themselves."""
    with ControlPlane(only=("keystone", "barbican", "temporal")) as plane:
        yield plane


@pytest.fixture
def environment_of(control_plane: ControlPlane) -> Callable[[str], dict[str, str]]:
    """Return a function from a user's name (`admin` or `demo`) to an environment with that user's OS_* variables."""
    return control_plane.environment


@pytest.fixture(scope="session")
def network_playground() -> Iterator[NetworkPlayground]:
    """Return the run's host with Neutron, OVN, the network agent and, when first asked for, engines.

    Shared by all tests of networking: each makes networks of its own and removes what it attached. Tests that kill
    parts wait until all run again.
    """
    with NetworkPlayground(only=("network-agent",)) as playground:
        # Many tests wait for its repairs.
        playground.restart_agent(playground.agent_options + "repair_interval = 5\n")
        yield playground


@pytest.fixture(scope="session")
def openstack_cloud() -> Iterator[OpenStackCloud]:
    """Return the run's OpenStack cloud. Tests leave nothing in it."""
    with OpenStackCloud() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def object_store(control_plane: ControlPlane) -> Iterator[Containers]:
    """Return the plain user's containers in the run's object store. Tests leave nothing in it."""
    with object_store_of(control_plane) as containers:
        yield containers
