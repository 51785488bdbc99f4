"""What the worker in between does where disks are stored on their way: receive, send on, remove.

It stores them as the receiver of the first leg, and is the sender of the second: the receiver beside the destination
connects to its door, as to a relay's. It opens neither cloud and needs no secret of either.
"""

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace

from isthmus.control.diagnostics import host_name
from isthmus.control.errors import StepFailed, Unavailable
from isthmus.control.queues import region_of, worker_queue
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.door import Visit
from isthmus.migration.disks.job import Accepted, CopyJob, CopyReport, Reads
from isthmus.migration.disks.receiving import Incoming, receive_disks
from isthmus.migration.disks.staging import Area, remove
from isthmus.migration.disks.trust import Identity
from isthmus.migration.disks.wire import WireLost
from isthmus.migration.reporting import Level, Report
from isthmus.migration.workflows.calls import ForwardCall, ReceiverOffer, StageCall, StepOutcome
from isthmus.migration.workflows.channel_steps import (
    NOWHERE,
    Crossing,
    meeting_of,
)
from isthmus.migration.workflows.site import Site

_CONNECTED_WITHIN_SECONDS = 60.0
_TURN_SECONDS = 0.5


def stage(asked: StageCall, site: Site, report: Report) -> None:
    """Store what the sender sends, until all disks are there. An earlier attempt's area is gone on with.

    Without a data channel it only says so.
    """
    meeting = meeting_of(site)
    if site.door is None:
        meeting.tell(ReceiverOffer(asked.visit, host_name()))
        return
    area = Area.prepare(site.areas, asked.step_id, asked.sizes, _here(), lambda: uuid.uuid4().hex)
    identity = Identity.make()
    with area.locked(), site.door.expecting(asked.visit, identity, asked.certificate) as arrivals:
        host, port = site.door.address_of(arrivals)
        meeting.tell(ReceiverOffer(asked.visit, host_name(), host, port, identity.certificate, area.identity))
        incoming = [Incoming(f"number {number}", file) for number, file in enumerate(area.files)]
        receive_disks(arrivals, incoming, connections=1, report=report)


def forward(asked: ForwardCall, site: Site, report: Report) -> StepOutcome:
    """Send what is stored to a receiver beside the destination, and return what the whole copy has learned."""
    call, meeting = asked.call, meeting_of(site)
    if site.door is None:
        raise StepFailed(f"{_here()} has disks to send on and no data channel: set [worker] channel_listen again")
    area = Area.find(site.areas, call.step.id, asked.first.staged, asked.sizes, _here())
    region = region_of(worker_queue(call.work.destination.mapped_regions))
    crossing = Crossing(call.step.id, region, "", "", uuid.uuid4().hex, Identity.make(), meeting)
    with area.locked():
        crossing.ask_in_turn()
        receiver = crossing.introduction(report)
        with site.door.expecting(receiver.comes_as, crossing.identity, receiver.certificate) as arrivals:
            host, port = site.door.address_of(arrivals)
            meeting.tell(ReceiverOffer(crossing.visit, host_name(), host, port, crossing.identity.certificate))
            report.event(
                Level.INFO, f"leg 2 of 2: worker {host_name()} sends the disks that it has staged to region {region}"
            )
            jobs = _jobs(asked, area, _connected(arrivals, crossing, len(asked.sizes), report))
            reports = _copied(jobs, site, crossing, report)
    return _forwarded(asked, reports, report)


def remove_staged(step_id: str, site: Site) -> None:
    """Remove what is stored of a step. Already done: there is nothing."""
    remove(site.areas, step_id)


def _here() -> str:
    return f"worker {host_name()}"


def _connected(arrivals: Visit, crossing: Crossing, disks: int, report: Report) -> list[Accepted]:
    """Wait until the receiver has connected once for each disk."""
    found: dict[int, Accepted] = {}
    deadline = time.monotonic() + _CONNECTED_WITHIN_SECONDS
    with ExitStack() as undo:
        while len(found) < disks:
            report.check()
            come = arrivals.next(_TURN_SECONDS)
            if come is not None:
                undo.callback(come[1].close)
                found[come[0]] = Accepted(come[1])
                continue
            crossing.far_end.look()
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the receiver in region {crossing.region} has not connected to {_here()}: let the workers there "
                    "connect to this one's [worker] channel_listen"
                )
        undo.pop_all()
    return [found[number] for number in range(disks)]


def _jobs(asked: ForwardCall, area: Area, connections: Sequence[Accepted]) -> list[CopyJob]:
    disks = asked.call.facts.replica.disks
    return [
        CopyJob(
            disk_id=disk.disk_id,
            source=NOWHERE,
            destination=NOWHERE,
            size_bytes=file.size,
            reads=Reads.ALLOCATION,
            state_file=file.journal,
            point=area.identity,
            channel=connection,
            staged=file,
            leg=", leg 2 of 2",
        )
        for disk, file, connection in zip(disks, area.files, connections, strict=True)
    ]


def _copied(jobs: Sequence[CopyJob], site: Site, crossing: Crossing, report: Report) -> Sequence[CopyReport]:
    try:
        return copy_disks(jobs, bandwidth_limit=site.settings.bandwidth_limit, connections=1, report=report)
    except WireLost as lost:
        raise crossing.reason(lost, report) from None
    finally:
        for job in jobs:
            if isinstance(job.channel, Accepted):
                job.channel.connection.close()


def _forwarded(asked: ForwardCall, reports: Sequence[CopyReport], report: Report) -> StepOutcome:
    first = asked.first
    seconds = max((each.seconds for each in reports), default=0.0)
    sent = sum(each.bytes_sent for each in reports)
    report.event(Level.INFO, f"{sent} bytes sent on in {seconds:.1f} s; every chunk is verified at the destination")
    leg = {"disks": [asdict(each) for each in reports], "bytes_sent": sent, "seconds": seconds, "worker": host_name()}
    summary = {**(first.result or {}), "second_leg": leg}
    # What a pass takes is what both legs take.
    summary["seconds"] = whole = float(summary.get("seconds", 0.0)) + seconds
    summary["bytes_per_second"] = sent / whole if whole else 0.0
    # The map that the sender has kept under this name is now that of the destination.
    replica = replace(first.facts.replica, generation=first.staged, last_pass=summary)
    return StepOutcome(replace(first.facts, replica=replica), summary)
