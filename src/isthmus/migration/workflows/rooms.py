"""Room on a worker for the disks of one copy, between the two legs of their way. Runs inside a workflow.

A room is a row in the line of placement, with an id of its own beside its step's. It is taken by the first attempt at
the first leg and kept by the others. When the step ends in any way, what lies in it is removed and the room given back.
"""

import uuid
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError

from isthmus.control.engine import from_failure
from isthmus.control.errors import Cancelled, IsthmusError, StepFailed
from isthmus.control.queues import staging_queue
from isthmus.migration.planning.placement import Wish
from isthmus.migration.workflows.calls import GIVE_ROOM, REMOVE_STAGED, TAKE_ROOM, ReceiverWanted, StepCall, StepStart
from isthmus.migration.workflows.control_call import control
from isthmus.migration.workflows.line import begin_step
from isthmus.migration.workflows.policies import REMOVE


class Room:
    """The room of one step; `worker` is empty until it is taken."""

    def __init__(self, call: StepCall, wanted: ReceiverWanted) -> None:
        self.region = wanted.stage
        self.sizes = wanted.sizes
        self.worker = ""
        self._call = call
        self._lost: str | None = None
        self._id = str(uuid.uuid5(uuid.UUID(call.step.id), "room"))

    @property
    def queue(self) -> str:
        """The task queue of the worker that has it."""
        return staging_queue(self.worker)

    async def take(self, wanted: ReceiverWanted, placed: set[str], stops: Callable[[], bool]) -> IsthmusError | None:
        """Take it, or find that it is taken already; wait in line if there is none. Return why it cannot be had."""
        step = self._call.step
        wish = Wish((wanted.stage,), "", staging_bytes=wanted.room, stores=True, shown_at=step.id)
        start = StepStart(self._call.work.execution_id, self._id, wish=wish, lost=self._lost)
        self.sizes = wanted.sizes
        try:
            begun = await begin_step(start, placed, stops, TAKE_ROOM)
        except ActivityError as failure:
            return from_failure(failure)
        if begun.waits:
            return Cancelled("the sender of the disks ended while it waited for room")
        if begun.refused is not None or begun.worker is None:
            return StepFailed(f"the disks of {step.instance} cannot be staged in region {self.region}: {begun.refused}")
        self.worker, self._lost = begun.worker, None
        return None

    def lose(self) -> None:
        """Its worker did not take the disks up: the next attempt may get another."""
        self._lost = self.worker

    async def give_back(self) -> bool:
        """Remove what lies in it, and give it back. Return whether it was removed; if not, its worker does it later."""
        removed = True
        if self.worker:
            try:
                await workflow.execute_activity(
                    REMOVE_STAGED, self._call.step.id, task_queue=self.queue, result_type=None, **REMOVE
                )
            except ActivityError:
                removed = False
        await control(GIVE_ROOM, self._id)
        return removed
