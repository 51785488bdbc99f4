"""A copy between two sites: the sender beside the source, the receiver beside the destination, and how they find
each other.

The worker that copies looks first whether it serves the destination's region too. If so it writes there itself. If not
it asks for a receiver (`receivers`); where that one's worker has no data channel, it writes there itself all the same.
Where the operator says that the two cannot reach each other, both connect to a relay.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from isthmus.control.diagnostics import host_name
from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.control.queues import region_of, worker_queue
from isthmus.migration.disks.connecting import connected
from isthmus.migration.disks.door import Arrivals, name_of
from isthmus.migration.disks.job import Channel, Side
from isthmus.migration.disks.receiving import Incoming, receive_disks
from isthmus.migration.disks.relaying import relay_disks
from isthmus.migration.disks.trust import Identity
from isthmus.migration.disks.wire import WireLost
from isthmus.migration.reporting import Level, Report
from isthmus.migration.workflows.calls import (
    ReceiveCall,
    ReceiverIntroduced,
    ReceiverOffer,
    ReceiverState,
    ReceiverWanted,
    RelayCall,
    StepCall,
)
from isthmus.migration.workflows.meeting import Meeting
from isthmus.migration.workflows.site import Site, side_of, writing_owner

LONGEST_WAIT_SECONDS = 180.0
"""For a receiver, while the workflow answers: longer than it lets one wait for a worker."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_REASON_SECONDS = 5.0

T = TypeVar("T")


@dataclass(frozen=True)
class FarEnd:
    """The other end of a visit: where it is, and on whose side its errors arise, for people."""

    visit: str
    meeting: Meeting
    where: str
    side: str = "the destination's"

    def look(self) -> ReceiverState | None:
        """Return how it is, None while the conductors are away. Raises what it has failed with."""
        state = self.meeting.look(self.visit)
        if (error := self.error_of(state)) is not None:
            raise error
        return state

    def error_of(self, state: ReceiverState | None) -> IsthmusError | None:
        """Return what it has failed with, if it has."""
        if state is None or not state.error:
            return None
        message = f"at {self.side} side ({self.where}): {state.error}"
        return Unavailable(message) if state.retryable else StepFailed(message)

    def awaited(self, told: Callable[[ReceiverState], T | None], report: Report, nobody: str) -> T:
        """Wait until it has told something. Raises what it failed with, or Unavailable if that is in vain."""
        waited, pause = 0.0, _FIRST_PAUSE
        while waited < LONGEST_WAIT_SECONDS:
            state = self.look()
            if state is not None and (found := told(state)) is not None:
                return found
            # While nobody answers the conductors are away, and everything waits for those. A line may be long.
            waited += pause if state is not None and not state.waits else 0.0
            _sleep(pause, report)
            pause = min(_LONGEST_PAUSE, pause * 2)
        raise Unavailable(f"no worker of {self.where} {nobody}; check the workers there")

    def offer(self, report: Report) -> ReceiverOffer:
        """Wait until it listens; see `awaited`."""
        return self.awaited(lambda state: state.offer, report, "has opened a data channel")


@dataclass(frozen=True)
class Crossing:
    """A sender's side of one attempt at a copy between sites.

    `relay` is the region of the worker that both ends connect to, `stage` that of the worker that stores the disks;
    both are empty if the receiver can be connected to.
    """

    step_id: str
    region: str
    relay: str
    stage: str
    visit: str
    identity: Identity
    meeting: Meeting

    def ask(self, sizes: Sequence[int] = (), room: int = 0) -> None:
        """Ask for the receiver; one that stores is told the disks' sizes and the bytes of room that it needs."""
        certificate = self.identity.certificate
        wanted = ReceiverWanted(self.step_id, self.visit, certificate, self.relay, self.stage, tuple(sizes), room)
        self.meeting.ask(wanted)

    def ask_in_turn(self) -> None:
        """Ask for a receiver that connects to this worker, which has stored the disks."""
        self.meeting.ask(ReceiverWanted(self.step_id, self.visit, ""))

    def receiver(self, report: Report) -> ReceiverOffer | None:
        """Wait until the receiver listens; None if its worker has no data channel.

        Raises what the receiver failed with, Unavailable if none comes, and what `report.check()` raises.
        """
        return self._seen(self.far_end.offer(report), report)

    @property
    def far_end(self) -> FarEnd:
        """The receiver."""
        if self.stage:
            where = f"region {self.stage}, which stages for region {self.region}"
            return FarEnd(self.visit, self.meeting, where, "the staging worker's")
        where = f"region {self.region}" + (f" by way of region {self.relay}" if self.relay else "")
        return FarEnd(self.visit, self.meeting, where)

    def introduction(self, report: Report) -> ReceiverIntroduced:
        """Wait until a receiver that will connect to this worker says who it is. Raises as `receiver` does."""
        return self.far_end.awaited(lambda state: state.introduced, report, "takes the disks that are staged")

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
            error = self.far_end.error_of(self.meeting.look(self.visit))
            if error is not None:
                return error
            _sleep(_LONGEST_PAUSE / 2, report)
        return lost

    def _seen(self, offer: ReceiverOffer, report: Report) -> ReceiverOffer | None:
        if self.stage and not offer.staging:
            raise StepFailed(
                f"worker {offer.worker} cannot stage the disks for region {self.region}: set [worker] channel_listen "
                "there, and have all workers and conductors of one version"
            )
        if self.stage:
            report.event(
                Level.INFO,
                f"leg 1 of 2: the disks go to worker {offer.worker} at {offer.host}:{offer.port}, which stages them "
                f"for region {self.region}",
            )
            return offer
        if offer.host:
            report.event(
                Level.INFO,
                f"the disks go through the data channel to worker {offer.worker} at {offer.host}:{offer.port}"
                + (f", which relays them to region {self.region}" if self.relay else ""),
            )
            return offer
        if self.relay:
            raise StepFailed(
                f"worker {offer.worker} of region {self.relay} cannot relay: set [worker] channel_listen there, or "
                "correct [worker] relays here"
            )
        report.event(
            Level.INFO,
            f"worker {offer.worker} of region {self.region} has no data channel ([worker] channel_listen): this "
            "worker writes to the destination itself",
        )
        return None


def crossing_of(call: StepCall, site: Site) -> Crossing | None:
    """Return the way to a receiver beside the destination, unless this worker serves that side, too."""
    region = region_of(worker_queue(call.work.destination.mapped_regions))
    if site.meeting is None or region in site.settings.regions:
        return None
    relay = site.settings.relays.get(region, "")
    stage = site.settings.staged.get(region, "")
    return Crossing(call.step.id, region, relay, stage, uuid.uuid4().hex, Identity.make(), site.meeting)


def receive(asked: ReceiveCall, site: Site, report: Report) -> None:
    """Open the destination's exports and write what the sender sends, until all disks are there.

    Without a data channel it only says so. The work at the destination is idempotent; nothing is left but the exports,
    which the transfer's own steps close.
    """
    call, meeting = asked.call, meeting_of(site)
    by_relay = not asked.certificate
    if site.door is None and not by_relay:
        meeting.tell(ReceiverOffer(asked.visit, host_name()))
        return
    work, disks = call.work, call.facts.replica.disks
    with ExitStack() as stack:
        cloud = stack.enter_context(site.clouds.destination(work.destination, work.trust_id))
        opened = {
            each.disk_id: side_of(each)
            for each in cloud.open_writing(writing_owner(work.transfer_id, call.step.instance), disks)
        }
        incoming = [Incoming(disk.disk_id, opened[disk.disk_id]) for disk in disks]
        arrivals: Arrivals | None
        if by_relay:
            arrivals = _at_relay(asked.visit, incoming, meeting, report, stack)
        else:
            arrivals = _at_the_door(asked.visit, asked.certificate, site, stack)
        if arrivals is None:
            return
        receive_disks(arrivals, incoming, connections=site.settings.nbd_connections, report=report)


def relay(asked: RelayCall, site: Site, report: Report) -> None:
    """Join the connections of a sender and a receiver that cannot connect to each other."""
    meeting = meeting_of(site)
    if site.door is None:
        meeting.tell(ReceiverOffer(asked.sender, host_name()))
        return
    identity = Identity.make()
    with (
        site.door.expecting(asked.sender, identity, asked.sender_certificate) as sender,
        site.door.expecting(asked.receiver, identity, asked.receiver_certificate) as receiver,
    ):
        host, port = site.door.address_of(sender)
        meeting.tell(ReceiverOffer(asked.sender, host_name(), host, port, identity.certificate))
        relay_disks(sender, receiver, asked.disks, report=report)


def _at_the_door(visit: str, certificate: str, site: Site, stack: ExitStack) -> Arrivals:
    """Listen for the sender."""
    door, meeting = site.door, meeting_of(site)
    if door is None:
        raise StepFailed("this worker has no data channel: set [worker] channel_listen")
    identity = Identity.make()
    expected = stack.enter_context(door.expecting(visit, identity, certificate))
    host, port = door.address_of(expected)
    meeting.tell(ReceiverOffer(visit, host_name(), host, port, identity.certificate))
    return expected


def _at_relay(
    visit: str, incoming: Sequence[Incoming], meeting: Meeting, report: Report, stack: ExitStack
) -> Arrivals | None:
    """Connect to the relay once for each disk, for the sender to find us; None if it is none: the sender says so."""
    identity, comes_as = Identity.make(), uuid.uuid4().hex
    meeting.introduce(ReceiverIntroduced(visit, comes_as, identity.certificate))
    offer = FarEnd(visit, meeting, "the relay's region").offer(report)
    arrivals = Arrivals()
    stack.callback(arrivals.close)
    if not offer.host:
        return None
    for number, disk in enumerate(incoming):
        name = name_of(comes_as, number)
        channel = Channel(offer.host, offer.port, name, identity, offer.certificate)
        arrivals.put(number, connected(channel, disk.disk_id))
    return arrivals


def meeting_of(site: Site) -> Meeting:
    """Return the way to the copy's workflow; StepFailed where there is none."""
    if site.meeting is None:
        raise StepFailed("this worker has no way to the workflow of the copy; restart it")
    return site.meeting


def _sleep(seconds: float, report: Report) -> None:
    report.check()
    time.sleep(seconds)


NOWHERE = Side("")
"""The destination of a copy through a channel: only its receiver knows it."""
