"""How much there is to read of disks, known before anything is copied: for whoever must keep room for it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from isthmus.migration.disks.connection import Export, Wheel
from isthmus.migration.disks.extents import Range
from isthmus.migration.disks.job import CopyJob
from isthmus.migration.disks.source import ALLOCATION, Origin, Source
from isthmus.migration.reporting import Report

_TURN_SECONDS = 0.5


def data_bytes(jobs: Sequence[CopyJob], report: Report) -> int:
    """Return the bytes that a pass would read of all disks together, by what their servers tell.

    Raises Unavailable or StepFailed if a source does not answer as it should, and what `report.check()` raises.
    """
    return sum(_of_disk(job, report) for job in jobs)


def opened_export(job: CopyJob, wheel: Wheel, connections: int, stack: ExitStack) -> Export:
    """Open a job's source; closed with `stack`."""
    contexts = [ALLOCATION, *([job.dirty_context] if job.dirty_context else [])]
    export = Export(wheel, job.source, disk_id=job.disk_id, role="source", contexts=contexts)
    stack.callback(export.close)
    export.open(connections, writes=False)
    return export


def count_data(source: Origin, size: int, turn: Callable[[], None]) -> int:
    """Return the bytes of a disk of `size` bytes that are to be read, by asking once for the status of all of it.

    Cheap, and nothing is kept. `turn` lets answers come; it is called while one is awaited.
    """
    total = position = 0

    def answered(reached: int, found: list[Range]) -> None:
        nonlocal total, position
        total += sum(piece.length for piece in found if not piece.zero)
        position = reached

    while position < size:
        asked = position
        source.ranges_from(position, answered)
        while position == asked:
            turn()
    return total


def _of_disk(job: CopyJob, report: Report) -> int:
    wheel = Wheel(report.check)
    with ExitStack() as stack:
        source = Source(opened_export(job, wheel, 1, stack), job)
        return count_data(source, job.size_bytes, partial(wheel.turn, _TURN_SECONDS))
