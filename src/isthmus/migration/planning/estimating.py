"""How much is moved, and how long that and the down time take: pure, from facts and from what earlier work measured."""

from dataclasses import dataclass
from enum import StrEnum

from isthmus.migration.machine import Disk, Machine


class Basis(StrEnum):
    """Where a rate comes from."""

    MEASURED = "measured"
    DEFAULT = "default"


@dataclass(frozen=True)
class Rate:
    """A figure, where it comes from, and of how many measurements it is the mean or the median."""

    value: float
    basis: Basis = Basis.DEFAULT
    samples: int = 0


@dataclass(frozen=True)
class Rates:
    """What is known of the way from one endpoint to another.

    `copy` and `scan`: bytes per second, sent of a full copy, and read where a disk is compared. `changed`: the share of
    a machine's data that a later pass sends. `rest`: seconds of a down time that are not the last pass (shut-down,
    clones, morphing, boot).
    """

    copy: Rate = Rate(100 * 2**20)
    scan: Rate = Rate(300 * 2**20)
    changed: Rate = Rate(0.02)
    rest: Rate = Rate(120.0)


@dataclass(frozen=True)
class Estimate:
    """Bytes of the first pass, its seconds, and the seconds from the shut-down to the machine's proof of life."""

    bytes_to_move: int
    seconds: float
    downtime_seconds: float


def estimate(machine: Machine, rates: Rates) -> Estimate:
    """Return what one machine takes if it is copied alone; a disk whose content is not told counts whole."""
    held = {disk.id: _held(disk) for disk in machine.disks}
    to_move = sum(held.values())
    read_whole = sum(held[disk.id] for disk in machine.disks if not disk.can_track_changes)
    last_pass = to_move * rates.changed.value / rates.copy.value + read_whole / rates.scan.value
    return Estimate(
        bytes_to_move=to_move,
        seconds=round(to_move / rates.copy.value, 1),
        downtime_seconds=round(last_pass + rates.rest.value, 1),
    )


def _held(disk: Disk) -> int:
    return disk.size_bytes if disk.allocated_bytes is None else min(disk.allocated_bytes, disk.size_bytes)
