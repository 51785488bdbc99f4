"""What the hashes of two sides of a disk say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_HASHES = 8192
"""So many hashes of all disks of a machine travel from one side to the other at most."""


@dataclass(frozen=True)
class SideHashes:
    """One side of a disk: a hash for each stretch, and the stretches that have changed since the pass; JSON-able."""

    disk_id: str
    size_bytes: int
    stretch_bytes: int
    hashes: tuple[str, ...]
    changed: tuple[int, ...] = ()
    tracked: bool = False


@dataclass(frozen=True)
class DiskComparison:
    """How the two sides of a disk compare. Ranges are (offset, length) in bytes, of whole stretches.

    `changed`: the source has written there since the last pass, so nothing is compared. `different`: the sides differ.
    """

    disk_id: str
    size_bytes: int
    stretch_bytes: int
    equal_bytes: int
    changed: tuple[tuple[int, int], ...]
    different: tuple[tuple[int, int], ...]


def compare(source: SideHashes, destination: Sequence[str]) -> DiskComparison:
    """Compare one disk's sides; both are cut into the same stretches."""
    changed = set(source.changed)
    different = [
        number
        for number, (here, there) in enumerate(zip(source.hashes, destination, strict=True))
        if number not in changed and here != there
    ]
    unequal = sum(_length(source, number) for number in (*changed, *different))
    return DiskComparison(
        disk_id=source.disk_id,
        size_bytes=source.size_bytes,
        stretch_bytes=source.stretch_bytes,
        equal_bytes=source.size_bytes - unequal,
        changed=_ranges(source, sorted(changed)),
        different=_ranges(source, different),
    )


def _length(side: SideHashes, number: int) -> int:
    return min(side.stretch_bytes, side.size_bytes - number * side.stretch_bytes)


def _ranges(side: SideHashes, numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        offset, length = number * side.stretch_bytes, _length(side, number)
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return tuple(found)
