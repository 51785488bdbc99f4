"""What `test_coriolis_client` leaves out of the real client: each further command once, on clouds of images.

The client takes an empty object for none given, so something stands in each.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.functional.api.test_coriolis_client import Coriolis, _wait, coriolis
from tests.image_packages import make_site

__all__ = ["coriolis"]

pytestmark = pytest.mark.nightly

MIB = 1 << 20
NETWORKS = '{"lan": "lan"}'
ENVIRONMENTS = ("--destination-environment", '{"disk_bus": "sata"}', "--source-environment", '{"num_cpu": 2}')


@pytest.fixture
def operator(environment_of: Callable[[str], dict[str, str]]) -> Coriolis:
    return Coriolis(environment_of("admin"))


@pytest.fixture
def shelves(coriolis: Coriolis, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two directories of images as endpoints; in the first is a machine `web`."""
    sites = [make_site(tmp_path / side) for side in ("from", "to")]
    image = Path(sites[0]["path"]) / "web.raw"
    image.write_bytes(os.urandom(2 * MIB))
    os.truncate(image, 8 * MIB)
    create = ("endpoint", "create", "--provider", "images", "--connection")
    made = [coriolis.table(*create, json.dumps(site), "--name", f"shelf-{uuid.uuid4()}")["id"] for site in sites]
    yield made[0], made[1]
    for each in made:
        _wait(partial(_deleted, coriolis, each))


def _deleted(coriolis: Coriolis, endpoint: str) -> bool:
    return coriolis.run("endpoint", "delete", endpoint).returncode == 0


@pytest.fixture
def transfer(coriolis: Coriolis, shelves: tuple[str, str]) -> Iterator[str]:
    ends = ("--origin-endpoint", shelves[0], "--destination-endpoint", shelves[1])
    words = ("transfer", "create", *ends, "--instance", "web", "--network-map", NETWORKS, "--scenario", "replica")
    made = coriolis.table(*words, *ENVIRONMENTS)["id"]
    yield made
    coriolis.do("transfer", "delete", made)


def test_an_endpoint_is_looked_through(coriolis: Coriolis, shelves: tuple[str, str], tmp_path: Path) -> None:
    origin, destination = shelves
    coriolis.do("endpoint", "validate", "connection", origin)
    (machine,) = coriolis.table("endpoint", "instance", "list", origin)
    shown = coriolis.table("endpoint", "instance", "show", origin, machine["ID"])
    assert "web" in json.dumps(shown)
    assert coriolis.table("endpoint", "network", "list", destination) is not None
    assert coriolis.table("endpoint", "storage", "list", destination)
    for kind in ("source", "destination"):
        coriolis.table("endpoint", kind, "options", "list", origin if kind == "source" else destination)
        coriolis.table("endpoint", kind, "minion", "pool", "options", "list", origin)
    inventory = tmp_path / "inventory.csv"
    coriolis.do("endpoint", "export", "inventory", origin, "--output-file", str(inventory))
    assert "web" in inventory.read_text()
    coriolis.do("endpoint", "update", origin, "--description", "a shelf")
    assert coriolis.table("endpoint", "show", origin)["description"] == "a shelf"


def test_a_transfer_is_executed_changed_and_its_disks_deleted(coriolis: Coriolis, transfer: str) -> None:
    run = coriolis.table("transfer", "execute", transfer)["id"]
    _wait(lambda: coriolis.table("transfer", "execution", "show", transfer, run)["status"] == "COMPLETED")
    update = coriolis.table("transfer", "update", transfer, "--notes", "renamed", "--skip-os-morphing")["id"]
    _wait(lambda: coriolis.table("transfer", "execution", "show", transfer, update)["status"] == "COMPLETED")
    assert coriolis.table("transfer", "show", transfer)["notes"] == "renamed"
    removal = coriolis.table("transfer", "disks", "delete", transfer)["id"]
    _wait(lambda: coriolis.table("transfer", "execution", "show", transfer, removal)["status"] == "COMPLETED")


def test_schedules(coriolis: Coriolis, transfer: str) -> None:
    made = coriolis.table("transfer", "schedule", "create", "-M", "0", "-H", "3", "--disabled", transfer)["id"]
    assert [each["ID"] for each in coriolis.table("transfer", "schedule", "list", transfer)] == [made]
    coriolis.do("transfer", "schedule", "update", "-H", "4", "--enabled", "--no-expiration-date", transfer, made)
    assert "4" in json.dumps(coriolis.table("transfer", "schedule", "show", transfer, made))
    coriolis.do("transfer", "schedule", "delete", transfer, made)
    assert coriolis.table("transfer", "schedule", "list", transfer) == []


def test_minion_pools(coriolis: Coriolis, shelves: tuple[str, str]) -> None:
    kind = (
        "--os-type",
        "linux",
        "--platform",
        "source",
        "--endpoint-id",
        shelves[0],
        "--environment-options",
        '{"a": 1}',
    )
    made = coriolis.table("minion", "pool", "create", *kind, "--maximum-minions", "2", "--skip-allocation", "p")["ID"]
    assert made in [each["ID"] for each in coriolis.table("minion", "pool", "list")]
    coriolis.do("minion", "pool", "update", made, "--maximum-minions", "3")
    coriolis.do("minion", "pool", "allocate", made)
    _wait(lambda: "ALLOCATED" in json.dumps(coriolis.table("minion", "pool", "show", made)))
    coriolis.do("minion", "pool", "refresh", made)
    _wait(lambda: coriolis.run("minion", "pool", "deallocate", made).returncode == 0)
    _wait(lambda: coriolis.run("minion", "pool", "delete", made).returncode == 0)


def test_an_operators_regions_services_and_diagnostics(operator: Coriolis) -> None:
    region = operator.table("region", "create", "--description", "north", f"r-{uuid.uuid4().hex[:8]}")["ID"]
    operator.do("region", "update", region, "--description", "south")
    assert operator.table("region", "show", region)["Description"] == "south"
    assert region in json.dumps(operator.table("region", "list"))
    operator.do("region", "delete", region)
    (service, *_) = operator.table("service", "list")
    assert operator.table("service", "show", service["ID"])
    assert operator.table("diagnostics", "get")
