"""Addresses that a swarm's manager is given: none stays taken that the swarm was never told."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.slow_agent import agent_of
from tests.slow_cloud import SlowCloud, slow_cloud

from isthmus.control.errors import Unavailable
from isthmus.networking.libnetwork.addresses import Addresses
from isthmus.networking.libnetwork.messages import RequestAddress
from isthmus.networking.libnetwork.pool_ids import PoolId
from isthmus.networking.libnetwork.pools import Pools
from isthmus.networking.libnetwork.records import PoolRecord, Records

POOL = str(PoolId("pool", swarm=True))
REQUEST = RequestAddress.model_validate({"PoolID": POOL, "Address": "", "Options": {}})


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        yield made


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(tmp_path / "libnetwork.sqlite")
    made.keep_pool(PoolRecord(POOL, "blue", "net", "sub", 24))
    yield made
    made.close()


def addresses_of(cloud: SlowCloud, directory: Path, records: Records) -> Addresses:
    agent = agent_of(cloud, directory, "manager", call_timeout=1, attach_timeout=1)
    return Addresses(agent, records, Pools(agent, records))


def test_a_port_whose_address_was_told_stays(cloud: SlowCloud, tmp_path: Path, records: Records) -> None:
    addresses = addresses_of(cloud, tmp_path, records)
    assert addresses.request(REQUEST).endswith("/24")
    addresses.delete_untold()
    assert len(cloud.objects["ports"]) == 1
    assert records.unanswered() == {}


def test_a_port_whose_making_was_cut_off_is_deleted(cloud: SlowCloud, tmp_path: Path, records: Records) -> None:
    addresses = addresses_of(cloud, tmp_path, records)
    cloud.delays["/ports"] = 2.0
    with pytest.raises(Unavailable):
        addresses.request(REQUEST)
    (tag,) = records.unanswered()
    while not cloud.objects["ports"]:  # Neutron makes it all the same
        time.sleep(0.05)
    cloud.delays.clear()
    # By the next agent, too, which knows of it from the records alone.
    addresses_of(cloud, tmp_path, records).delete_untold()
    assert cloud.objects["ports"] == []
    assert tag not in records.unanswered()


def test_one_that_is_being_made_is_left_alone(cloud: SlowCloud, tmp_path: Path, records: Records) -> None:
    addresses = addresses_of(cloud, tmp_path, records)
    cloud.delays["/ports"] = 0.5
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(addresses.request, REQUEST)
        while not records.unanswered():
            time.sleep(0.01)
        addresses.delete_untold()
        assert asking.result().endswith("/24")
    addresses.delete_untold()
    assert len(cloud.objects["ports"]) == 1
