"""What is mended, from what is written down and what is there."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from isthmus.networking.model import (
    Attachment,
    Fate,
    FixedIp,
    Key,
    Owner,
    Port,
    Row,
    SparePort,
    State,
    Target,
    TargetKind,
    Wish,
)
from isthmus.networking.planning.repairs import Interface, Observed, RepairKind, plan_repairs

PORT = Port("0123456789ab-port", "", "p", "n", "fa:16:3e:00:00:01", (FixedIp("s", ip_address("10.0.0.5")),), "ACTIVE")
KEY = Key(Owner.CNI, "net/c1/eth0")


def row(state: State = State.PLUGGED, **changes: Any) -> Row:
    target = Target(TargetKind.NETNS, "eth0", "/run/netns/c1")
    found = Attachment(Wish(KEY, "n"), state, PORT, target=target, far_interface="tap0123456789a")
    return Row(replace(found, **changes), "p", "ovs", labelled=True)


def seen(*ports: Port, interfaces: tuple[Interface, ...] | None = (), **more: Any) -> Observed:
    return Observed({"p": {port.id: port for port in ports}}, {"ovs": interfaces}, **more)


def interface(port_id: str = PORT.id, *, in_use: bool = True, connected: bool = True) -> Interface:
    return Interface("ovs", "tap" + port_id[:11], port_id, in_use, connected)


def kinds(*arguments: Any) -> list[RepairKind]:
    return [repair.kind for repair in plan_repairs(*arguments)]


def test_what_is_as_it_should_be_is_left_alone() -> None:
    warm = SparePort(replace(PORT, id="warm"), Fate.WARM, "pool", "p", "ovs", prepared=True)
    observed = seen(PORT, warm.port, interfaces=(interface(), interface("warm", in_use=False)))
    assert kinds([row()], [warm], observed) == []


def test_each_half_state_is_finished_or_undone() -> None:
    expected = {
        State.RESERVING: RepairKind.FORGET,
        State.PLUGGING: RepairKind.UNDO_PLUG,
        State.UNPLUGGING: RepairKind.UNDO_PLUG,
        State.RELEASING: RepairKind.FINISH_RELEASE,
    }
    for state, kind in expected.items():
        assert kinds([row(state)], [], seen(PORT, interfaces=(interface(),))) == [kind]


def test_a_key_in_motion_is_left_alone() -> None:
    observed = seen(PORT, interfaces=(interface(),), settling_keys={KEY})
    assert kinds([row(State.PLUGGING)], [], observed) == []


def test_a_lost_connection_is_mended() -> None:
    for there in ((), (interface(connected=False),), (interface(in_use=False),)):
        assert kinds([row()], [], seen(PORT, interfaces=there)) == [RepairKind.MEND]


def test_an_engines_interface_may_still_be_on_its_way() -> None:
    waiting = row(target=Target(TargetKind.ENGINE))
    assert kinds([waiting], [], seen(PORT, interfaces=(interface(in_use=False),))) == []


def test_a_port_that_somebody_deleted_is_told_once() -> None:
    (repair,) = plan_repairs([row()], [], seen(interfaces=(interface(),)))
    assert repair.kind is RepairKind.MARK
    assert PORT.id in repair.why
    assert kinds([row(problem=repair.why)], [], seen(interfaces=(interface(),))) == []
    assert kinds([row(problem=repair.why)], [], seen(PORT, interfaces=(interface(),))) == [RepairKind.UNMARK]


def test_strays_and_orphans_go() -> None:
    stray = interface("feedfeedfee-stray", in_use=False)
    orphan = replace(PORT, id="orphan")
    found = plan_repairs([row()], [], seen(PORT, orphan, interfaces=(interface(), stray)))
    assert {(repair.kind, repair.port_id) for repair in found} == {
        (RepairKind.REMOVE_STRAY, "feedfeedfee-stray"),
        (RepairKind.DELETE_ORPHAN, "orphan"),
    }


def test_a_port_just_being_made_is_no_orphan() -> None:
    young = replace(PORT, tags=frozenset({"isthmus.try:1"}))
    assert kinds([], [], seen(young, settling_tags={"isthmus.try:1"})) == []
    assert kinds([], [], seen(young)) == [RepairKind.DELETE_ORPHAN]


def test_a_lost_store_costs_no_running_container_its_network() -> None:
    assert kinds([], [], seen(PORT, interfaces=(interface(),))) == []
    assert kinds([], [], seen(PORT, interfaces=(interface(PORT.id[:11]),))) == []


def test_a_port_that_a_parent_carries_may_be_in_a_container_that_nobody_sees() -> None:
    orphan = replace(PORT, id="orphan")
    (repair,) = plan_repairs([], [], seen(PORT, orphan, blind={"ovs"}, carried={PORT.id}))
    assert (repair.kind, repair.port_id) == (RepairKind.DELETE_ORPHAN, "orphan")
    assert kinds([], [], seen(PORT, orphan, blind={"ovs"}, carried=None)) == []


def test_what_was_not_observed_is_not_judged() -> None:
    assert kinds([row()], [], seen(PORT, interfaces=None)) == []
    assert kinds([row()], [], Observed({"p": None}, {"ovs": (interface(),)})) == []
    assert kinds([], [], Observed({"p": {PORT.id: PORT}}, {"ovs": None})) == []


def test_warm_ports_are_compared_too() -> None:
    warm = SparePort(PORT, Fate.WARM, "pool", "p", "ovs", prepared=True)
    assert kinds([], [warm], seen()) == [RepairKind.FORGET_SPARE]
    assert kinds([], [warm], seen(PORT)) == [RepairKind.PREPARE_AGAIN]
    assert kinds([], [replace(warm, prepared=False)], seen(PORT)) == []
    assert kinds([], [replace(warm, fate=Fate.DOOMED)], seen()) == []


def test_lost_limits_of_bandwidth_are_given_back_once_the_interface_is_connected() -> None:
    assert kinds([row()], [], seen(PORT, interfaces=(interface(),), unlimited=[KEY])) == [RepairKind.LIMIT]
    broken = seen(PORT, interfaces=(interface(connected=False),), unlimited=[KEY])
    assert kinds([row()], [], broken) == [RepairKind.MEND]
