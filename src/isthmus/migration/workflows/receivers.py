"""Receivers of disks at another site, as a workflow sees them: one for each attempt of a sender that asks for one.

A copy between two sites is one step, the sender's; the receiver is its helper and never tried again by itself. A sender
that begins anew (it was killed, the link broke, its receiver died) asks anew, with a certificate of its own; then the
receiver of before is ended first, so two never write at once.
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
    ReceiveCall,
    ReceiverOffer,
    ReceiverState,
    ReceiverWanted,
    StepCall,
)
from isthmus.migration.workflows.policies import RECEIVE, RECEIVER_START


class _Visit:
    """One receiver, from being asked for to its end."""

    def __init__(self, wanted: ReceiverWanted) -> None:
        self.id = wanted.visit
        self.offer: ReceiverOffer | None = None
        self.error: IsthmusError | None = None
        self.over = False
        self.handle: workflow.ActivityHandle[Any] | None = None

    async def end(self) -> None:
        """Have it stop and wait until it has let go of the destination."""
        if self.handle is not None:
            self.handle.cancel()
        await workflow.wait_condition(lambda: self.over)

    def state(self) -> ReceiverState:
        """What its sender may know."""
        if self.error is None:
            return ReceiverState(self.offer)
        retryable = self.error.retryable or isinstance(self.error, Cancelled)
        return ReceiverState(self.offer, self.error.message, retryable=retryable)


class Receivers:
    """All receivers of one execution; at most one at a time for each step."""

    def __init__(self) -> None:
        self._senders: dict[str, StepCall] = {}
        self._visits: dict[str, _Visit] = {}

    def expect(self, call: StepCall) -> None:
        """A step begins that may ask for a receiver."""
        self._senders[call.step.id] = call

    async def begin(self, wanted: ReceiverWanted) -> None:
        """Run the receiver that a sender asks for; returns when it has ended."""
        earlier, visit = self._visits.get(wanted.step_id), _Visit(wanted)
        if wanted.step_id not in self._senders or (earlier is not None and earlier.id == visit.id):
            return
        self._visits[wanted.step_id] = visit
        try:
            if earlier is not None:
                await earlier.end()
            # Meanwhile the sender may have ended, or asked once more.
            if self._visits.get(wanted.step_id) is visit:
                await self._receive(visit, self._senders[wanted.step_id], wanted)
        finally:
            visit.over = True

    def opened(self, offer: ReceiverOffer) -> None:
        """A receiver tells where it listens."""
        for visit in self._visits.values():
            if visit.id == offer.visit:
                visit.offer = offer

    def state(self, visit_id: str) -> ReceiverState:
        """How the receiver of a visit is; nothing is known of one that is not, or no longer, wanted."""
        return next((each.state() for each in self._visits.values() if each.id == visit_id), ReceiverState())

    async def close(self, step_id: str) -> None:
        """A step has ended: end its receiver."""
        self._senders.pop(step_id, None)
        visit = self._visits.pop(step_id, None)
        if visit is not None:
            await visit.end()

    async def _receive(self, visit: _Visit, call: StepCall, wanted: ReceiverWanted) -> None:
        regions = call.work.destination.mapped_regions
        visit.handle = workflow.start_activity(
            RECEIVE_DISKS,
            ReceiveCall(call, wanted.visit, wanted.certificate),
            activity_id=f"{wanted.step_id}-{wanted.visit}",
            task_queue=receiving_queue(regions),
            **RECEIVE,
        )
        try:
            await visit.handle
        except (ActivityError, CancelledError, asyncio.CancelledError) as failure:
            visit.error = _told(failure, region_of(worker_queue(regions)))


def _told(failure: BaseException, region: str) -> IsthmusError:
    cause = failure.__cause__
    if isinstance(cause, exceptions.TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
        return Unavailable(
            f"no worker of region {region} took the disks within {RECEIVER_START.total_seconds():.0f} s: check that "
            "one runs, has the region in its [worker] queues, and receives fewer than its [worker] activities"
        )
    return from_failure(failure)
