"""How much there is to read of disks, known before anything is copied: for whoever must keep room for it."""

from collections.abc import Sequence
from contextlib import ExitStack

from isthmus.migration.disks.connection import Export, Wheel
from isthmus.migration.disks.extents import Range
from isthmus.migration.disks.job import CopyJob
from isthmus.migration.disks.source import ALLOCATION, Source
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


def _of_disk(job: CopyJob, report: Report) -> int:
    wheel = Wheel(report.check)
    total = position = 0

    def answered(reached: int, found: list[Range]) -> None:
        nonlocal total, position
        total += sum(piece.length for piece in found if not piece.zero)
        position = reached

    with ExitStack() as stack:
        source = Source(opened_export(job, wheel, 1, stack), job)
        while position < job.size_bytes:
            asked = position
            source.ranges_from(position, answered)
            while position == asked:
                wheel.turn(_TURN_SECONDS)
    return total
