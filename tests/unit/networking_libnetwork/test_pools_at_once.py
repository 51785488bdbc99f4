"""Networks without --subnet that are made at the same time, on one host and on two."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.slow_cloud import SlowCloud, slow_cloud

from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, make_parts
from isthmus.networking.attaching.publishing import HostPublishing
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.libnetwork.messages import RequestPool
from isthmus.networking.libnetwork.pools import LOCAL_SPACE, Pools
from isthmus.networking.libnetwork.records import Records
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.store.database import Database


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        made.objects["subnets"].clear()
        yield made


def pools_of(cloud: SlowCloud, directory: Path, host: str) -> Pools:
    directory = directory / host
    directory.mkdir()
    conf = cloud.configuration(directory, "blue", binder="bridge")
    projects = Projects(conf, secret_references(conf))
    limits = Limits(attach=25.0, network_fresh=10.0, warm_ports=0, warm_seconds=900.0)
    parts = make_parts(host, limits, projects, Binders(conf), Database(directory / "agent.sqlite"))
    attachments = HostAttachments(parts, Networks(parts))
    agent = Agent(conf, host, attachments, HostPublishing(parts, conf), projects.neutron, projects.name_of_id)
    projects.neutron("blue")
    return Pools(agent, Records(directory / "libnetwork.sqlite"))


@pytest.mark.parametrize("hosts", [("one",), ("one", "other")])
def test_each_gets_a_block_of_its_own(cloud: SlowCloud, tmp_path: Path, hosts: tuple[str, ...]) -> None:
    pools = [pools_of(cloud, tmp_path, host) for host in hosts]
    cloud.delays["/subnets"] = 0.2
    request = RequestPool.model_validate({"AddressSpace": LOCAL_SPACE, "Pool": "", "Options": {}, "V6": False})

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda number: pools[number % len(pools)].request(request), range(4)))

    assert len({each["Pool"] for each in made}) == 4
    assert len({each["PoolID"] for each in made}) == 4
    assert len(cloud.objects["subnetpools"]) == 4
