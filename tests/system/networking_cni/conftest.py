"""Neutron networks, and callers of CNI, for the tests of this directory; all on the run's one network playground."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from lab.attach_truth import Truth, look
from lab.cri_calls import CniCalls, agent_socket
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground
from openstack.exceptions import ConflictException

PATIENCE_SECONDS = 180
"""How long an ADD is tried again that is told to come later: the machine may be slow."""

MakeNetwork = Callable[..., Any]


@pytest.fixture(scope="session")
def demo(network_playground: NetworkPlayground) -> Any:
    """Return Neutron as the plain user sees it."""
    return network_playground.cloud("demo").network


@pytest.fixture(scope="session")
def administrator(network_playground: NetworkPlayground) -> Any:
    """Return Neutron as its administrator sees it."""
    return network_playground.cloud("admin").network


@pytest.fixture
def make_network(administrator: Any, demo: Any) -> Iterator[MakeNetwork]:
    """Return a function that makes a network with a subnet; all are deleted afterwards, with the ports on them."""
    with _networks(administrator, demo) as make:
        yield make


@contextmanager
def _networks(administrator: Any, demo: Any) -> Iterator[MakeNetwork]:
    with ExitStack() as undo:

        def make(cidr: str = "10.61.0.0/24", *, by: Any = demo, **subnet: Any) -> Any:
            network = by.create_network(name=f"net-{uuid.uuid4().hex[:8]}")
            undo.callback(_delete, administrator, network.id)
            version = 6 if ":" in cidr else 4
            by.create_subnet(network_id=network.id, cidr=cidr, ip_version=version, **subnet)
            return network

        yield make


def _delete(neutron: Any, network_id: str) -> None:
    # The agent holds ports of it ready, and refills what is taken away until it sees that the network has gone.
    def is_gone() -> bool:
        for port in neutron.ports(network_id=network_id):
            neutron.delete_port(port.id)
        try:
            neutron.delete_network(network_id)
        except ConflictException:
            return False
        return True

    wait_for("a network is deleted", is_gone)


@pytest.fixture(scope="session")
def network(administrator: Any, demo: Any) -> Iterator[Any]:
    """Return the network of most tests, with one subnet, 10.61.0.0/24."""
    with _networks(administrator, demo) as make:
        # Addresses that tests demand are outside the pool: a warm port may have any in it.
        yield make(allocation_pools=[{"start": "10.61.0.100", "end": "10.61.0.250"}])


@pytest.fixture(scope="module")
def group(demo: Any) -> Iterator[Any]:
    """Return a security group that lets nothing in. Warm ports have it until their network is deleted."""
    made = demo.create_security_group(name=f"group-{uuid.uuid4().hex[:8]}")
    yield made
    demo.delete_security_group(made.id)


@pytest.fixture(scope="module")
def guarded_network(administrator: Any, demo: Any, group: Any) -> Iterator[Any]:
    """Return a network for ports of `group`, deleted before the group is."""
    del group
    with _networks(administrator, demo) as make:
        yield make("10.61.0.0/24")


@pytest.fixture
def calls(network_playground: NetworkPlayground, network: Any) -> Iterator[CniCalls]:
    """Return a caller for the network; what it attached is released at the end."""
    caller = CniCalls(
        network_playground.host, agent_socket(network_playground.state_dir), network.name, patience=PATIENCE_SECONDS
    )
    yield caller
    caller.collect_garbage([])


@pytest.fixture
def truth(network_playground: NetworkPlayground, administrator: Any) -> Callable[[], Truth]:
    """Return a function that asks all who know of attachments."""
    return lambda: look(network_playground.host, network_playground.state_dir, administrator)
