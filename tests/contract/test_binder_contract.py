"""What every binder must do, on real links, namespaces and Open vSwitch in a namespace of the test's own."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from lab.network_space import container_space, in_space, open_vswitch, private_space, run, vsctl, wait_until
from stevedore import extension

from isthmus.control.configuration import load
from isthmus.networking.binding.contract import Binder, BindingFailed, InterfaceExists, NamespaceGone
from isthmus.networking.binding.ovs import OvsBinder
from isthmus.networking.binding.registry import NAMESPACE, Binders
from isthmus.networking.model import (
    FixedIp,
    InterfaceConfiguration,
    Network,
    Port,
    Route,
    Target,
    TargetKind,
)

BINDERS = ("ovs", "bridge", "macvlan", "vlan")
HAS_VLANS = Path("/proc/net/vlan").exists()
"""Whether this kernel has 802.1Q. Where it has not, the binder `vlan` is held to say so, and to nothing else."""
PAIRS = ("ovs", "bridge")  # those with a far end that stays with the host


@dataclass
class Bench:
    """A binder on a host of its own, with two containers."""

    binder: Binder
    one: str
    two: str
    address: str

    def plug(self, port: Port, target: Target) -> str:
        return self.binder.plug(port, target, settings(port), time.monotonic() + 60).near_interface

    def unplug(self, port: Port, target: Target | None) -> None:
        self.binder.unplug(port.id, target, time.monotonic() + 60)

    def check(self, port: Port, target: Target) -> tuple[str, ...]:
        return self.binder.check(port, target, settings(port))


@pytest.fixture(params=BINDERS if HAS_VLANS else BINDERS[:3])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with make_bench(request.param) as made:
        yield made


@contextmanager
def make_bench(name: str, *, offload: bool = True) -> Iterator[Bench]:
    with ExitStack() as stack:
        stack.enter_context(private_space())
        one, two = stack.enter_context(container_space()), stack.enter_context(container_space())
        address = stack.enter_context(open_vswitch(offload=offload)) if name == "ovs" else "unix:/nowhere"
        run("ip", "link", "add", "parent0", "type", "veth", "peer", "name", "parent1")
        run("ip", "link", "set", "parent0", "up")
        run("ip", "link", "set", "parent1", "up")
        conf = load([])
        conf.set_override("ovsdb", address, "network_agent")
        conf.set_override("parent_interface", "parent0", "network_agent")
        conf.set_override("flows_timeout", 0.0, "network_agent")
        binder = Binders(conf).get(name)
        yield Bench(binder, one, two, address)
        if isinstance(binder, OvsBinder):
            binder.database.close()


def port_of(number: int) -> Port:
    return Port(
        id=f"{number:08x}-1111-4222-8333-444455556666",
        name="",
        project_id="p",
        network_id="12345678-9abc-4222-8333-444455556666",
        mac=f"fa:16:3e:00:00:{number:02x}",
        fixed_ips=(FixedIp("s4", ip_address(f"10.9.0.{number}")), FixedIp("s6", ip_address(f"fd09::{number:x}"))),
        status="DOWN",
        vif_details={"segmentation_id": 100 + number},
    )


def settings(port: Port) -> InterfaceConfiguration:
    four, six = (fixed.address for fixed in port.fixed_ips)
    return InterfaceConfiguration(
        mac=port.mac,
        mtu=1442,
        addresses=((four, 24), (six, 64)),
        gateways=(ip_address("10.9.0.254"), ip_address("fd09::ffff")),
        routes=(Route(ip_network("10.77.0.0/16"), ip_address("10.9.0.253")),),
    )


NETWORK = Network("12345678-9abc-4222-8333-444455556666", "net", "p", 1442)


def inside(name: str, interface: str = "eth0") -> Target:
    return Target(TargetKind.NETNS, interface, f"/run/netns/{name}")


def links() -> str:
    return run("ip", "-br", "link")


def test_all_binders_are_installed_and_tested() -> None:
    assert set(extension.ExtensionManager(NAMESPACE).names()) == set(BINDERS)


def test_a_kernel_without_vlans_is_named() -> None:
    if HAS_VLANS:
        return
    with make_bench("vlan") as bench:
        with pytest.raises(BindingFailed, match="8021q"):
            bench.plug(port_of(1), inside(bench.one))
        bench.unplug(port_of(1), inside(bench.one))
        assert port_of(1).id[:8] not in links()


def test_a_plugged_interface_has_all_it_was_to_get(bench: Bench) -> None:
    port, target = port_of(1), inside(bench.one)
    assert bench.plug(port, target) == "eth0"
    shown = in_space(bench.one, "ip", "addr", "show", "eth0")
    for expected in (port.mac, "mtu 1442", "10.9.0.1/24", "fd09::1/64", "UP"):
        assert expected in shown
    assert "tentative" not in in_space(bench.one, "ip", "-6", "addr", "show", "scope", "global")
    routes = in_space(bench.one, "ip", "route") + in_space(bench.one, "ip", "-6", "route")
    for expected in ("default via 10.9.0.254", "10.77.0.0/16 via 10.9.0.253", "default via fd09::ffff"):
        assert expected in routes
    assert bench.check(port, target) == ()


def test_plugging_again_changes_nothing(bench: Bench) -> None:
    port, target = port_of(1), inside(bench.one)
    bench.plug(port, target)
    before = in_space(bench.one, "ip", "-o", "link", "show", "eth0")
    bench.plug(port, target)
    assert in_space(bench.one, "ip", "-o", "link", "show", "eth0") == before
    assert bench.check(port, target) == ()


def test_unplugging_leaves_nothing_and_may_be_repeated(bench: Bench) -> None:
    port, target, before = port_of(1), inside(bench.one), links()
    bench.plug(port, target)
    for _ in range(2):
        bench.unplug(port, target)
        assert "eth0" not in in_space(bench.one, "ip", "-br", "link")
        assert not bench.binder.plugged_ports()
    assert port.id[:8] not in links(), before


def test_what_was_never_plugged_is_unplugged(bench: Bench) -> None:
    bench.unplug(port_of(9), None)
    bench.unplug(port_of(9), inside(bench.one))


def test_a_missing_namespace_is_said_and_nothing_is_left(bench: Bench) -> None:
    port, target = port_of(1), Target(TargetKind.NETNS, "eth0", "/run/netns/isthmus-never-was")
    with pytest.raises(NamespaceGone, match="isthmus-never-was"):
        bench.plug(port, target)
    bench.unplug(port, target)
    assert port.id[:8] not in links()


def test_a_namespace_that_vanished_is_unplugged_and_checked(bench: Bench) -> None:
    port, target = port_of(1), inside(bench.one)
    bench.plug(port, target)
    run("ip", "netns", "del", bench.one)
    assert bench.check(port, target)
    bench.unplug(port, target)
    assert not bench.binder.plugged_ports()


def test_an_interface_of_somebody_elses_is_left_alone(bench: Bench) -> None:
    in_space(bench.one, "ip", "link", "add", "eth0", "type", "bridge")
    before = in_space(bench.one, "ip", "-o", "link", "show", "eth0")
    port, target = port_of(1), inside(bench.one)
    with pytest.raises(InterfaceExists, match="eth0"):
        bench.plug(port, target)
    bench.unplug(port, target)
    assert in_space(bench.one, "ip", "-o", "link", "show", "eth0") == before


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("ip route del 10.77.0.0/16", "no route to 10.77.0.0/16"),
        ("ip addr del 10.9.0.1/24 dev eth0", "has not the address 10.9.0.1/24"),
        ("ip link set eth0 mtu 1300", "MTU"),
        ("ip link set eth0 down", "down"),
        ("ip link del eth0", "no interface"),
    ],
)
def test_a_check_tells_what_somebody_took_away(bench: Bench, damage: str, complaint: str) -> None:
    port, target = port_of(1), inside(bench.one)
    bench.plug(port, target)
    in_space(bench.one, *damage.split())
    assert any(complaint in each for each in bench.check(port, target))


def test_plugging_again_completes_what_is_half_there(bench: Bench) -> None:
    port, target = port_of(1), inside(bench.one)
    bench.plug(port, target)
    in_space(bench.one, "ip", "addr", "flush", "dev", "eth0")
    bench.plug(port, target)
    assert bench.check(port, target) == ()


def test_what_is_prepared_is_plugged_and_listed(bench: Bench) -> None:
    port, target = port_of(1), inside(bench.one)
    bench.binder.prepare(port, NETWORK)
    bench.binder.prepare(port, NETWORK)
    if bench.binder.name in PAIRS:
        (found,) = bench.binder.plugged_ports().values()
        assert (found.port_id, found.in_use, found.connected) == (port.id, False, True)
    bench.plug(port, target)
    assert bench.check(port, target) == ()
    if bench.binder.sees_containers:
        (found,) = bench.binder.plugged_ports().values()
        assert (found.port_id, found.in_use, found.connected) == (port.id, True, True)


def test_an_engine_gets_its_end_in_the_hosts_namespace_and_may_ask_again(bench: Bench) -> None:
    port, target = port_of(1), Target(TargetKind.ENGINE)
    name = bench.plug(port, target)
    assert port.mac in run("ip", "link", "show", name)
    run("ip", "link", "set", name, "netns", bench.one)
    run("ip", "-n", bench.one, "link", "del", name)
    assert bench.plug(port, target) == name
    assert port.mac in run("ip", "link", "show", name)
    bench.unplug(port, target)
    assert name not in links()


def test_an_interface_of_the_host_itself_is_configured(bench: Bench) -> None:
    port, target = port_of(1), Target(TargetKind.INTERFACE, "tenant0", default_route=False)
    wanted = replace(settings(port), gateways=())
    for _ in range(2):
        bench.binder.plug(port, target, wanted, time.monotonic() + 60)
    assert "10.9.0.1/24" in run("ip", "addr", "show", "tenant0")
    assert bench.binder.check(port, target, wanted) == ()
    bench.unplug(port, target)
    assert "tenant0" not in links()


def test_two_ports_of_one_network_reach_each_other(bench: Bench) -> None:
    if bench.binder.name == "vlan":
        pytest.skip("two VLANs of one trunk meet in Neutron's switch alone; tests/functional/networking has that")
    bench.plug(port_of(1), inside(bench.one))
    bench.plug(port_of(2), inside(bench.two))
    for address in ("10.9.0.2", "fd09::2"):
        words = ["nsenter", f"--net=/run/netns/{bench.one}", "ping", "-c", "1", "-W", "1", address]
        end = time.monotonic() + 60
        while subprocess.run(words, check=False, capture_output=True).returncode:
            assert time.monotonic() < end, f"{address} did not answer"


def test_a_lost_connection_is_seen_and_mended_under_a_running_container(bench: Bench) -> None:
    port, target = port_of(1), inside(bench.one)
    bench.plug(port, target)
    far = f"tap{port.id[:11]}"
    if bench.binder.name == "ovs":
        assert isinstance(bench.binder, OvsBinder)
        bench.binder.database.disconnect(far)
    elif bench.binder.name == "bridge":
        run("ip", "link", "set", far, "nomaster")
    else:
        assert bench.binder.mend(port, target, settings(port))
        in_space(bench.one, "ip", "link", "del", "eth0")
        assert not bench.binder.mend(port, target, settings(port))
        return
    before = in_space(bench.one, "ip", "-o", "link", "show", "eth0")
    assert bench.check(port, target)
    assert bench.binder.mend(port, target, settings(port))
    assert bench.check(port, target) == ()
    assert in_space(bench.one, "ip", "-o", "link", "show", "eth0") == before


def test_a_tap_is_plugged_and_left_to_its_owner(bench: Bench) -> None:
    if bench.binder.name not in PAIRS:
        return  # they refuse it, which the unit of the error tells
    port, target = port_of(1), Target(TargetKind.TAP, "vm0")
    run("ip", "tuntap", "add", "vm0", "mode", "tap")
    for _ in range(2):
        bench.plug(port, target)
    assert bench.check(port, target) == ()
    bench.unplug(port, target)
    assert "vm0" in links()
    assert bench.check(port, target)


def test_checksums_are_finished_where_the_switch_would_drop_unfinished_ones() -> None:
    with make_bench("ovs", offload=False) as bench:
        assert bench.binder.finishes_checksums()
        first, second = port_of(1), port_of(2)
        bench.plug(first, inside(bench.one))
        bench.plug(second, inside(bench.two))
        assert bench.check(first, inside(bench.one)) == ()
        received = _received(bench, "10.9.0.2")
        assert received == "all of it"


def test_an_interface_from_before_is_made_to_finish_its_checksums() -> None:
    with make_bench("ovs") as bench:
        assert isinstance(bench.binder, OvsBinder)
        port, target = port_of(1), inside(bench.one)
        bench.plug(port, target)
        assert "tx-checksumming: on" in in_space(bench.one, "ethtool", "-k", "eth0")
        assert all(each.connected for each in bench.binder.plugged_ports().values())
        # As when somebody turns the offload off, which the switch reads as it starts.
        vsctl(bench.address, "--no-wait", "set", "open", ".", "other_config:userspace-tso-enable=false")
        wait_until(bench.binder.finishes_checksums, "the setting is seen")
        assert any("checksums" in each for each in bench.check(port, target))
        assert not any(each.connected for each in bench.binder.plugged_ports().values())
        assert bench.binder.mend(port, target, settings(port))
        assert "tx-checksumming: off" in in_space(bench.one, "ethtool", "-k", "eth0")
        wait_until(lambda: bench.check(port, target) == (), "it is known to be mended")


def _received(bench: Bench, address: str) -> str:
    """Return what container one reads of container two by TCP."""
    server = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{bench.two}", "busybox", "nc", "-l", "-p", "7000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert server.stdin is not None
        server.stdin.write(b"all of it")
        server.stdin.close()
        ask = ["nsenter", f"--net=/run/netns/{bench.one}", "busybox", "nc", "-w", "20", address, "7000"]
        found: list[str] = []

        def answered() -> bool:
            done = subprocess.run(ask, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            found.append(done.stdout)
            return bool(done.stdout)

        wait_until(answered, "an answer by TCP")
        return found[-1]
    finally:
        server.kill()
        server.wait()


def test_a_tap_that_was_made_anew_is_seen_and_plugged_again() -> None:
    with make_bench("ovs") as bench:
        port, target = port_of(1), Target(TargetKind.TAP, "vm0")
        run("ip", "tuntap", "add", "vm0", "mode", "tap")
        bench.plug(port, target)
        assert bench.binder.plugged_ports()["vm0"].connected
        run("ip", "link", "del", "vm0")
        run("ip", "tuntap", "add", "vm0", "mode", "tap")
        assert any("earlier interface vm0" in each for each in bench.check(port, target))
        assert not bench.binder.plugged_ports()["vm0"].connected
        assert bench.binder.mend(port, target, settings(port))
        wait_until(lambda: bench.check(port, target) == (), "the new tap is known to be plugged")
