"""Copy disks: the entry to this room.

Each disk has its own thread and its own connections, and a native pump for each of its sides moves them (pump.c). The
pumps take no Python lock and BLAKE3 lets go of it, so disks really run beside each other, and within a disk hashing
runs beside receiving and sending.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from isthmus.control.errors import Cancelled, InvalidInput
from isthmus.migration.disks.channel import ChannelTarget
from isthmus.migration.disks.connection import Export, Wheel
from isthmus.migration.disks.job import CopyJob, CopyReport
from isthmus.migration.disks.limiter import Limiter
from isthmus.migration.disks.measuring import opened_export
from isthmus.migration.disks.near import near_source, near_target
from isthmus.migration.disks.source import Origin, Source
from isthmus.migration.disks.staging import StagedSource, opened
from isthmus.migration.disks.state import StateFile
from isthmus.migration.disks.stopping import Stopping
from isthmus.migration.disks.target import NbdTarget, Target
from isthmus.migration.disks.transfer import Transfer
from isthmus.migration.reporting import Report

# Bounds memory: each disk under way has 37 MiB of buffers at most.
_AT_ONCE = 4


def copy_disks(
    jobs: Sequence[CopyJob], *, bandwidth_limit: int, connections: int, report: Report
) -> tuple[CopyReport, ...]:
    """Copy all disks, several at once, and return once all are flushed, verified and recorded.

    `bandwidth_limit` is in bytes per second read from all sources together, 0 for none (what is sent never is more);
    `connections` is for each side of each disk, where the server allows several. The first failure stops all.

    Raises InvalidInput (a destination smaller than its source), Unavailable (a server is gone or silent: call again and
    it goes on where it was), StepFailed (storage is full or broken, or does not keep what is written), Cancelled.
    """
    stop = threading.Event()
    limiter = Limiter(bandwidth_limit)
    shared = Stopping(report, stop)
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="disk") as pool:
        futures = [pool.submit(copy_disk, job, limiter, max(1, connections), shared) for job in jobs]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    _raise_first(futures)
    return tuple(future.result() for future in futures)


def copy_disk(job: CopyJob, limiter: Limiter, connections: int, report: Report) -> CopyReport:
    """Copy one disk in this thread."""
    wheel = Wheel(report.check)
    with ExitStack() as stack:
        source, source_size = _opened_source(job, wheel, connections, stack)
        target, size = _opened_target(job, wheel, connections, stack)
        _check_sizes(job, source_size, size)
        state = StateFile.open(job.state_file, size=job.size_bytes, point=job.point, blank=job.destination_is_zero)
        stack.callback(state.close)
        transfer = Transfer(
            job,
            wheel=wheel,
            source=source,
            target=target,
            state=state,
            limiter=limiter,
            report=report,
        )
        report_of_pass = transfer.run()
        if isinstance(target, ChannelTarget):
            target.say_goodbye()
        return report_of_pass


def _opened_source(job: CopyJob, wheel: Wheel, connections: int, stack: ExitStack) -> tuple[Origin, int]:
    """Where to read from, and its size in bytes."""
    if job.staged is not None:
        disk, beside = stack.enter_context(opened(job.staged, wheel, f"what is staged of disk {job.disk_id}"))
        return StagedSource(disk, wheel, beside, job.disk_id), job.staged.size
    export = opened_export(job, wheel, connections, stack)
    return Source(export, job, near_source(job, wheel, export, stack)), export.size


def _opened_target(job: CopyJob, wheel: Wheel, connections: int, stack: ExitStack) -> tuple[Target, int]:
    """Where to write to, and its size in bytes."""
    if job.channel is not None:
        channel = ChannelTarget.connect(wheel, job.channel, disk_id=job.disk_id)
        stack.callback(channel.close)
        return channel, channel.size
    destination = Export(wheel, job.destination, disk_id=job.disk_id, role="destination")
    stack.callback(destination.close)
    destination.open(connections, writes=True)
    server = NbdTarget(destination)
    return near_target(job, wheel, server, stack) or server, destination.size


def _check_sizes(job: CopyJob, source: int, destination: int) -> None:
    if source < job.size_bytes:
        raise InvalidInput(
            f"disk {job.disk_id} has {source} bytes at the source, {job.size_bytes} were expected; "
            "read the instance again"
        )
    if destination < job.size_bytes:
        raise InvalidInput(
            f"disk {job.disk_id} needs {job.size_bytes} bytes, its destination has {destination}; make that one larger"
        )


def _raise_first(futures: Sequence[Future[CopyReport]]) -> None:
    """The reason, not the disks that were stopped because of it."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, Cancelled):
            raise error
    if errors:
        raise errors[0]
