"""The main job, whole: a running Debian machine that is tied to its cloud arrives in another as the same machine."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import debian_guest
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.crossing import BOOT_SECONDS, GUEST, cross, define_guest, register
from lab.demo import WEST_MACHINES


@pytest.fixture
def clouds() -> Iterator[tuple[LibvirtCloud, LibvirtCloud]]:
    with tempfile.TemporaryDirectory(prefix="isthmus-") as directory:
        east, west = (LibvirtCloud(name, Path(directory) / name) for name in ("east", "west"))
        with east, west:
            yield east, west


@pytest.mark.timeout(1800)
def test_a_running_machine_crosses_is_morphed_boots_and_has_lost_nothing(
    clouds: tuple[LibvirtCloud, LibvirtCloud], environment_of: Callable[[str], dict[str, str]]
) -> None:
    east, west = clouds
    define_guest(east, debian_guest.cached_image())
    demo = environment_of("demo")
    with Console(east, GUEST) as console:
        names = {cloud.name: f"{cloud.name}-{os.getpid()}" for cloud in clouds}
        register(demo, names["east"], east)
        register(demo, names["west"], west)
        console.wait_for("GUEST-UP", BOOT_SECONDS)

    crossing = cross(
        demo,
        machine=GUEST,
        source=(names["east"], east),
        destination=names["west"],
        destination_environment=WEST_MACHINES,
        syncs=1,
    )

    assert crossing.verified
    assert crossing.records_written > 0
    assert crossing.records_lost == 0
    assert crossing.bytes_increment < crossing.bytes_full
    assert any("fstab" in change for change in crossing.morphing_changes)
    assert _power_states(east) == {GUEST: False}
    assert _power_states(west) == {crossing.machine: True}


def _power_states(cloud: LibvirtCloud) -> dict[str, bool]:
    connection = cloud.connect()
    try:
        return {domain.name(): bool(domain.isActive()) for domain in connection.listAllDomains()}
    finally:
        connection.close()
