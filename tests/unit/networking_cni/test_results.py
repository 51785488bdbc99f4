"""A result says in each version of the specification what that version has words for."""

from ipaddress import ip_address, ip_network
from typing import Any

from isthmus.networking.cni.configuration import ResultDns, RuntimeDns
from isthmus.networking.cni.results import Result, differences, dns_of, render, result_of
from isthmus.networking.model import (
    Attachment,
    InterfaceConfiguration,
    Key,
    Network,
    Owner,
    Route,
    State,
    Subnet,
    Target,
    TargetKind,
    Wish,
)

MAC = "fa:16:3e:00:00:01"
CONFIGURATION = InterfaceConfiguration(
    MAC,
    1442,
    ((ip_address("10.0.0.5"), 24), (ip_address("fd00::5"), 64)),
    (ip_address("10.0.0.1"), ip_address("fd00::1")),
    (
        Route(ip_network("192.0.2.0/24"), ip_address("10.0.0.9")),
        Route(ip_network("198.51.100.0/24"), None),
    ),
)
ATTACHMENT = Attachment(
    Wish(Key(Owner.CNI, "blue/c/eth0"), "n"),
    State.PLUGGED,
    target=Target(TargetKind.NETNS, "eth0", "/run/netns/x"),
    far_interface="tap01234567-89",
    near_interface="eth0",
)


def result() -> Result:
    return result_of(ATTACHMENT, CONFIGURATION, "/run/netns/x", ResultDns(nameservers=["10.0.0.2"]))


def test_the_newest_result_has_both_ends_addresses_routes_and_mtu() -> None:
    assert render(result(), "1.1.0") == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "tap01234567-89"},
            {"name": "eth0", "mac": MAC, "mtu": 1442, "sandbox": "/run/netns/x"},
        ],
        "ips": [
            {"address": "10.0.0.5/24", "gateway": "10.0.0.1", "interface": 1},
            {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 1},
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "10.0.0.1"},
            {"dst": "::/0", "gw": "fd00::1"},
            {"dst": "192.0.2.0/24", "gw": "10.0.0.9"},
            {"dst": "198.51.100.0/24", "scope": 253},
        ],
        "dns": {"nameservers": ["10.0.0.2"]},
    }


def test_older_results_have_the_family_and_neither_mtu_nor_scope() -> None:
    old = render(result(), "0.4.0")

    assert [each["version"] for each in old["ips"]] == ["4", "6"]
    assert old["interfaces"][1] == {"name": "eth0", "mac": MAC, "sandbox": "/run/netns/x"}
    assert old["routes"][3] == {"dst": "198.51.100.0/24"}
    assert "version" not in render(result(), "1.0.0")["ips"][0]
    assert "mtu" not in render(result(), "1.0.0")["interfaces"][1]


def test_what_an_earlier_plugin_made_comes_first() -> None:
    before: dict[str, Any] = {
        "cniVersion": "0.4.0",
        "interfaces": [{"name": "a"}, {"name": "b", "sandbox": "/run/netns/x"}],
        "ips": [{"address": "10.9.0.1/24", "interface": 1}],
        "custom": 1,
    }

    chained = render(result(), "1.1.0", before)

    assert [each["name"] for each in chained["interfaces"]] == ["a", "b", "tap01234567-89", "eth0"]
    assert [each["interface"] for each in chained["ips"]] == [1, 3, 3]
    assert chained["cniVersion"] == "1.1.0"
    assert chained["custom"] == 1


def test_dns_is_the_runtimes_else_the_configurations_else_the_networks() -> None:
    subnet = Subnet("s", "s", "p", "n", ip_network("10.0.0.0/24"), None, (ip_address("10.0.0.2"),))
    network = Network("n", "blue", "p", 1442, (subnet, subnet), dns_domain="blue.example.")

    assert dns_of(network, ResultDns(), None) == ResultDns(nameservers=["10.0.0.2"], domain="blue.example")
    assert dns_of(network, ResultDns(nameservers=["1.1.1.1"]), RuntimeDns()).nameservers == ["1.1.1.1"]
    asked = RuntimeDns(servers=["9.9.9.9"], searches=["cluster.local"], options=["ndots:5"])
    assert dns_of(network, ResultDns(nameservers=["1.1.1.1"]), asked) == ResultDns(
        nameservers=["9.9.9.9"], search=["cluster.local"], options=["ndots:5"]
    )


def test_a_previous_result_that_promises_less_is_told() -> None:
    good = render(result(), "1.1.0")

    assert differences(good, result()) == ()
    assert differences({**good, "ips": good["ips"][1:]}, result()) == ("prevResult has no address 10.0.0.5/24",)
    assert differences({**good, "interfaces": []}, result()) == ("prevResult has no interface eth0",)
