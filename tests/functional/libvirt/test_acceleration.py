"""KVM is chosen only if a guest really runs by it."""

import time

import pytest
from tests.libvirt_fixtures import Clouds, clouds, leftovers

from isthmus.migration.providers.libvirt import acceleration
from isthmus.migration.providers.libvirt.connection import Hypervisor

__all__ = ["clouds"]


def test_a_guest_that_counts_is_believed_and_one_that_can_not_start_is_not(clouds: Clouds) -> None:
    hypervisor = Hypervisor(clouds.west.connection)
    try:
        assert acceleration.runs(hypervisor, "qemu", "default", "isthmus-trial-a", seconds=120)
        assert not acceleration.runs(hypervisor, "xen", "default", "isthmus-trial-a")
        assert leftovers(clouds.west) == []
    finally:
        hypervisor.close()


def test_a_guest_that_takes_too_long_is_not_believed(clouds: Clouds) -> None:
    hypervisor = Hypervisor(clouds.west.connection)
    try:
        assert not acceleration.runs(hypervisor, "qemu", "default", "isthmus-trial-b", seconds=0.2)
        assert leftovers(clouds.west) == []
    finally:
        hypervisor.close()


@pytest.mark.parametrize("chosen", ["qemu", "kvm"])
def test_a_choice_is_not_questioned(clouds: Clouds, chosen: str) -> None:
    hypervisor = Hypervisor(clouds.west.connection)
    assert acceleration.virt_type(hypervisor, {"virt_type": chosen}, "default", "isthmus-trial-c") == chosen


def test_auto_is_decided_in_seconds(clouds: Clouds) -> None:
    hypervisor = Hypervisor(clouds.west.connection)
    try:
        began = time.monotonic()
        assert acceleration.virt_type(hypervisor, {}, "default", "isthmus-trial-d") in ("qemu", "kvm")
        assert time.monotonic() - began < 60
        assert leftovers(clouds.west) == []
        # Remembered: a pool that does not exist would fail another trial.
        assert acceleration.virt_type(hypervisor, {}, "no such pool", "isthmus-trial-e") in ("qemu", "kvm")
    finally:
        hypervisor.close()
