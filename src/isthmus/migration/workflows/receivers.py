"""Receivers of disks at another site, as a workflow sees them: one for each attempt of a sender that asks for one.

A copy between two sites is one step, the sender's; the receiver is its helper and never tried again by itself. A sender
that begins anew (it was killed, the link broke, its receiver died) asks anew, with a certificate of its own; then the
receiver of before is ended first, so two never write at once. Where neither end can connect to the other a relay
between them belongs to the same attempt. Where the disks are to be stored in between, the worker that stores them is
the receiver of the first leg and the sender of the second.
"""

import asyncio
from typing import Any

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError, CancelledError, TimeoutType

from isthmus.control.engine import from_failure
from isthmus.control.errors import Cancelled, IsthmusError, Unavailable
from isthmus.control.queues import receiving_queue, region_of, worker_queue
from isthmus.migration.workflows.calls import (
    RECEIVE_DISKS,
    RELAY_DISKS,
    STAGE_DISKS,
    ReceiveCall,
    ReceiverIntroduced,
    ReceiverOffer,
    ReceiverState,
    ReceiverWanted,
    RelayCall,
    StageCall,
    StepCall,
)
from isthmus.migration.workflows.policies import RECEIVE, RECEIVER_START
from isthmus.migration.workflows.rooms import Room


class _Visit:
    """The far ends of one attempt, from being asked for to their end."""

    def __init__(self, wanted: ReceiverWanted, call: StepCall, room: Room | None, placed: set[str]) -> None:
        self.id = wanted.visit
        self.offer: ReceiverOffer | None = None
        self.introduced: ReceiverIntroduced | None = None
        self.error: IsthmusError | None = None
        self.over = False
        self._wanted = wanted
        self._call = call
        self._room = room
        self._placed = placed
        self._waits = False
        self._absent = False
        self._ending = False
        self._handles: list[workflow.ActivityHandle[Any]] = []

    async def run(self) -> None:
        """Receive, by way of a relay if so wanted; what fails first is the error, and ends the other."""
        if self._room is not None:
            await self._store(self._room)
            return
        region = region_of(worker_queue(self._call.work.destination.mapped_regions))
        relay = self._wanted.relay
        certificate = "" if relay else self._wanted.certificate
        receiving = self._begin(RECEIVE_DISKS, ReceiveCall(self._call, self.id, certificate), region)
        if not relay:
            await receiving
            return
        await workflow.wait_condition(lambda: self.introduced is not None or self._ending or self.error is not None)
        if self.introduced is not None and not self._ending:
            await self._begin(RELAY_DISKS, self._relay_call(self.introduced), relay)
        await receiving

    async def _store(self, room: Room) -> None:
        """Have a worker that has room for them store the disks."""
        self._waits = True
        refused = await room.take(self._wanted, self._placed, lambda: self._ending)
        self._waits = False
        self.error = refused
        if refused is None and not self._ending:
            call = StageCall(self._wanted.step_id, self.id, self._wanted.certificate, room.sizes)
            await self._begin(STAGE_DISKS, call, room.region, room.queue)
            if self._absent:
                room.lose()

    async def end(self) -> None:
        """Have all stop and wait until they have let go of the destination."""
        self._stop()
        await workflow.wait_condition(lambda: self.over)

    def state(self) -> ReceiverState:
        """What the ends may know."""
        if self.error is None:
            return ReceiverState(self.offer, waits=self._waits, introduced=self.introduced)
        retryable = self.error.retryable or isinstance(self.error, Cancelled)
        return ReceiverState(self.offer, self.error.message, retryable=retryable)

    def _relay_call(self, receiver: ReceiverIntroduced) -> RelayCall:
        disks = len(self._call.facts.replica.disks)
        return RelayCall(disks, self.id, self._wanted.certificate, receiver.comes_as, receiver.certificate)

    def _begin(self, activity: str, argument: object, region: str, queue: str = "") -> "asyncio.Task[None]":
        handle = workflow.start_activity(
            activity,
            argument,
            activity_id=f"{self._wanted.step_id}-{self.id}-{activity}",
            task_queue=queue or receiving_queue([region]),
            **RECEIVE,
        )
        self._handles.append(handle)
        return asyncio.ensure_future(self._watch(handle, region))

    async def _watch(self, handle: workflow.ActivityHandle[Any], region: str) -> None:
        try:
            await handle
        except (ActivityError, CancelledError, asyncio.CancelledError) as failure:
            self._absent = _is_absence(failure)
            self.error = self.error or _told(failure, region)
            self._stop()

    def _stop(self) -> None:
        self._ending = True
        for handle in self._handles:
            handle.cancel()


class Receivers:
    """All receivers of one execution; at most one at a time for each step.

    `placed` are the ids of what has got its place in the line; see `line`.
    """

    def __init__(self, placed: set[str]) -> None:
        self._placed = placed
        self._rooms: dict[str, Room] = {}
        self._senders: dict[str, StepCall] = {}
        self._visits: dict[str, _Visit] = {}

    def expect(self, call: StepCall) -> None:
        """A step begins that may ask for a receiver."""
        self._senders[call.step.id] = call

    async def begin(self, wanted: ReceiverWanted) -> None:
        """Run the receiver that a sender asks for; returns when it has ended."""
        call, earlier = self._senders.get(wanted.step_id), self._visits.get(wanted.step_id)
        if call is None or (earlier is not None and earlier.id == wanted.visit):
            return
        room = self._rooms.setdefault(wanted.step_id, Room(call, wanted)) if wanted.stage else None
        visit = self._visits[wanted.step_id] = _Visit(wanted, call, room, self._placed)
        try:
            if earlier is not None:
                await earlier.end()
            # Meanwhile the sender may have ended, or asked once more.
            if self._visits.get(wanted.step_id) is visit:
                await visit.run()
        finally:
            visit.over = True

    def opened(self, offer: ReceiverOffer) -> None:
        """A receiver or a relay tells where it listens."""
        for visit in self._of(offer.visit):
            visit.offer = offer

    def introduced(self, receiver: ReceiverIntroduced) -> None:
        """A receiver tells which certificate it shows to a relay."""
        for visit in self._of(receiver.visit):
            visit.introduced = receiver

    def state(self, visit_id: str) -> ReceiverState:
        """How the receiver of a visit is; nothing is known of one that is not, or no longer, wanted."""
        return next((each.state() for each in self._of(visit_id)), ReceiverState())

    async def end(self, step_id: str) -> Room:
        """The first leg of a step is over: end its receiver, and return the room where its disks are stored."""
        visit = self._visits.pop(step_id, None)
        if visit is not None:
            await visit.end()
        return self._rooms[step_id]

    async def close(self, step_id: str) -> bool:
        """A step has ended: end its receiver, and have removed what is stored of it. Return whether nothing is left."""
        self._senders.pop(step_id, None)
        visit, room = self._visits.pop(step_id, None), self._rooms.pop(step_id, None)
        if visit is not None:
            await visit.end()
        return await room.give_back() if room is not None else True

    def _of(self, visit_id: str) -> list[_Visit]:
        return [each for each in self._visits.values() if each.id == visit_id]


def _is_absence(failure: BaseException) -> bool:
    cause = failure.__cause__
    return isinstance(cause, exceptions.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START


def _told(failure: BaseException, region: str) -> IsthmusError:
    if _is_absence(failure):
        return Unavailable(
            f"no worker of region {region} took the disks within {RECEIVER_START.total_seconds():.0f} s: check that "
            "one runs, has the region in its [worker] queues, and receives fewer than its [worker] activities"
        )
    return from_failure(failure)
