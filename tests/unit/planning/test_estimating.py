"""Estimates: bytes, seconds, down time, and what they rest on."""

from dataclasses import replace

from isthmus.migration.machine import Disk, Firmware, Machine, PowerState
from isthmus.migration.planning.estimating import Rate, Rates, estimate

MIB = 1 << 20
RATES = Rates(copy=Rate(10 * MIB), scan=Rate(100 * MIB), changed=Rate(0.1), rest=Rate(30))
DISK = Disk("vda", 4000 * MIB, "qcow2", "pool", "virtio", can_track_changes=True, allocated_bytes=1000 * MIB)
MACHINE = Machine("1", "web", 1, 512, Firmware.BIOS, PowerState.RUNNING, disks=(DISK,))


def test_what_the_disks_hold_is_moved_at_the_rate_of_copies() -> None:
    guess = estimate(MACHINE, RATES)
    assert (guess.bytes_to_move, guess.seconds) == (1000 * MIB, 100.0)


def test_the_down_time_is_the_changes_and_the_rest() -> None:
    assert estimate(MACHINE, RATES).downtime_seconds == 10.0 + 30.0


def test_a_disk_without_bitmap_is_read_whole_in_the_down_time() -> None:
    untracked = replace(MACHINE, disks=(replace(DISK, can_track_changes=False),))
    assert estimate(untracked, RATES).downtime_seconds == 10.0 + 10.0 + 30.0


def test_a_disk_counts_with_what_it_holds_and_never_with_more_than_its_size() -> None:
    disks = (
        replace(DISK, id="a", allocated_bytes=None),
        replace(DISK, id="b", allocated_bytes=0),
        replace(DISK, id="c", allocated_bytes=5000 * MIB),
    )
    assert estimate(replace(MACHINE, disks=disks), RATES).bytes_to_move == 8000 * MIB
