"""Where disks and NICs go."""

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import Disk, Firmware, Machine, Network, Nic, PowerState, StorageBackend
from isthmus.migration.planning.mapping import check_isolated, map_disks, map_nics

MACHINE = Machine(
    id="m",
    name="m",
    num_cpu=1,
    memory_mb=64,
    firmware=Firmware.BIOS,
    power_state=PowerState.OFF,
    disks=(
        Disk("vda", 1, "raw", "fast", "virtio", can_track_changes=True),
        Disk("vdb", 1, "raw", "slow", "virtio", can_track_changes=True),
    ),
    nics=(Nic("n0", "aa", "lan"), Nic("n1", "bb", "wan")),
)
BACKENDS = [StorageBackend("a", "a"), StorageBackend("b", "b"), StorageBackend("c", "c")]
NETWORKS = [Network("id1", "one"), Network("id2", "two")]


def places(mappings: dict[str, object], default: str | None = None) -> list[str]:
    return [each.destination_storage for each in map_disks(MACHINE, mappings, BACKENDS, default)]


def test_the_nearest_word_wins() -> None:
    mappings: dict[str, object] = {
        "default": "a",
        "backend_mappings": [{"source": "slow", "destination": "b"}],
        "disk_mappings": [{"disk_id": "vda", "destination": "c"}],
    }
    assert places(mappings) == ["c", "b"]


def test_the_destinations_default_comes_last() -> None:
    assert places({}, "c") == ["c", "c"]
    assert places({"default": "a"}, "c") == ["a", "a"]


def test_a_disk_without_a_place_is_named() -> None:
    with pytest.raises(InvalidInput, match="vda"):
        places({})


def test_a_storage_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match=r"no storage 'z'.*a, b, c"):
        places({"default": "z"})


def test_networks_are_found_by_id_or_name() -> None:
    mapped = map_nics(MACHINE, {"lan": "one", "wan": "id2"}, NETWORKS)
    assert [each.destination_network for each in mapped] == ["one", "id2"]


def test_every_unmapped_network_is_named() -> None:
    with pytest.raises(InvalidInput, match="'lan', 'wan'"):
        map_nics(MACHINE, {}, NETWORKS)


def test_a_network_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInput, match="no network 'three'"):
        map_nics(MACHINE, {"lan": "three", "wan": "one"}, NETWORKS)


@pytest.mark.parametrize(("test", "used"), [("one", "one"), ("one", "id1"), ("id1", "one"), ("id1", "id1")])
def test_a_tests_network_is_refused_by_whichever_of_its_names_the_transfer_leads_there(test: str, used: str) -> None:
    with pytest.raises(InvalidInput, match=f"{test} is where"):
        check_isolated(test, {"wan": "two", "lan": used}, NETWORKS)
    check_isolated("two", {"lan": used}, NETWORKS)


def test_a_tests_network_is_refused_if_it_may_be_one_of_several_with_its_name() -> None:
    with pytest.raises(InvalidInput, match="one is where"):
        check_isolated("one", {"lan": "id3"}, [*NETWORKS, Network("id3", "one")])
