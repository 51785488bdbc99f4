"""Guests that cannot be changed or do not come up: the deployment says why and is rolled back, the replica stays."""

from typing import Any

from lab.bad_guests import LAST_WORDS
from tests.bad_input_world import World, tasks, why

PROBE = {"type": "console", "marker": "login:", "timeout_seconds": 4}


def _replicated(world: World, instance: str, **changes: Any) -> str:
    """Return a transfer with a complete replica."""
    transfer = world.transfer(instance, **changes)
    ended = world.executed(transfer)
    assert ended["status"] == "COMPLETED", ended
    return transfer


def _rolled_back(world: World, deployment: dict[str, Any], at: str) -> str:
    """Check that a deployment failed at a step and gave back all it made; return what its event says."""
    assert deployment["last_execution_status"] == "ERROR"
    assert tasks(deployment, status="ERROR") == [at]
    assert "CLEANUP_FAILED_INSTANCE_DEPLOYMENT" in tasks(deployment, status="COMPLETED")
    made = [each for each in world.leftovers_now() if deployment["id"] in each or "domain" in each or "socket" in each]
    assert made == []
    return why(deployment)


def test_an_unsupported_guest_os_is_named_with_the_way_on(world: World) -> None:
    transfer = _replicated(world, "alpine")
    message = _rolled_back(world, world.deployed(transfer), "OS_MORPHING")
    assert "Alpine Linux v3.20" in message
    assert "skip_os_morphing" in message
    # The way on is one.
    deployment = world.deployed(transfer, skip_os_morphing=True)
    assert deployment["last_execution_status"] == "COMPLETED"
    world.given_up(transfer)
    world.remove_from_west("alpine")
    assert world.leftovers() == []


def test_a_guest_without_any_os_is_told_so(world: World) -> None:
    transfer = _replicated(world, "talker")
    message = _rolled_back(world, world.deployed(transfer), "OS_MORPHING")
    assert "the machine's disks hold no file system" in message
    assert "skip_os_morphing" in message
    world.given_up(transfer)
    assert world.leftovers() == []


def test_a_corrupt_guest_image_is_told_as_damaged(world: World) -> None:
    transfer = _replicated(world, "smashed")
    message = _rolled_back(world, world.deployed(transfer), "OS_MORPHING")
    assert "no file system that can be read here; one that should be there is damaged" in message
    assert "repair it at the source" in message
    world.given_up(transfer)
    assert world.leftovers() == []


def test_a_failing_user_script_is_shown_with_what_it_said(world: World) -> None:
    transfer = _replicated(world, "debian")
    script = "#!/bin/sh\necho the licence server is away >&2\nexit 7\n"
    scripts = {"instances": {"debian": script}}
    message = _rolled_back(world, world.deployed(transfer, user_scripts=scripts), "OS_MORPHING")
    assert "the licence server is away" in message
    assert "7" in message
    world.given_up(transfer)
    assert world.leftovers() == []


def test_a_machine_that_does_not_come_up_is_rolled_back_and_its_source_runs_again(world: World) -> None:
    world.power_on("talker")
    transfer = world.transfer(
        "talker",
        source_environment={"shutdown_timeout": 1, "force_shutdown": True},
        destination_environment={"boot_probe": PROBE},
    )
    ended = world.executed(transfer, shutdown_instances=True)
    assert ended["status"] == "COMPLETED", ended
    assert not world.running("talker")

    message = _rolled_back(world, world.deployed(transfer, skip_os_morphing=True), "VERIFY_INSTANCE_BOOT")
    assert "did not pass its boot probe (console)" in message
    assert LAST_WORDS in message
    assert "correct the guest or the probe, and deploy again" in message
    assert world.running("talker")

    world.given_up(transfer)
    world.power_off("talker")
    assert world.leftovers() == []
