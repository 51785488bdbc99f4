"""`isthmus port` and Neutron, on the run's one network playground."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from lab.network_playground import NetworkPlayground
from tests.network_ports import Ports, place


@pytest.fixture(scope="module")
def ports(network_playground: NetworkPlayground) -> Ports:
    return Ports(network_playground)


@pytest.fixture(scope="module")
def demo(network_playground: NetworkPlayground) -> Any:
    return network_playground.cloud("demo").network


@pytest.fixture(scope="module")
def administrator(network_playground: NetworkPlayground) -> Any:
    return network_playground.cloud("admin").network


@pytest.fixture
def space(network_playground: NetworkPlayground, ports: Ports) -> Iterator[str]:
    """Return a namespace on the host; what is attached there is detached at the end."""
    name = f"box-{uuid.uuid4().hex[:6]}"
    network_playground.host.run("ip", "netns", "add", name)
    yield name
    ports("detach", *place(name))
    network_playground.host.run("ip", "netns", "del", name)
