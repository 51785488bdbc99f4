"""The six commands through the real executable, agent, Neutron and OVN: what they make, and the errors they end in."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from lab import network_datagrams
from lab.attach_truth import Truth, ovsdb, until_quiet
from lab.cri_calls import CniCalls, CniRefused
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

TruthNow = Callable[[], Truth]


def in_namespace(playground: NetworkPlayground, name: str, *words: str) -> str:
    return playground.host.run("ip", "-netns", name, *words)


def refused(number: int, ask: Callable[[], object]) -> CniRefused:
    with pytest.raises(CniRefused) as caught:
        ask()
    assert caught.value.number == number, str(caught.value)
    return caught.value


def test_add_makes_what_its_result_says(
    network_playground: NetworkPlayground, calls: CniCalls, network: Any, demo: Any
) -> None:
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns, args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web")

        (far, near), (address,) = result["interfaces"], result["ips"]
        (link,) = json.loads(in_namespace(network_playground, "c1", "-json", "addr", "show", "eth0"))
        (port,) = demo.ports(network_id=network.id, fixed_ips=f"ip_address={address['address'].split('/')[0]}")
        assert near == {"name": "eth0", "mac": port.mac_address, "mtu": demo.get_network(network).mtu, "sandbox": netns}
        assert (link["address"], link["mtu"], link["operstate"]) == (near["mac"], near["mtu"], "UP")
        assert f"{link['addr_info'][0]['local']}/{link['addr_info'][0]['prefixlen']}" == address["address"]
        assert address["gateway"] == "10.61.0.1"
        assert "default via 10.61.0.1" in in_namespace(network_playground, "c1", "route")
        assert network_playground.host.succeeds("ip", "link", "show", far["name"])
        calls.check("c1", netns, result)
        wait_for("the port is named for its pod", lambda: demo.get_port(port.id).name == "shop/web")
        wait_for("the port is ACTIVE", lambda: demo.get_port(port.id).status == "ACTIVE")

        calls.delete("c1", netns)

        assert "eth0" not in in_namespace(network_playground, "c1", "link")
        assert not network_playground.host.succeeds("ip", "link", "show", far["name"])


def test_two_containers_reach_each_other_and_keep_doing_so_without_the_agent(
    network_playground: NetworkPlayground, calls: CniCalls
) -> None:
    host = network_playground.host
    with calls.namespace("c1") as first, calls.namespace("c2") as second:
        calls.add("c1", first)
        address = calls.add("c2", second)["ips"][0]["address"].split("/")[0]
        ping = ("ip", "netns", "exec", "c1", "ping", "-c1", "-W1", address)

        wait_for("the first ping", lambda: host.succeeds(*ping))
        network_playground.plane.kill("network-agent")
        assert host.succeeds(*ping)
        network_playground.plane.wait_ready()
        assert host.succeeds(*ping)
        calls.delete("c2", second)
        calls.delete("c1", first)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_older_versions_get_results_of_their_own(calls: CniCalls, version: str) -> None:
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns, cniVersion=version)
        calls.delete("c1", netns, cniVersion=version)

    assert result["cniVersion"] == version
    assert ("version" in result["ips"][0]) == version.startswith("0.")
    assert "mtu" not in result["interfaces"][1]


def test_del_succeeds_twice_and_for_what_never_was(calls: CniCalls, truth: TruthNow) -> None:
    calls.delete("never")
    with calls.namespace("c1") as netns:
        calls.add("c1", netns)
        calls.delete("c1", netns)
        calls.delete("c1")
    until_quiet(truth)


def test_del_after_the_namespace_has_gone_releases_all(calls: CniCalls, truth: TruthNow) -> None:
    with calls.namespace("c1") as netns:
        calls.add("c1", netns)
    calls.delete("c1", netns)
    until_quiet(truth)


def test_a_second_add_is_refused_and_does_no_harm(calls: CniCalls) -> None:
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns)
        refused(100, lambda: calls.add("c1", netns))
        calls.check("c1", netns, result)
        calls.delete("c1", netns)


def test_an_interface_that_exists_is_left_alone(
    network_playground: NetworkPlayground, calls: CniCalls, truth: TruthNow
) -> None:
    with calls.namespace("c1") as netns:
        in_namespace(network_playground, "c1", "link", "add", "eth0", "type", "veth", "peer", "name", "other")

        refused(100, lambda: calls.add("c1", netns))

        assert "eth0@other" in in_namespace(network_playground, "c1", "link", "show", "eth0")
        until_quiet(truth)


def test_a_second_interface_has_no_default_route_unless_it_is_asked_for(
    network_playground: NetworkPlayground, calls: CniCalls
) -> None:
    with calls.namespace("c1") as netns:
        calls.add("c1", netns)
        second = calls.add("c1", netns, "net1")
        third = calls.add("c1", netns, "net2", defaultRoute=False)

        assert second["routes"] == third["routes"] == []
        assert in_namespace(network_playground, "c1", "route").count("default") == 1
        for interface in ("net2", "net1", "eth0"):
            calls.delete("c1", netns, interface)


def test_a_namespace_that_is_gone_none_or_the_agents_own_is_refused(calls: CniCalls, truth: TruthNow) -> None:
    refused(3, lambda: calls.add("c1", "/run/netns/none"))
    refused(8, lambda: calls.add("c1", "/etc/hostname"))
    until_quiet(truth)


def test_a_namespace_that_vanishes_in_mid_add_leaves_nothing(
    network_playground: NetworkPlayground, calls: CniCalls, truth: TruthNow
) -> None:
    for number in range(6):
        with calls.namespace(f"c{number}") as netns:
            remover = network_playground.host.spawn(
                "sh", "-c", f"sleep 0.0{number * 2}; ip netns del c{number}", log=network_playground.directory / "del"
            )
            with contextlib.suppress(CniRefused):
                calls.add(f"c{number}", netns)
            remover.wait(60)
        calls.delete(f"c{number}")
    until_quiet(truth)


@pytest.mark.parametrize(
    ("what", "breaking"),
    [
        ("route", ("ip", "-netns", "c1", "route", "del", "default")),
        ("address", ("ip", "-netns", "c1", "addr", "flush", "dev", "eth0")),
        ("MTU", ("ip", "-netns", "c1", "link", "set", "eth0", "mtu", "900")),
        ("is down", ("ip", "-netns", "c1", "link", "set", "eth0", "down")),
        ("interface eth0", ("ip", "-netns", "c1", "link", "set", "eth0", "down", "name", "other")),
    ],
)
def test_check_tells_what_somebody_changed(
    network_playground: NetworkPlayground, calls: CniCalls, what: str, breaking: tuple[str, ...]
) -> None:
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns)
        calls.check("c1", netns, result)
        network_playground.host.run(*breaking)

        error = refused(103, lambda: calls.check("c1", netns, result))

        assert what in error.details
        calls.delete("c1", netns)


def test_check_tells_that_the_switch_lost_the_port(network_playground: NetworkPlayground, calls: CniCalls) -> None:
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns)
        far = result["interfaces"][0]["name"]
        ovsdb(
            network_playground.host,
            network_playground.state_dir,
            "remove",
            "Interface",
            far,
            "external_ids",
            "iface-id",
        )

        def is_told() -> bool:
            try:
                calls.check("c1", netns, result)
            except CniRefused as error:
                return error.number == 103
            return False

        # The agent hears of a change in OVSDB a moment later.
        wait_for("the loss is told", is_told)
        calls.delete("c1", netns)


def test_check_needs_a_previous_result_and_an_attachment(calls: CniCalls) -> None:
    with calls.namespace("c1") as netns:
        refused(3, lambda: calls.check("c1", netns, {}))
        result = calls.add("c1", netns)
        refused(7, lambda: calls.call("CHECK", "c1", netns, "eth0"))
        refused(103, lambda: calls.check("c1", netns, {**result, "ips": []}))
        calls.delete("c1", netns)


def test_gc_releases_all_that_is_not_valid_and_nothing_else(
    network_playground: NetworkPlayground, calls: CniCalls, truth: TruthNow
) -> None:
    other = CniCalls(network_playground.host, calls.configuration["agentSocket"], "other")
    other.configuration["network"] = calls.configuration["name"]
    with calls.namespace("c1") as first, calls.namespace("c2") as second:
        kept = calls.add("c1", first)
        calls.add("c1", first, "net1")
        calls.add("c2", second)
        elsewhere = other.add("c2", second, "eth1")

        calls.collect_garbage([("c1", "eth0")])

        calls.check("c1", first, kept)
        other.check("c2", second, elsewhere, "eth1")
        assert "net1" not in in_namespace(network_playground, "c1", "link")
        wait_for("two are attached", lambda: len(truth().attached) == 2)
        refused(7, lambda: calls.call("GC"))
        other.collect_garbage([])
        calls.collect_garbage([])
    until_quiet(truth)


def test_status_tells_whether_add_would_work(calls: CniCalls) -> None:
    calls.status()
    refused(50, lambda: calls.call("STATUS", network="no-such-network"))
    refused(50, lambda: calls.call("STATUS", project="no-such-project"))


def test_what_neutron_does_not_have_or_give_is_refused_with_its_words(
    network_playground: NetworkPlayground, calls: CniCalls, make_network: Callable[..., Any], truth: TruthNow
) -> None:
    foreign = make_network("10.62.0.0/24", by=network_playground.cloud("demo2").network)
    with calls.namespace("c1") as netns:
        refused(7, lambda: calls.add("c1", netns, network="no-such-network"))
        refused(7, lambda: calls.add("c1", netns, network=foreign.id))
        refused(7, lambda: calls.add("c1", netns, project="no-such-project"))
        refused(7, lambda: calls.add("c1", netns, subnets=["no-such-subnet"]))
        refused(7, lambda: calls.add("c1", netns, securityGroups=["no-such-group"]))
        refused(7, lambda: calls.add("c1", netns, securityGroups=["00000000-1111-2222-3333-444444444444"]))
        refused(7, lambda: calls.add("c1", netns, binder="no-such-binder"))
        refused(2, lambda: calls.add("c1", netns, mtu=9000))
    until_quiet(truth)


def test_addresses_and_mac_are_as_demanded_or_the_add_fails(calls: CniCalls, truth: TruthNow) -> None:
    demanded: dict[str, Any] = {"runtimeConfig": {"ips": ["10.61.0.77/24"], "mac": "fa:16:3e:aa:00:01"}}
    with calls.namespace("c1") as first, calls.namespace("c2") as second:
        result = calls.add("c1", first, **demanded)
        assert result["ips"][0]["address"] == "10.61.0.77/24"
        assert result["interfaces"][1]["mac"] == "fa:16:3e:aa:00:01"
        refused(102, lambda: calls.add("c2", second, args="IP=10.61.0.77"))
        with pytest.raises(CniRefused):
            calls.add("c2", second, args="IP=192.0.2.1")
        calls.delete("c1", first)
    until_quiet(truth)


def test_a_network_without_a_free_address_says_so(calls: CniCalls, make_network: Callable[..., Any]) -> None:
    small = make_network("10.63.0.0/30")  # the gateway and one more
    with calls.namespace("c1") as first, calls.namespace("c2") as second:
        calls.add("c1", first, network=small.id)
        refused(101, lambda: calls.add("c2", second, network=small.id))
        calls.delete("c1", first)


def test_bandwidth_is_limited_and_checked(network_playground: NetworkPlayground, calls: CniCalls) -> None:
    wanted: dict[str, Any] = {"runtimeConfig": {"bandwidth": {"ingressRate": 40_000_000, "egressRate": 20_000_000}}}
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns, **wanted)
        far = result["interfaces"][0]["name"]

        assert "rate 40Mbit" in network_playground.host.run("tc", "qdisc", "show", "dev", far)
        inside = network_playground.host.run("ip", "netns", "exec", "c1", "tc", "qdisc", "show", "dev", "eth0")
        assert "rate 20Mbit" in inside
        calls.check("c1", netns, result, **wanted)
        # What somebody takes away is told, and given back by the repairs, at both ends.
        network_playground.host.run("tc", "qdisc", "del", "dev", far, "root")
        network_playground.host.run("ip", "netns", "exec", "c1", "tc", "qdisc", "del", "dev", "eth0", "root")
        assert "20000000" in refused(103, lambda: calls.check("c1", netns, result, **wanted)).details

        def is_well() -> bool:
            try:
                calls.check("c1", netns, result, **wanted)
            except CniRefused:
                return False
            return True

        wait_for("the limits are given back", is_well, 120)
        assert "rate 40Mbit" in network_playground.host.run("tc", "qdisc", "show", "dev", far)
        calls.delete("c1", netns)


def test_a_mapped_port_carries_traffic_until_the_container_goes(
    network_playground: NetworkPlayground, calls: CniCalls
) -> None:
    host = network_playground.host
    mappings = [{"hostPort": 18090, "containerPort": 80, "protocol": protocol} for protocol in ("tcp", "udp")]
    wanted: dict[str, Any] = {"runtimeConfig": {"portMappings": mappings}}

    def fetched() -> bool:
        return host.succeeds("curl", "-sf", "-m", "5", "http://127.0.0.1:18090/hostname")

    def echoed() -> bool:
        return host.succeeds(*network_datagrams.ask("127.0.0.1", 18090, "there"))

    with calls.namespace("c1") as netns:
        in_namespace(network_playground, "c1", "link", "set", "lo", "up")  # as runtimes do
        result = calls.add("c1", netns, **wanted)
        inside = ("ip", "netns", "exec", "c1")
        log = network_playground.directory / "mapped.log"
        web = host.spawn(*inside, "busybox", "httpd", "-f", "-p", "80", "-h", "/etc", log=log)
        echo = host.spawn(*inside, *network_datagrams.echo(80), log=log)
        try:
            wait_for("TCP comes through", fetched)
            wait_for("UDP comes through, and back", echoed)
            calls.check("c1", netns, result, **wanted)
            # An agent that was killed forwards again.
            network_playground.plane.kill("network-agent")
            network_playground.plane.wait_ready()
            wait_for("TCP comes through again", fetched, 120)
        finally:
            for server in (web, echo):
                if program := host.program_of(server):
                    program.kill()
                server.wait(60)
        calls.delete("c1", netns, **wanted)
    assert not fetched()


def test_status_tells_that_the_switch_is_gone(network_playground: NetworkPlayground, calls: CniCalls) -> None:
    calls.status()
    database = psutil.Process(network_playground.plane.pid("ovsdb"))
    database.suspend()
    try:
        assert "does not answer" in refused(50, calls.status).details
    finally:
        database.resume()

    def is_well() -> bool:
        try:
            calls.status()
        except CniRefused:
            return False
        return True

    wait_for("STATUS is well again", is_well, 120)


def test_both_families_at_once(calls: CniCalls, make_network: Callable[..., Any], demo: Any) -> None:
    network = make_network("10.64.0.0/24")
    calls.configuration["network"] = network.id
    demo.create_subnet(network_id=network.id, cidr="fd00:61::/64", ip_version=6)
    with calls.namespace("c1") as netns:
        result = calls.add("c1", netns)
        calls.check("c1", netns, result)
        calls.delete("c1", netns)

    assert sorted(each["address"].partition("::")[0].partition(".")[0] for each in result["ips"]) == ["10", "fd00:61"]
    assert {each["dst"] for each in result["routes"]} == {"0.0.0.0/0", "::/0"}


def test_malformed_input_ends_in_the_specifications_errors(calls: CniCalls) -> None:
    whole = json.dumps(calls.configuration)
    refused(6, lambda: calls.raw("ADD", whole[:-1], container="c", netns="/run/netns/x", interface="eth0"))
    refused(4, lambda: calls.raw("ADD", whole, container="c", interface="eth0"))
    refused(4, lambda: calls.raw("REMOVE", whole))
    refused(1, lambda: calls.call("ADD", "c", "/run/netns/x", "eth0", cniVersion="0.2.0"))
    refused(1, lambda: calls.call("GC", cniVersion="1.0.0"))
