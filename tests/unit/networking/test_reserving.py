"""A key that is attached already, and a port that had an owner before: what the next one gets."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.slow_cloud import NETWORK, PROJECT, SUBNET, SlowCloud, slow_cloud

from isthmus.control.errors import Conflict, NotFound, Unavailable
from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.chores import Chores
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, Parts, make_parts
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.model import (
    Attachment,
    Fate,
    FixedIp,
    Key,
    Network,
    Owner,
    Port,
    Row,
    State,
    Subnet,
    Wish,
)
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.store.database import Database

KEY = Key(Owner.HOST, "netns/run/netns/c1/eth0")
WISH = Wish(KEY, "net", security_groups=("one", "other"), qos_policy="gold", binder="bridge")
FACTS = Network("net", "blue", PROJECT, 1400, (Subnet("sub", "", PROJECT, "net", ip_network("10.1.0.0/24"), None),))
PORT = Port("port", "p", PROJECT, "net", "fa:16:3e:00:00:01", (FixedIp("sub", ip_address("10.1.0.5")),), "DOWN")


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        made.objects["networks"].append({**NETWORK, "id": "net2", "name": "red"})
        made.objects["subnets"].append({**SUBNET, "id": "sub2", "network_id": "net2"})
        yield made


@pytest.fixture
def parts(cloud: SlowCloud, tmp_path: Path) -> Iterator[Parts]:
    conf = cloud.configuration(tmp_path, "blue", "green", binder="bridge")
    limits = Limits(attach=25.0, network_fresh=10.0, warm_ports=2, warm_seconds=900.0)
    projects = Projects(conf, secret_references(conf))
    database = Database(tmp_path / "agent.sqlite")
    yield make_parts("here", limits, projects, Binders(conf), database)
    database.close()


@pytest.fixture
def attachments(parts: Parts) -> HostAttachments:
    return HostAttachments(parts, Networks(parts))


def hold(parts: Parts, wish: Wish) -> None:
    """Have a wish attached already."""
    parts.attachments.insert(Row(Attachment(wish, State.RESERVING), parts.projects.name_of(wish.project), "bridge"))
    parts.attachments.set_port(wish.key, PORT, FACTS, labelled=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"network_id": "red"}, "network net"),
        ({"network_id": "net2"}, "network net"),
        ({"project": "green"}, "project blue"),
        ({"security_groups": None}, "security groups"),
        ({"security_groups": ("one",)}, "security groups"),
        ({"qos_policy": "silver"}, "QoS policy"),
        ({"qos_policy": None}, "QoS policy"),
        ({"binder": "ovs"}, "binder bridge"),
    ],
)
def test_another_wish_for_the_same_place_is_a_conflict(
    attachments: HostAttachments, parts: Parts, changed: dict[str, Any], said: str
) -> None:
    hold(parts, WISH)
    with pytest.raises(Conflict, match=said):
        attachments.reserve(replace(WISH, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"network_id": "blue"},
        {"project": "blue"},
        {"security_groups": ("other", "one")},
        {"binder": None},
    ],
)
def test_the_same_wish_in_other_words_is_the_same_attachment(
    attachments: HostAttachments, parts: Parts, changed: dict[str, Any]
) -> None:
    hold(parts, WISH)
    assert attachments.reserve(replace(WISH, **changed)).port == PORT


def filled(parts: Parts, cloud: SlowCloud, wish: Wish) -> HostAttachments:
    """Return the attachments, with two warm ports for a wish."""
    networks = Networks(parts)
    attachments = HostAttachments(parts, networks)
    attachments.warm_up(wish.network_id, wish.project)
    do_chores(parts)
    assert sum(parts.spares.count_warm().values()) == 2
    return attachments


def do_chores(parts: Parts, *names: str) -> None:
    """Do some chores, or all that need no interface on this host: a port is right or wrong without."""
    chores = Chores(parts, Networks(parts))
    for name in names or ("label", "clean", "fill"):
        assert getattr(chores, f"_{name}")()


def change(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda port: port.update({name: value})


@pytest.mark.parametrize(
    "meddle",
    [
        change("security_groups", ["group", "wide-open"]),
        change("qos_policy_id", "slow"),
        change("allowed_address_pairs", [{"ip_address": "10.1.0.9", "mac_address": "fa:16:3e:00:00:09"}]),
        change("port_security_enabled", False),
        change("admin_state_up", False),
    ],
)
def test_a_port_that_somebody_changed_goes_to_nobody_else(
    parts: Parts, cloud: SlowCloud, meddle: Callable[[dict[str, Any]], None]
) -> None:
    wish = Wish(KEY, "net")
    attachments = filled(parts, cloud, wish)
    used = attachments.reserve(wish).port
    assert used is not None
    do_chores(parts, "label")
    meddle(next(each for each in cloud.objects["ports"] if each["id"] == used.id))
    attachments.release(KEY)
    assert used.id in {spare.port.id for spare in parts.spares.list_all(Fate.WARM)}

    # Not before Neutron was asked what it is like by now, nor after.
    for number in range(4):
        other = attachments.reserve(replace(wish, key=replace(KEY, id=str(number)))).port
        assert other is not None
        assert other.id != used.id
        do_chores(parts)


def test_no_warm_ports_are_made_with_another_projects_group(parts: Parts, cloud: SlowCloud) -> None:
    cloud.objects["security-groups"].append({"id": "foreign", "name": "foreign", "project_id": "another"})
    wish = Wish(KEY, "net", security_groups=("foreign",))
    attachments = HostAttachments(parts, Networks(parts))
    with pytest.raises(NotFound, match="foreign"):
        attachments.reserve(wish)

    Chores(parts, Networks(parts)).do_round()

    assert cloud.objects["ports"] == []


def test_warm_ports_that_were_on_their_way_when_their_network_was_let_go_are_deleted(
    parts: Parts, cloud: SlowCloud
) -> None:
    attachments = HostAttachments(parts, Networks(parts))
    attachments.warm_up("net", None)
    cloud.delays["/ports"] = 1.0
    with ThreadPoolExecutor(1) as threads:
        filling = threads.submit(do_chores, parts, "fill")
        while not any(each == "POST /v2.0/ports" for each in cloud.asked):
            time.sleep(0.01)
        attachments.cool_down("net")
        filling.result()

    assert [spare.fate for spare in parts.spares.list_all()] == [Fate.DOOMED] * 2


def test_a_port_that_nobody_changed_is_given_out_again(parts: Parts, cloud: SlowCloud) -> None:
    wish = Wish(KEY, "net")
    attachments = filled(parts, cloud, wish)
    used = attachments.reserve(wish).port
    assert used is not None
    do_chores(parts, "label")
    attachments.release(KEY)
    do_chores(parts, "clean")

    given = [attachments.reserve(replace(wish, key=replace(KEY, id=str(number)))).port for number in range(2)]

    assert used.id in {port.id for port in given if port}


def drained(parts: Parts, cloud: SlowCloud) -> tuple[HostAttachments, Port]:
    """Return attachments whose pool has but one port, given back a moment ago, which Neutron has a user's label of."""
    attachments = filled(parts, cloud, Wish(KEY, "net"))
    for number in range(2):
        attachments.reserve(Wish(replace(KEY, id=f"first-{number}"), "net"))
    do_chores(parts, "label")
    used = attachments.reserve(Wish(replace(KEY, id="first-0"), "net")).port
    assert used is not None
    attachments.release(replace(KEY, id="first-0"))
    cloud.asked.clear()
    return attachments, used


def test_a_port_given_back_a_moment_ago_is_looked_over_and_given_out(parts: Parts, cloud: SlowCloud) -> None:
    attachments, used = drained(parts, cloud)

    given = attachments.reserve(Wish(KEY, "net"))

    assert given.port is not None
    assert (given.port.id, given.state) == (used.id, State.RESERVED)
    assert cloud.asked == [f"PUT /v2.0/ports/{used.id}"]
    assert attachments.reserve(Wish(KEY, "net")).port == given.port
    do_chores(parts, "label")
    (port,) = (each for each in cloud.objects["ports"] if each["id"] == used.id)
    assert port["device_id"] == KEY.id


def test_one_that_somebody_changed_is_not_but_deleted(parts: Parts, cloud: SlowCloud) -> None:
    attachments, used = drained(parts, cloud)
    next(each for each in cloud.objects["ports"] if each["id"] == used.id)["security_groups"] = ["wide-open"]

    given = attachments.reserve(Wish(KEY, "net")).port

    assert given is not None
    assert given.id != used.id
    assert [spare.port.id for spare in parts.spares.list_all(Fate.DOOMED)] == [used.id]


def test_one_that_cannot_be_looked_over_stays_as_it_was(parts: Parts, cloud: SlowCloud) -> None:
    attachments, used = drained(parts, cloud)
    cloud.delays[f"/ports/{used.id}"] = 5.0

    with pytest.raises(Unavailable):
        attachments.reserve(Wish(KEY, "net"), time.monotonic() + 1)

    assert attachments.find(KEY) is None
    (spare,) = parts.spares.list_all()
    assert (spare.port.id, spare.fate, spare.labelled) == (used.id, Fate.WARM, True)


def test_one_that_the_chores_have_looked_over_is_given_out_without_a_word(parts: Parts, cloud: SlowCloud) -> None:
    attachments, used = drained(parts, cloud)
    do_chores(parts, "look_over")
    assert cloud.asked == ["GET /v2.0/ports"]

    given = attachments.reserve(Wish(KEY, "net")).port

    assert given is not None
    assert given.id == used.id
    assert cloud.asked == ["GET /v2.0/ports"]
    # Its next user's time is not covered by that.
    do_chores(parts, "label")
    attachments.release(KEY)
    next(each for each in cloud.objects["ports"] if each["id"] == used.id)["security_groups"] = ["wide-open"]
    other = attachments.reserve(Wish(KEY, "net")).port
    assert other is not None
    assert other.id != used.id


def test_what_was_taken_while_neutron_was_asked_is_not_looked_over(parts: Parts, cloud: SlowCloud) -> None:
    attachments, used = drained(parts, cloud)
    cloud.delays["/ports"] = 0.5
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(do_chores, parts, "look_over")
        while not cloud.asked:
            time.sleep(0.01)
        cloud.delays.clear()
        assert attachments.reserve(Wish(KEY, "net")).port is not None
        attachments.release(KEY)
        asking.result()

    assert not parts.looked_over.knows(used.id)


def test_one_that_somebody_changed_is_not_looked_over(parts: Parts, cloud: SlowCloud) -> None:
    _, used = drained(parts, cloud)
    next(each for each in cloud.objects["ports"] if each["id"] == used.id)["security_groups"] = ["wide-open"]
    do_chores(parts, "look_over")
    assert not parts.looked_over.knows(used.id)
