"""What a wish asks of Neutron, and what an interface is given."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.networking.model import FixedIp, Key, Network, Owner, Port, Route, Subnet, Wish
from isthmus.networking.planning.interface import interface_configuration
from isthmus.networking.planning.wishes import changes_for, host_tag, kind_of_pool, misfit, pool_of, port_body

FOUR = Subnet("s4", "", "p", "n", ip_network("10.0.0.0/24"), ip_address("10.0.0.1"))
OTHER = Subnet("s4b", "", "p", "n", ip_network("10.1.0.0/24"), ip_address("10.1.0.1"))
SIX = Subnet("s6", "", "p", "n", ip_network("fd00::/64"), ip_address("fd00::1"))
NETWORK = Network("n", "net", "p", 1442, (FOUR, OTHER, SIX))
WISH = Wish(Key(Owner.CNI, "k"), "n")
PORT = Port(
    "port", "", "p", "n", "fa:16:3e:00:00:01",
    (FixedIp("s4", ip_address("10.0.0.5")), FixedIp("s6", ip_address("fd00::5"))), "DOWN",
)  # fmt: skip


def test_a_plain_wish_leaves_the_addresses_to_neutron() -> None:
    assert "fixed_ips" not in port_body(WISH, NETWORK, "host")
    assert port_body(WISH, NETWORK, "host")["binding:host_id"] == "host"
    assert "binding:host_id" not in port_body(WISH, NETWORK, None)


def test_a_demanded_address_brings_the_other_family_with_it() -> None:
    wish = replace(WISH, addresses=(ip_address("10.1.0.9"),))
    assert port_body(wish, NETWORK, None)["fixed_ips"] == [
        {"subnet_id": "s4b", "ip_address": "10.1.0.9"},
        {"subnet_id": "s6"},
    ]


def test_named_subnets_are_all_that_is_used() -> None:
    assert port_body(replace(WISH, subnet_ids=("s4b",)), NETWORK, None)["fixed_ips"] == [{"subnet_id": "s4b"}]


def test_addresses_and_subnets_of_elsewhere_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"10\.0\.0\.0/24.*192\.168\.0\.1 is not in it"):
        port_body(replace(WISH, addresses=(ip_address("192.168.0.1"),)), NETWORK, None)
    with pytest.raises(InvalidInput, match="no subnet elsewhere"):
        port_body(replace(WISH, subnet_ids=("elsewhere",)), NETWORK, None)


def test_wishes_share_a_pool_if_their_ports_are_alike() -> None:
    assert pool_of(WISH, "p", "ovs", NETWORK) == pool_of(replace(WISH, key=Key(Owner.HOST, "x")), "p", "ovs", NETWORK)
    different = [
        replace(WISH, network_id="m"),
        replace(WISH, security_groups=()),
        replace(WISH, security_groups=("a",)),
        replace(WISH, subnet_ids=("s4",)),
    ]
    assert len({pool_of(each, "p", "ovs", NETWORK) for each in (WISH, *different)}) == 5
    assert pool_of(WISH, "q", "ovs", NETWORK) != pool_of(WISH, "p", "ovs", NETWORK)


@pytest.mark.parametrize("own", [{"mac": "fa:16:3e:00:00:02"}, {"port_id": "x"}, {"qos_policy": "q"}])
def test_a_wish_for_a_port_of_its_own_has_no_pool(own: dict[str, str]) -> None:
    assert pool_of(Wish(Key(Owner.CNI, "k"), "n", **own), "p", "ovs", NETWORK) is None  # type: ignore[arg-type]


def test_a_misfit_names_what_differs() -> None:
    assert misfit(WISH, PORT) is None
    assert "10.0.0.6" in str(misfit(replace(WISH, addresses=(ip_address("10.0.0.6"),)), PORT))
    assert misfit(replace(WISH, mac="FA:16:3E:00:00:01"), PORT) is None
    assert "MAC" in str(misfit(replace(WISH, mac="fa:16:3e:00:00:02"), PORT))
    assert "network" in str(misfit(replace(WISH, network_id="m"), PORT))


def test_changes_move_one_family_and_keep_the_other() -> None:
    assert changes_for(replace(WISH, addresses=(ip_address("10.0.0.5"),)), PORT, NETWORK) == {}
    wish = replace(WISH, addresses=(ip_address("fd00::77"),), security_groups=("g",))
    assert changes_for(wish, PORT, NETWORK) == {
        "fixed_ips": [
            {"subnet_id": "s6", "ip_address": "fd00::77"},
            {"subnet_id": "s4", "ip_address": "10.0.0.5"},
        ],
        "security_groups": ["g"],
    }


def test_a_hosts_tag_fits_whatever_the_hosts_name() -> None:
    assert host_tag("compute-1") == "isthmus.host:compute-1"
    long = host_tag("x" * 200)
    assert len(long) <= 60
    assert long != host_tag("x" * 201)


def test_an_interface_has_one_gateway_of_each_family() -> None:
    wanted = interface_configuration(PORT, NETWORK)
    assert wanted.gateways == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert wanted.addresses == ((ip_address("10.0.0.5"), 24), (ip_address("fd00::5"), 64))
    assert interface_configuration(PORT, NETWORK, default_route=False).gateways == ()


def test_a_host_route_to_everywhere_wins_over_the_gateway() -> None:
    routes = (
        Route(ip_network("0.0.0.0/0"), ip_address("10.0.0.99")),
        Route(ip_network("10.8.0.0/16"), ip_address("10.0.0.98")),
        Route(ip_network("10.9.0.0/16"), ip_address("10.0.0.5")),
    )
    wanted = interface_configuration(PORT, replace(NETWORK, subnets=(replace(FOUR, routes=routes), SIX)))
    assert wanted.gateways[0] == ip_address("10.0.0.99")
    assert [str(route.destination) for route in wanted.routes] == ["10.8.0.0/16"]


def test_a_subnet_out_of_sight_still_gives_the_address() -> None:
    wanted = interface_configuration(PORT, replace(NETWORK, subnets=(SIX,)))
    assert wanted.addresses[0] == (ip_address("10.0.0.5"), 32)


def test_a_pool_says_what_its_ports_are_and_is_outdated_once_the_network_has_another_family() -> None:
    four_only = replace(NETWORK, subnets=(FOUR, OTHER))
    pool = pool_of(WISH, "p", "ovs", four_only)
    assert pool is not None
    kind = kind_of_pool(pool)
    assert (kind.binder, kind.network_id, kind.subnet_ids, kind.security_groups) == ("ovs", "n", (), None)
    assert not kind.is_outdated(four_only)
    assert kind.is_outdated(NETWORK)
    assert pool_of(WISH, "p", "ovs", NETWORK) != pool
    named = pool_of(replace(WISH, subnet_ids=("s4",), security_groups=("b", "a")), "p/q", "ovs", four_only)
    assert named is not None
    assert kind_of_pool(named).subnet_ids == ("s4",)
    assert kind_of_pool(named).security_groups == ("a", "b")
    assert not kind_of_pool(named).is_outdated(NETWORK)
    none = pool_of(replace(WISH, security_groups=()), "p", "ovs", four_only)
    assert none is not None
    assert kind_of_pool(none).security_groups == ()
