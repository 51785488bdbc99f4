"""What Docker sends, as engines of several versions send it."""

from ipaddress import ip_address, ip_network

import pytest

from isthmus.control.bodies import parse
from isthmus.control.errors import InvalidInput
from isthmus.networking.libnetwork import messages


def test_a_network_of_docker_20_is_understood() -> None:
    request = parse(
        messages.CreateNetwork,
        {
            "NetworkID": "e7b9a3",
            "Options": {
                "com.docker.network.enable_ipv6": False,
                "com.docker.network.generic": {"neutron.net.name": "x"},
            },
            "IPv4Data": [
                {"AddressSpace": "isthmus_local", "Pool": "10.1.0.0/24", "Gateway": "10.1.0.1/24", "AuxAddresses": {}}
            ],
            "IPv6Data": None,
        },
        "request",
    )

    assert request.ipv4[0].pool == ip_network("10.1.0.0/24")
    assert request.ipv4[0].gateway == ip_address("10.1.0.1")
    assert request.ipv6 == []
    assert messages.generic_options(request.options) == {"neutron.net.name": "x"}


def test_an_endpoint_without_an_interface_is_understood() -> None:
    request = parse(
        messages.CreateEndpoint,
        {"NetworkID": "n", "EndpointID": "e", "Interface": None, "Options": None, "Newer": 1},
        "request",
    )

    assert request.interface.addresses == ()
    assert request.interface.mac_address == ""
    assert request.options == {}


def test_addresses_lose_their_prefix_length() -> None:
    request = parse(
        messages.CreateEndpoint,
        {
            "NetworkID": "n",
            "EndpointID": "e",
            "Interface": {"Address": "10.1.0.9/24", "AddressIPv6": "fd00::9/64", "MacAddress": "02:42:0A:01:00:09"},
        },
        "request",
    )

    assert request.interface.addresses == (ip_address("10.1.0.9"), ip_address("fd00::9"))


def test_a_gateways_address_is_known_as_one() -> None:
    options = {"RequestAddressType": "com.docker.network.gateway"}

    assert parse(messages.RequestAddress, {"PoolID": "p", "Address": "", "Options": options}, "request").for_gateway
    assert not parse(messages.RequestAddress, {"PoolID": "p", "Address": "", "Options": None}, "request").for_gateway


@pytest.mark.parametrize(
    ("model", "body", "named"),
    [
        (messages.CreateEndpoint, {"NetworkID": "n"}, "EndpointID"),
        (messages.CreateEndpoint, {"NetworkID": "../x", "EndpointID": "e"}, "NetworkID"),
        (messages.RequestPool, {"Pool": "10.1.0.0/240"}, "Pool"),
        (messages.RequestAddress, {"PoolID": "p", "Address": "ten"}, "Address"),
        (
            messages.CreateEndpoint,
            {"NetworkID": "n", "EndpointID": "e", "Interface": {"MacAddress": "q"}},
            "MacAddress",
        ),
        (messages.CreateNetwork, {"NetworkID": "n", "IPv4Data": [{"Pool": 7, "Gateway": []}]}, "IPv4Data"),
    ],
)
def test_malformed_requests_are_refused_by_name(
    model: type[messages.Message], body: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        parse(model, body, "request")
