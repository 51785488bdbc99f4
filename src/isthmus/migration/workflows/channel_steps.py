"""A copy between two sites: the sender beside the source, the receiver beside the destination, and how they find
each other.

The worker that copies looks first whether it serves the destination's region too. If so it writes there itself. If not
it asks for a receiver (`receivers`); where that one's worker has no data channel, it writes there itself all the same.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.control.diagnostics import host_name
from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.control.queues import region_of, worker_queue
from isthmus.migration.disks.door import name_of
from isthmus.migration.disks.job import Channel, Side
from isthmus.migration.disks.receiving import Incoming, receive_disks
from isthmus.migration.disks.trust import Identity
from isthmus.migration.disks.wire import WireLost
from isthmus.migration.reporting import Level, Report
from isthmus.migration.workflows.calls import ReceiveCall, ReceiverOffer, ReceiverWanted, StepCall
from isthmus.migration.workflows.meeting import Meeting
from isthmus.migration.workflows.site import Site, side_of, writing_owner

LONGEST_WAIT_SECONDS = 180.0
"""For a receiver, while the workflow answers: longer than it lets one wait for a worker."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_REASON_SECONDS = 5.0


@dataclass(frozen=True)
class Crossing:
    """A sender's side of one attempt at a copy between sites, from its asking for a receiver on."""

    step_id: str
    region: str
    visit: str
    identity: Identity
    meeting: Meeting

    def receiver(self, report: Report) -> ReceiverOffer | None:
        """Wait until the receiver listens; None if its worker has no data channel.

        Raises what the receiver failed with, Unavailable if none comes, and what `report.check()` raises.
        """
        waited, pause = 0.0, _FIRST_PAUSE
        while waited < LONGEST_WAIT_SECONDS:
            state = self.meeting.look(self.visit)
            if state is not None and state.error:
                raise self._theirs(state.error, retryable=state.retryable)
            if state is not None and state.offer is not None:
                return self._seen(state.offer, report)
            # While nobody answers the conductors are away, and everything waits for those.
            waited += pause if state is not None else 0.0
            _sleep(pause, report)
            pause = min(_LONGEST_PAUSE, pause * 2)
        raise Unavailable(f"no worker of region {self.region} has opened a data channel; check the workers there")

    def channels(self, offer: ReceiverOffer, disk_ids: list[str]) -> Mapping[str, Channel]:
        """Return the way of each disk."""
        return {
            disk_id: Channel(offer.host, offer.port, name_of(self.visit, number), self.identity, offer.certificate)
            for number, disk_id in enumerate(disk_ids)
        }

    def reason(self, lost: WireLost, report: Report) -> IsthmusError:
        """Return why the receiver hung up, if it says so within seconds; else that it did."""
        until = time.monotonic() + _REASON_SECONDS
        while time.monotonic() < until:
            state = self.meeting.look(self.visit)
            if state is not None and state.error:
                return self._theirs(state.error, retryable=state.retryable)
            _sleep(_LONGEST_PAUSE / 2, report)
        return lost

    def _seen(self, offer: ReceiverOffer, report: Report) -> ReceiverOffer | None:
        if not offer.host:
            report.event(
                Level.INFO,
                f"worker {offer.worker} of region {self.region} has no data channel ([worker] channel_listen): this "
                "worker writes to the destination itself",
            )
            return None
        report.event(
            Level.INFO, f"the disks go through the data channel to worker {offer.worker} at {offer.host}:{offer.port}"
        )
        return offer

    def _theirs(self, error: str, *, retryable: bool) -> IsthmusError:
        message = f"at the destination's side (region {self.region}): {error}"
        return Unavailable(message) if retryable else StepFailed(message)


def ask_receiver(call: StepCall, site: Site) -> Crossing | None:
    """Ask for a receiver beside the destination; None where this worker serves that side, too."""
    region = region_of(worker_queue(call.work.destination.mapped_regions))
    if site.meeting is None or region in site.settings.regions:
        return None
    crossing = Crossing(call.step.id, region, uuid.uuid4().hex, Identity.make(), site.meeting)
    site.meeting.ask(ReceiverWanted(call.step.id, crossing.visit, crossing.identity.certificate))
    return crossing


def receive(asked: ReceiveCall, site: Site, report: Report) -> None:
    """Open the destination's exports and write what the sender sends, until all disks are there.

    Without a data channel it only says so. The work at the destination is idempotent; nothing is left but the exports,
    which the transfer's own steps close.
    """
    call, meeting = asked.call, site.meeting
    if meeting is None:
        raise StepFailed("this worker has no connection to the engine of the execution; restart it")
    if site.door is None:
        meeting.tell(ReceiverOffer(asked.visit, host_name()))
        return
    work, disks = call.work, call.facts.replica.disks
    identity = Identity.make()
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        opened = {
            each.disk_id: side_of(each)
            for each in cloud.open_writing(writing_owner(work.transfer_id, call.step.instance), disks)
        }
        incoming = [Incoming(disk.disk_id, opened[disk.disk_id]) for disk in disks]
        with site.door.expecting(asked.visit, identity, asked.certificate) as visit:
            host, port = site.door.address_of(visit)
            meeting.tell(ReceiverOffer(asked.visit, host_name(), host, port, identity.certificate))
            receive_disks(visit, incoming, connections=site.settings.nbd_connections, report=report)


def _sleep(seconds: float, report: Report) -> None:
    report.check()
    time.sleep(seconds)


NOWHERE = Side("")
"""The destination of a copy through a channel: only its receiver knows it."""
