"""Which steps want a place, and what they want."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.migration.disks import state
from isthmus.migration.machine import DestinationDisk
from isthmus.migration.model import ExecutionType, TaskType
from isthmus.migration.planning.placement import Use, UseKind, Wish
from isthmus.migration.planning.steps import Step, plan
from isthmus.migration.planning.wishes import NEEDS_PLACE, map_bytes, wish_of
from isthmus.migration.planning.work import EndpointRef, Facts, Replica, Work

MIB = 1 << 20
DISKS = tuple(DestinationDisk(f"d{number}", f"v{number}", 64 * MIB, "raw", f"pool{number % 2}") for number in range(3))


def work(kind: ExecutionType) -> Work:
    return Work(
        "e", kind, "t", EndpointRef("1", "libvirt", mapped_regions=("north",)), EndpointRef("2", "images"), ("x",)
    )


def step(kind: ExecutionType, task_type: TaskType) -> tuple[Step, Work]:
    asked = work(kind)
    return next(each for each in plan(asked) if each.task_type is task_type), asked


def test_a_copy_wants_room_for_its_maps_and_counts_on_all_that_it_touches() -> None:
    facts = Facts(Replica(disks=DISKS, copied_by="w"))
    copying, asked = step(ExecutionType.TRANSFER_EXECUTION, TaskType.REPLICATE_DISKS)
    assert wish_of(copying, asked, facts) == Wish(
        near=("north",),
        near_platform="libvirt",
        far=("default",),
        far_platform="images",
        staging_bytes=3 * map_bytes(64 * MIB),
        uses=(
            Use(UseKind.HYPERVISOR, "1"),
            Use(UseKind.HYPERVISOR, "2"),
            Use(UseKind.DATASTORE, "2/pool0"),
            Use(UseKind.DATASTORE, "2/pool1"),
            Use(UseKind.LINK, "north -> default"),
        ),
        home="w",
    )


@pytest.mark.parametrize(
    ("task_type", "near", "subjects"),
    [
        (TaskType.HASH_SOURCE_DISKS, "north", ["1"]),
        (TaskType.COMPARE_DESTINATION_DISKS, "default", ["2", "2/pool0", "2/pool1"]),
    ],
)
def test_a_verification_counts_on_the_side_that_it_reads(task_type: TaskType, near: str, subjects: list[str]) -> None:
    reading, asked = step(ExecutionType.TRANSFER_VERIFICATION, task_type)
    found = wish_of(reading, asked, Facts(Replica(disks=DISKS)))
    assert found is not None
    assert (found.near, found.far, found.staging_bytes) == ((near,), (), 0)
    assert [use.subject for use in found.uses] == subjects


def test_maps_are_tidied_where_they_lie_without_a_place() -> None:
    tidying, asked = step(ExecutionType.TRANSFER_EXECUTION, TaskType.DELETE_TRANSFER_SOURCE_RESOURCES)
    found = wish_of(tidying, asked, Facts(Replica(copied_by="w")))
    assert found is not None
    assert (found.home, found.reserve) == ("w", False)
    assert wish_of(tidying, asked, Facts()) is None


@pytest.mark.parametrize("kind", ExecutionType)
def test_those_that_reserve_are_those_whose_place_is_taken_back(kind: ExecutionType) -> None:
    asked = work(kind)
    for each in plan(asked):
        found = wish_of(each, asked, Facts(Replica(disks=DISKS, copied_by="w")))
        assert (found is not None and found.reserve) == (each.task_type in NEEDS_PLACE)


@given(st.integers(1, 1 << 46))
def test_what_is_reserved_is_what_a_state_file_takes_at_most(size: int) -> None:
    takes = state._length(size)
    assert takes <= map_bytes(size) <= takes + 2 * 8192 + (size >> 30)
