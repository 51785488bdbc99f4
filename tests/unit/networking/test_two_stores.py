"""Two hosts' agents, each with a store of its own, on one Neutron network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.slow_cloud import PROJECT, SlowCloud, slow_cloud

from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, make_parts
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.model import Key, Owner, Wish
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.planning.wishes import WARM_NAME
from isthmus.networking.store.database import Database


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        yield made


def host(cloud: SlowCloud, directory: Path, name: str) -> HostAttachments:
    directory = directory / name
    directory.mkdir()
    conf = cloud.configuration(directory, "blue", binder="bridge")
    limits = Limits(attach=25.0, network_fresh=10.0, warm_ports=2, warm_seconds=900.0)
    projects = Projects(conf, secret_references(conf))
    parts = make_parts(name, limits, projects, Binders(conf), Database(directory / "agent.sqlite"))
    return HostAttachments(parts, Networks(parts))


def add_port(cloud: SlowCloud, port: str, owner: str, **facts: Any) -> None:
    cloud.objects["ports"].append(
        {
            "id": port,
            "name": WARM_NAME,
            "project_id": PROJECT,
            "network_id": "net",
            "mac_address": "fa:16:3e:00:00:01",
            "device_owner": "compute:kuryr",
            "device_id": "",
            "tags": [f"isthmus.host:{owner}"],
            **facts,
        }
    )


def ports(cloud: SlowCloud) -> set[str]:
    return {each["id"] for each in cloud.objects["ports"]}


def test_a_host_that_forgets_a_network_deletes_its_own_warm_ports_alone(cloud: SlowCloud, tmp_path: Path) -> None:
    first, second = (host(cloud, tmp_path, name) for name in ("first", "second"))
    for name in ("first", "second"):
        add_port(cloud, f"warm-of-{name}", name)
    # Its label is not written yet: in Neutron it looks like a warm one.
    used = second.reserve(Wish(Key(Owner.HOST, "tap/one"), "net")).port
    assert used is not None
    next(each for each in cloud.objects["ports"] if each["id"] == used.id).update(name=WARM_NAME, device_id="")

    first.forget_network("net", None)
    assert ports(cloud) == {"warm-of-second", used.id}

    second.forget_network("net", None)
    assert ports(cloud) == {used.id}


def test_a_network_that_is_about_to_be_deleted_is_emptied_of_all_hosts_warm_ports(
    cloud: SlowCloud, tmp_path: Path
) -> None:
    first = host(cloud, tmp_path, "first")
    for name in ("first", "second"):
        add_port(cloud, f"warm-of-{name}", name)
    add_port(cloud, "dhcp", "", name="", device_owner="network:dhcp", device_id="dhcp-net")

    first.empty_network("net", None)

    assert ports(cloud) == {"dhcp"}


def test_a_network_that_something_is_on_keeps_other_hosts_warm_ports(cloud: SlowCloud, tmp_path: Path) -> None:
    first = host(cloud, tmp_path, "first")
    for name in ("first", "second"):
        add_port(cloud, f"warm-of-{name}", name)
    add_port(cloud, "machine", "second", name="machine", device_id="vm")

    first.empty_network("net", None)

    assert ports(cloud) == {"warm-of-second", "machine"}
