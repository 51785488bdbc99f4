"""Machines and destinations with which a transfer cannot work: what its executions say, and that nothing is left."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.bad_input_world import MIB, World, tasks, why

MADE = {"DEPLOY_TRANSFER_DISKS", "DEPLOY_TRANSFER_TARGET_RESOURCES", "REPLICATE_DISKS"}
SMALL = {"storage_mappings": {"default": "small"}}
OVERCOMMIT = {"destination_environment": {"allow_overcommit": True}}


def _refused_before_the_copy(world: World, transfer: str) -> str:
    """Execute; check that it fails with nothing made, not even for a moment; return what its event says."""
    ended = world.executed(transfer)
    assert ended["status"] == "ERROR"
    assert not MADE & set(tasks(ended, status="COMPLETED") + tasks(ended, status="ERROR"))
    assert world.leftovers() == []
    return why(ended)


def test_a_disk_larger_than_the_free_space_is_refused_before_the_copy(world: World) -> None:
    message = _refused_before_the_copy(world, world.transfer("vast"))
    assert "storage pool 'default'" in message
    assert str(100 << 40)[:4] in message
    assert "free space there, map the disks elsewhere, or set allow_overcommit" in message


def test_a_network_that_is_not_mapped_is_refused_before_the_copy(world: World) -> None:
    message = _refused_before_the_copy(world, world.transfer("talker", network_map={}))
    assert "no destination network for 'default' of talker" in message
    assert "add each to the transfer's network_map" in message


def test_a_network_or_pool_that_the_destination_lacks_is_named_with_those_it_has(world: World) -> None:
    message = _refused_before_the_copy(world, world.transfer("talker", network_map={"default": "moon"}))
    assert "no network 'moon' named in network_map; it has: default" in message
    message = _refused_before_the_copy(world, world.transfer("talker", storage_mappings={"default": "moon"}))
    assert "no storage 'moon'" in message
    assert "it has: default, small" in message


def test_a_shared_disk_is_refused(world: World) -> None:
    message = _refused_before_the_copy(world, world.transfer("shared"))
    assert "machine shared shares disk vda with other machines" in message
    assert "<shareable/>" in message


def test_an_image_that_is_no_image_is_refused_before_the_copy(world: World) -> None:
    message = _refused_before_the_copy(world, world.transfer("broken"))
    assert "disk vda of machine broken is damaged" in message
    assert "is not a qcow2 image; restore it" in message


def test_a_destination_that_fills_up_in_mid_copy_is_cleaned_again(world: World) -> None:
    ended = world.executed(world.transfer("packed", **SMALL, **OVERCOMMIT))
    assert ended["status"] == "ERROR"
    assert tasks(ended, status="ERROR") == ["REPLICATE_DISKS"]
    assert "DELETE_TRANSFER_DISKS" in tasks(ended, status="COMPLETED")
    message = why(ended)
    assert "destination is full: disk vda" in message
    assert "make space in the destination's storage and run the execution again" in message
    assert world.leftovers() == []
    # And the same machine goes where there is room.
    transfer = world.transfer("packed")
    assert world.executed(transfer)["status"] == "COMPLETED"
    world.given_up(transfer)
    assert world.leftovers() == []


def _writer_in_mid_copy(world: World, limit: float = 60) -> int:
    """Wait until some of the disk is written and return the pid of the QEMU that writes it."""
    deadline = time.monotonic() + limit
    while True:
        written = [path for path in world.west.pool_directory.iterdir() if path.stat().st_blocks * 512 > 2 * MIB]
        if written:
            (pid,) = [pid for pid, line in world.west.processes() if "guest=isthmus-writer-" in line]
            return pid
        if time.monotonic() > deadline:
            raise TimeoutError("the copy did not begin")
        time.sleep(0.001)


def _wait_until_canceled(world: World, execution: str, limit: float = 60) -> None:
    """Wait until the copy is given up: had its writer gone on before, it could have been done first."""
    deadline = time.monotonic() + limit
    while "REPLICATE_DISKS" not in tasks(world.user.made("GET", execution)["execution"], status="CANCELED"):
        if time.monotonic() > deadline:
            raise TimeoutError("the copy goes on after its cancel")
        time.sleep(0.05)


def test_a_cancel_in_mid_copy_leaves_nothing_and_the_source_runs(world: World) -> None:
    world.power_on("busy")
    transfer = world.transfer("busy")
    execution = world.execute(transfer)
    writer = _writer_in_mid_copy(world)
    os.kill(writer, signal.SIGSTOP)  # so that it is the middle, however fast the machine
    try:
        shown: dict[str, Any] = world.user.made("GET", execution)["execution"]
        assert "REPLICATE_DISKS" in tasks(shown, status="RUNNING")
        world.user.made("POST", f"{execution}/actions", {"cancel": None})
        assert "under way" in world.user.fault(409, "POST", f"/transfers/{transfer}/executions", {"execution": {}})
        _wait_until_canceled(world, execution)
    finally:
        os.kill(writer, signal.SIGCONT)
    ended = world.user.ended(execution, "execution")
    assert ended["status"] == "CANCELED"
    assert tasks(ended, status="CANCELED")[0] == "REPLICATE_DISKS"
    assert {"DELETE_TRANSFER_SOURCE_RESOURCES", "DELETE_TRANSFER_DISKS"} <= set(tasks(ended, status="COMPLETED"))
    assert world.running("busy")
    assert world.leftovers() == []
    assert "there is nothing to cancel" in world.user.fault(400, "POST", f"{execution}/actions", {"cancel": None})
    world.power_off("busy")
    assert list(Path(world.west.pool_directory).iterdir()) == []
