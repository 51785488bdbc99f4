"""The options a user gives."""

from ipaddress import ip_address

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.networking.libnetwork.options import (
    EndpointOptions,
    ExposedPort,
    NetworkOptions,
    PoolOptions,
    endpoint_options,
    exposed_ports,
    network_options,
    pool_options,
    published_ports,
)
from isthmus.networking.model import Protocol, PublishedPort


def test_kuryrs_network_keys_are_read() -> None:
    given = {
        "neutron.net.uuid": "id",
        "neutron.net.name": "name",
        "neutron.net.shared": "True",
        "neutron.subnet.v6.name": "six",
        "neutron.pool.name": "pool",
    }

    assert network_options({"com.docker.network.generic": given}) == NetworkOptions(
        network="id", shared=True, subnet_v6="six", subnet_pool="pool"
    )


def test_our_network_keys_are_read() -> None:
    given = {
        "isthmus.project": "blue",
        "isthmus.security_groups": "web, ssh",
        "isthmus.qos_policy": "slow",
        "isthmus.expose": "false",
        "com.docker.network.driver.mtu": "1400",
        "com.example.other": "kept out",
    }

    assert network_options(
        {"com.docker.network.generic": given, "com.docker.network.internal": True}
    ) == NetworkOptions(
        project="blue", mtu=1400, internal=True, endpoint=EndpointOptions(("web", "ssh"), "slow", False)
    )


def test_a_pools_keys_are_those_of_its_family() -> None:
    given = {"neutron.pool.name": "four", "neutron.pool.v6.uuid": "six", "neutron.subnet.v6.uuid": "s6"}

    assert pool_options(given, ipv6=False) == PoolOptions(subnet_pool="four")
    assert pool_options(given, ipv6=True) == PoolOptions(subnet_pool="six", subnet="s6")


def test_no_security_group_at_all_can_be_asked_for() -> None:
    assert endpoint_options({"isthmus.security_groups": ""}).security_groups == ()


def test_driver_options_beside_dockers_own_are_read() -> None:
    given = {"com.docker.network.portmap": [], "isthmus.qos_policy": "slow"}

    assert endpoint_options(given) == EndpointOptions(qos_policy="slow")


@pytest.mark.parametrize("key", ["isthmus.projet", "neutron.net.uid"])
def test_a_misspelt_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match=key):
        network_options({"com.docker.network.generic": {key: "x"}})


@pytest.mark.parametrize(
    "given", [{"com.docker.network.driver.mtu": "big"}, {"com.docker.network.driver.mtu": "9"}, {"isthmus.expose": "7"}]
)
def test_a_bad_value_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(given))):
        network_options({"com.docker.network.generic": given})


def test_published_ports_are_read() -> None:
    ports = [
        {"Proto": 6, "IP": "", "Port": 80, "HostIP": "0.0.0.0", "HostPort": 8080, "HostPortEnd": 8080},
        {"Proto": 17, "IP": "", "Port": 53, "HostIP": "127.0.0.1", "HostPort": 5300, "HostPortEnd": 5309},
        {"Proto": 6, "IP": "", "Port": 81, "HostIP": "", "HostPort": 0, "HostPortEnd": 0},
    ]

    assert published_ports({"com.docker.network.portmap": ports}) == (
        PublishedPort(Protocol.TCP, 80, 8080),
        PublishedPort(Protocol.UDP, 53, 5300, ip_address("127.0.0.1")),
    )


def test_exposed_ports_are_read_each_once() -> None:
    ports = [{"Proto": 6, "Port": 81}, {"Proto": 6, "Port": 80}, {"Proto": 6, "Port": 80}]

    assert exposed_ports({"com.docker.network.endpoint.exposedports": ports}) == (
        ExposedPort(Protocol.TCP, 80),
        ExposedPort(Protocol.TCP, 81),
    )


@pytest.mark.parametrize("ports", ["80", [80], [{"Proto": 1, "Port": 80}], [{"Proto": 6, "Port": 70000}]])
def test_ports_that_are_none_are_refused(ports: object) -> None:
    with pytest.raises(InvalidInput):
        published_ports({"com.docker.network.portmap": ports})
