"""Which addresses a network gets."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.networking.libnetwork.choosing import (
    allocation_pools,
    check_gateway,
    check_mtu,
    first_address,
    free_block,
    only_subnet,
    overlap,
    part_of,
    refuse_overlap,
)
from isthmus.networking.model import IpNetwork, Network, Subnet, SubnetPool

NET = ip_network("10.1.0.0/24")


def subnet(cidr: str, gateway: str | None = None) -> Subnet:
    return Subnet("s", "", "p", "n", ip_network(cidr), ip_address(gateway) if gateway else None)


def pool(*prefixes: str) -> SubnetPool:
    return SubnetPool("p", "kuryrPool", "p", tuple(map(ip_network, prefixes)), 24)


def test_the_first_free_block_is_taken() -> None:
    taken = [ip_network("10.0.0.0/24"), ip_network("10.0.1.128/25")]

    assert free_block([ip_network("10.0.0.0/22")], 24, taken) == ip_network("10.0.2.0/24")


def test_a_large_obstacle_is_passed_at_once() -> None:
    assert free_block([ip_network("10.0.0.0/8")], 24, [ip_network("10.0.0.0/9")]) == ip_network("10.128.0.0/24")


def test_a_full_range_has_no_block() -> None:
    assert free_block([ip_network("10.0.0.0/23")], 24, [ip_network("10.0.0.0/8")]) is None


def test_a_prefix_smaller_than_the_length_is_taken_whole() -> None:
    assert free_block([ip_network("10.0.0.0/26")], 24, []) == ip_network("10.0.0.0/26")


small = st.integers(0, 63).flatmap(lambda host: st.integers(26, 32).map(lambda n: IPv4Network((host << 2, n), False)))


@given(st.lists(small, max_size=8), st.integers(26, 30))
def test_a_block_overlaps_nothing_taken_and_none_is_overlooked(taken: list[IPv4Network], length: int) -> None:
    whole = ip_network("0.0.0.0/24")

    found = free_block([whole], length, taken)

    free: list[IpNetwork] = [
        each for each in whole.subnets(new_prefix=length) if not any(overlap(each, one) for one in taken)
    ]
    assert found == (free[0] if free else None)


def test_families_never_overlap() -> None:
    assert not overlap(ip_network("0.0.0.0/0"), ip_network("::/0"))


def test_a_pool_that_overlaps_another_is_refused() -> None:
    with pytest.raises(Conflict, match=r"10\.1\.0\.0/24 overlaps 10\.1\.0\.0/16"):
        refuse_overlap(NET, [pool("10.1.0.0/16")])


def test_the_pool_of_the_same_cidr_is_shared() -> None:
    refuse_overlap(NET, [pool("10.1.0.0/24"), pool("10.2.0.0/24")])


@pytest.mark.parametrize("wanted", [None, "0.0.0.0", "10.1.0.1"])
def test_a_gateway_that_fits_is_accepted(wanted: str | None) -> None:
    check_gateway(subnet("10.1.0.0/24", "10.1.0.1"), ip_address(wanted) if wanted else None)


@pytest.mark.parametrize("gateway", [None, "10.1.0.254"])
def test_another_gateway_is_refused(gateway: str | None) -> None:
    with pytest.raises(InvalidInput, match="gateway"):
        check_gateway(subnet("10.1.0.0/24", gateway), ip_address("10.1.0.1"))


def test_an_mtu_beyond_the_networks_is_refused() -> None:
    network = Network("n", "blue", "p", 1442)
    check_mtu(network, 1442)
    with pytest.raises(InvalidInput, match="1442"):
        check_mtu(network, 1443)


def test_the_only_subnet_of_a_family_is_found() -> None:
    network = Network("n", "blue", "p", 1442, (subnet("10.1.0.0/24"), subnet("10.2.0.0/24"), subnet("fd00::/64")))

    assert only_subnet(network, 6).cidr == ip_network("fd00::/64")
    with pytest.raises(InvalidInput, match="2 IPv4 subnets"):
        only_subnet(network, 4)


def test_the_first_address_is_a_hosts() -> None:
    assert first_address(NET) == ip_address("10.1.0.1")
    assert first_address(ip_network("10.1.0.4/31")) == ip_address("10.1.0.4")


def test_neutron_chooses_where_nothing_is_said() -> None:
    assert allocation_pools(NET, None, ()) is None


def test_a_range_is_kept_to() -> None:
    assert allocation_pools(NET, ip_network("10.1.0.128/26"), ()) == [{"start": "10.1.0.128", "end": "10.1.0.191"}]


def test_reserved_addresses_and_edges_are_left_out() -> None:
    reserved = [ip_address("10.1.0.1"), ip_address("10.1.0.7"), ip_address("10.9.0.1")]

    assert allocation_pools(NET, ip_network("10.1.0.0/29"), reserved) == [{"start": "10.1.0.2", "end": "10.1.0.6"}]


def test_an_ipv6_pool_has_no_broadcast() -> None:
    cidr = IPv6Network("fd00::/126")

    assert allocation_pools(cidr, None, [ip_address("fd00::1")]) == [{"start": "fd00::2", "end": "fd00::3"}]


def test_a_network_of_all_subnets_names_none() -> None:
    four, six = replace(subnet("10.1.0.0/24"), id="4"), replace(subnet("fd00::/64"), id="6")

    assert part_of([four, six], []) == ()
    assert part_of([four], [four]) == ()


def test_a_network_of_some_subnets_names_the_first_of_each_family() -> None:
    four, six = replace(subnet("10.1.0.0/24"), id="4"), replace(subnet("fd00::/64"), id="6")
    twin = replace(subnet("10.2.0.0/24"), id="twin")

    assert part_of([four], [four, six]) == ("4",)
    assert part_of([four, twin, six], []) == ("4", "6")
