"""Floating IPs whose making was cut off: found by the next round, and ended or taken away."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.slow_cloud import PROJECT, SlowCloud, slow_cloud

from isthmus.networking.attaching.parts import Limits, Parts, make_parts
from isthmus.networking.attaching.publishing import HostPublishing
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.model import (
    Attachment,
    FixedIp,
    Key,
    Network,
    Owner,
    Port,
    Protocol,
    PublishedPort,
    Row,
    State,
    Target,
    TargetKind,
    Wish,
)
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.store.database import Database
from isthmus.networking.store.publications import Publication

KEY = Key(Owner.LIBNETWORK, "endpoint")
PORT = Port("port", "p", PROJECT, "net", "fa:16:3e:00:00:01", (FixedIp("sub", ip_address("10.1.0.5")),), "DOWN")
PUBLISHED = PublishedPort(Protocol.TCP, 80, 80)
ADDRESS = ip_address("192.0.2.9")


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        made.objects["networks"].append({"id": "ext", "name": "outside", "project_id": "x", "router:external": True})
        made.objects["extensions"] = []
        made.objects["floatingips"] = []
        yield made


@pytest.fixture
def parts(cloud: SlowCloud, tmp_path: Path) -> Iterator[Parts]:
    conf = cloud.configuration(tmp_path, "blue", binder="bridge", external_network="outside")
    limits = Limits(attach=25.0, network_fresh=10.0, warm_ports=0, warm_seconds=900.0)
    database = Database(tmp_path / "agent.sqlite")
    made = make_parts("here", limits, Projects(conf, secret_references(conf)), Binders(conf), database)
    made.attachments.insert(Row(Attachment(Wish(KEY, "net"), State.RESERVING), "blue", "bridge"))
    made.attachments.set_port(KEY, PORT, Network("net", "blue", PROJECT, 1400), labelled=True)
    made.attachments.aim(KEY, Target(TargetKind.ENGINE))
    made.attachments.plugged(KEY, "tap", "eth0")
    yield made
    database.close()


@pytest.fixture
def publishing(cloud: SlowCloud, parts: Parts, tmp_path: Path) -> HostPublishing:
    return HostPublishing(parts, cloud.configuration(tmp_path, "blue", binder="bridge", external_network="outside"))


def pend(parts: Parts) -> None:
    parts.publications.replace(KEY, [Publication(KEY, PUBLISHED, "pending")])


def test_one_that_was_made_and_not_tied_to_its_port_is(
    cloud: SlowCloud, parts: Parts, publishing: HostPublishing
) -> None:
    pend(parts)
    made = {"id": "fip", "project_id": PROJECT, "description": f"isthmus here {KEY.owner} {KEY.id}"}
    cloud.objects["floatingips"].append({**made, "floating_ip_address": str(ADDRESS), "port_id": None})

    publishing.restore()

    assert [each["port_id"] for each in cloud.objects["floatingips"]] == [PORT.id]
    assert [each.host_address for each in publishing.published(KEY)] == [ADDRESS]
    asked = len(cloud.asked)
    publishing.restore()
    assert len(cloud.asked) == asked  # what is done costs no call


def test_one_that_cannot_be_ended_now_stays_pending(cloud: SlowCloud, parts: Parts, publishing: HostPublishing) -> None:
    pend(parts)
    cloud.objects["networks"].clear()
    publishing.restore()
    assert [each.far for each in parts.publications.list_all()] == ["pending"]


def test_one_of_an_attachment_that_is_gone_is_deleted(
    cloud: SlowCloud, parts: Parts, publishing: HostPublishing
) -> None:
    parts.publications.replace(KEY, [Publication(KEY, PUBLISHED, "fip")])
    cloud.objects["floatingips"].append({"id": "fip", "project_id": PROJECT})
    parts.attachments.delete(KEY)

    publishing.restore()

    assert cloud.objects["floatingips"] == []
    assert parts.publications.list_all() == ()
