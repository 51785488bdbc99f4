"""Networks without --subnet that are made at the same time, on one host and on two."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.slow_agent import agent_of
from tests.slow_cloud import SlowCloud, slow_cloud

from isthmus.networking.libnetwork.messages import RequestPool
from isthmus.networking.libnetwork.pools import LOCAL_SPACE, Pools
from isthmus.networking.libnetwork.records import Records


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        made.objects["subnets"].clear()
        yield made


def pools_of(cloud: SlowCloud, directory: Path, host: str) -> Pools:
    directory = directory / host
    directory.mkdir()
    agent = agent_of(cloud, directory, host)
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
