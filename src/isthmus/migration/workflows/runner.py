"""Carry a plan out: steps in order for each instance, undo after a failure or cancel. Runs inside a workflow.

Cancelling reaches only the steps themselves: records in the database and the undo are never interrupted by it. A
second, forced cancel also stops undo steps that do not get on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

from isthmus.control.engine import from_failure
from isthmus.control.errors import Cancelled, Conflict, IsthmusError, SecretGone, StepFailed, Unavailable
from isthmus.migration.model import TaskStatus, TaskType
from isthmus.migration.planning.steps import Step, When, applies_after_failure, keeps_partial, part_of
from isthmus.migration.planning.wishes import MOVES_DISKS, NEEDS_PLACE, wish_of
from isthmus.migration.planning.work import EndpointRef, Facts, Work
from isthmus.migration.workflows import second_leg
from isthmus.migration.workflows.calls import (
    END_STEP,
    RUN_STEP,
    Notes,
    Plan,
    StepBegun,
    StepCall,
    StepEnd,
    StepOutcome,
    StepStart,
)
from isthmus.migration.workflows.control_call import control
from isthmus.migration.workflows.line import begin_step, not_taken_up
from isthmus.migration.workflows.policies import LOOK, STEP, TAKEN_UP_WITHIN, UNDO, ActivityOptions
from isthmus.migration.workflows.receivers import Receivers

LONGEST_HOLD = timedelta(hours=24)
HELD = (
    f"held: retry the execution to run this step again, or cancel it; after {LONGEST_HOLD.total_seconds() / 3600:.0f} "
    "hours without either it is undone"
)
MOST_MOVES = 16
"""To how many workers a step is given, one after another, of which none takes it up."""

Handle = workflow.ActivityHandle[StepOutcome]
_NOTES = TypeAdapter(Notes)
NOTHING_TOLD = Notes()
_LOOKS = frozenset(
    {
        TaskType.VALIDATE_TRANSFER_SOURCE_INPUTS,
        TaskType.GET_INSTANCE_INFO,
        TaskType.VALIDATE_TRANSFER_DESTINATION_INPUTS,
    }
)


class Cancellation:
    """Whether the work shall stop, the steps to be told when it shall, and those that need not wait any longer.

    `retried` are held steps that shall run again, `placed` those in line that have got their place.
    """

    def __init__(self) -> None:
        self.requested = False
        self.forced = False
        self.keep = False
        self.retried: set[str] = set()
        self.placed: set[str] = set()
        self._steps: set[Handle] = set()
        self._undo_steps: set[Handle] = set()

    def request(self, *, force: bool = False) -> None:
        """Stop running steps and begin no other; with `force`, undo steps too."""
        self.requested = True
        self.forced = self.forced or force
        for handle in (*self._steps, *(self._undo_steps if force else ())):
            handle.cancel()

    async def watch(self, handle: Handle, *, interruptible: bool) -> StepOutcome:
        """Await a step's activity, which `request` can cancel meanwhile."""
        watched = self._steps if interruptible else self._undo_steps
        if self.forced or (self.requested and interruptible):
            handle.cancel()
        watched.add(handle)
        try:
            return await handle
        finally:
            watched.discard(handle)


class InstanceRun:
    """The steps of one instance. `run` returns None after success, else the error that ended it, after the undo."""

    def __init__(self, plan: Plan, instance: str, cancellation: Cancellation, receivers: Receivers) -> None:
        self._plan = plan
        self._steps: Sequence[Step] = [step for step in plan.steps if step.instance == instance]
        self._facts: Facts = plan.facts[instance]
        self._cancellation = cancellation
        self._receivers = receivers
        self._begun: list[TaskType] = []
        self._done: list[TaskType] = []
        self._round: dict[str, int] = {}
        self._undoing = False
        self._first_leg = NOTHING_TOLD
        self._spoiled = False

    async def run(self) -> IsthmusError | None:
        """Run all steps that success needs; at the first failure or cancel, undo what was begun."""
        try:
            error = await self._forward()
            if error is not None:
                await self._undo()
        except ActivityError as failure:
            return from_failure(failure)
        return error

    async def _forward(self) -> IsthmusError | None:
        for step in self._steps:
            if step.when is When.ON_ERROR:
                continue
            if self._cancellation.requested and step.is_interruptible:
                return Cancelled("the execution was cancelled")
            if step.task_type is TaskType.DELETE_TEST_INSTANCE:
                await self._be_looked_at()
            error = await self._run(step)
            while error is not None and self._holds(error):
                if not await self._is_retried(step):
                    return error
                self._round[step.id] = self._round.get(step.id, 0) + 1
                error = await self._run(step)
            if error is not None:
                return error
        return None

    async def _be_looked_at(self) -> None:
        """Leave a tested machine alone for the time that was asked for, or until a cancel."""
        test = self._plan.work.test
        with suppress(TimeoutError):
            minutes = timedelta(minutes=test.minutes if test else 0)
            await workflow.wait_condition(lambda: self._cancellation.requested, timeout=minutes)

    def _holds(self, error: IsthmusError) -> bool:
        return self._plan.work.hold_on_error and not isinstance(error, Cancelled)

    async def _is_retried(self, step: Step) -> bool:
        """Wait until a held step is to run again; False if the execution is cancelled, or nobody cared in time."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: step.id in self._cancellation.retried or self._cancellation.requested, timeout=LONGEST_HOLD
            )
        retried = step.id in self._cancellation.retried and not self._cancellation.requested
        self._cancellation.retried.discard(step.id)
        return retried

    async def _undo(self) -> None:
        """Give back all that was begun. A part that cannot be given back has its own failed task; the rest goes on."""
        self._undoing = True
        for step in self._steps:
            if self._cancellation.forced:
                return
            if applies_after_failure(step, self._begun, self._done, self._facts):
                await self._run(step)

    async def _run(self, step: Step) -> IsthmusError | None:
        """Run one step and record how it went. A step that gives something back is stopped by a forced cancel only."""
        wish = wish_of(step, self._plan.work, self._facts)
        start = StepStart(self._plan.work.execution_id, step.id, self._round.get(step.id, 0) > 0, wish)
        for _ in range(MOST_MOVES):
            begun = await begin_step(start, self._cancellation.placed, lambda: self._stops(step))
            if begun.waits:
                return await self._fail(step, Cancelled("the execution was cancelled while the step waited in line"))
            if not begun.begun:
                return None if step.on_error else Conflict(f"step {step.task_type} of {step.instance} ended elsewhere")
            if begun.refused is not None:
                return await self._fail(step, StepFailed(f"{step.task_type} of {step.instance}: {begun.refused}"))
            self._begun.append(step.task_type)
            failure = await self._attempt(step, begun)
            if failure is None:
                return None
            lost = begun.worker if not_taken_up(failure) else None
            if not lost and not await self._is_reconnected(start, begun, failure):
                return await self._fail(step, self._error_of(step, failure), _notes(failure))
            self._round[step.id] = self._round.get(step.id, 0) + 1
            start = replace(start, again=True, lost=lost)
        gone = (
            f"{MOST_MOVES} workers, one after another, were given {step.task_type} of {step.instance}: none took it up"
        )
        return await self._fail(step, Unavailable(f"{gone}; see their logs, then retry the execution"))

    async def _is_reconnected(self, start: StepStart, begun: StepBegun, failure: BaseException) -> bool:
        """Whether a step found no secret because its endpoint was given another one after the step had begun."""
        if not isinstance(from_failure(failure), SecretGone):
            return False
        now = await begin_step(replace(start, again=True, lost=None), self._cancellation.placed, lambda: True)
        return now.begun and (now.origin, now.destination) != (begun.origin, begun.destination)

    def _stops(self, step: Step) -> bool:
        return self._cancellation.forced or (self._cancellation.requested and step.is_interruptible)

    async def _attempt(self, step: Step, begun: StepBegun) -> BaseException | None:
        """Run the step where it was given its place; return what its activity failed with, None after success."""
        if begun.worker and step.task_type in MOVES_DISKS:
            self._facts = replace(self._facts, replica=replace(self._facts.replica, copied_by=begun.worker))
        work = _connected(part_of(self._plan.work, step), begun)
        call = StepCall(step, work, self._facts, self._round.get(step.id, 0), begun.bandwidth)
        try:
            outcome = await self._carry_out(call, begun)
        except (ActivityError, ApplicationError, CancelledError, asyncio.CancelledError) as failure:
            return failure
        self._facts, self._spoiled = outcome.facts, False
        self._done.append(step.task_type)
        await self._record(step, TaskStatus.COMPLETED, notes=outcome.notes, facts=outcome.facts, result=outcome.result)
        return None

    async def _carry_out(self, call: StepCall, begun: StepBegun) -> StepOutcome:
        """Have a worker carry out a step: the one that it was given to, or any of its region.

        One that sends disks may have a receiver, which ends with it, and a second leg.
        """
        step, options = call.step, _options(call.step).copy()
        if begun.worker:
            options["schedule_to_start_timeout"] = TAKEN_UP_WITHIN
        if step.task_type is TaskType.REPLICATE_DISKS:
            self._receivers.expect(call)
        handle: Handle = workflow.start_activity(
            RUN_STEP,
            call,
            activity_id=step.id,
            task_queue=begun.queue or step.queue,
            result_type=StepOutcome,
            **options,
        )
        try:
            outcome = await self._cancellation.watch(handle, interruptible=step.is_interruptible)
            return await self._forward_staged(call, outcome) if outcome.staged else outcome
        finally:
            if not await self._receivers.close(step.id):
                workflow.logger.warning("what was staged for step %s is removed when its worker is back", step.id)

    async def _forward_staged(self, call: StepCall, first: StepOutcome) -> StepOutcome:
        """Have the worker where a copy's disks are staged send them to the destination."""
        room = await self._receivers.end(call.step.id)
        # From here on the destination is written to, and no map says where: those that are kept must not be believed
        # unless all has arrived.
        self._facts = replace(self._facts, replica=replace(self._facts.replica, generation=str(workflow.uuid4())))
        self._spoiled, self._first_leg = True, first.notes
        try:
            second = await self._cancellation.watch(second_leg.begin(call, first, room), interruptible=True)
        except ActivityError as failure:
            if not_taken_up(failure):
                raise second_leg.absent(room) from None
            raise
        self._first_leg = NOTHING_TOLD
        return second

    def _error_of(self, step: Step, failure: BaseException) -> IsthmusError:
        error = from_failure(failure)
        if error.retryable and self._cancellation.requested and step.is_interruptible:
            # Its worker died, or the cloud was silent, just when it should stop: it did stop.
            return Cancelled(f"the execution was cancelled; at that time {error.message}")
        return error

    async def _fail(self, step: Step, error: IsthmusError, notes: Notes = NOTHING_TOLD) -> IsthmusError:
        """Record why a step failed, and return it."""
        held = HELD if self._holds(error) and not self._undoing else None
        kept = self._kept(step, error, notes) if step.task_type in self._begun else None
        if step.task_type in MOVES_DISKS and self._spoiled:
            kept, notes = self._facts, second_leg.joined(self._first_leg, notes)
        await self._record(step, _failed(error), notes=notes, error=error.message, facts=kept, held=held)
        return error

    def _kept(self, step: Step, error: IsthmusError, notes: Notes) -> Facts | None:
        """Return what is known now if a first copy that failed is kept for a later execution; else None."""
        replica = self._facts.replica
        if step.task_type is not TaskType.REPLICATE_DISKS or replica.point is not None:
            return None
        # A worker that vanished tells nothing; it may well have copied something.
        copied = not notes.host or any(each.unit == "bytes" and each.done for each in notes.progress)
        if not keeps_partial(error, asked=self._plan.work.keep_partial or self._cancellation.keep, copied=copied):
            return None
        self._facts = replace(self._facts, replica=replace(replica, partial=True))
        return self._facts

    async def _record(self, step: Step, status: TaskStatus, **what: Any) -> None:
        placed = step.task_type in NEEDS_PLACE
        end = StepEnd(self._plan.work.execution_id, step.id, status, placed=placed, **what)
        await control(END_STEP, end)


def _connected(work: Work, begun: StepBegun) -> Work:
    """Return the work with its endpoints as they are connected to by now."""
    return replace(
        work,
        origin=_connected_end(work.origin, begun.origin),
        destination=_connected_end(work.destination, begun.destination),
    )


def _connected_end(end: EndpointRef, now: Mapping[str, Any] | None) -> EndpointRef:
    return end if now is None else replace(end, connection_info=now)


def _options(step: Step) -> ActivityOptions:
    if not step.is_interruptible:
        return UNDO
    return LOOK if step.task_type in _LOOKS else STEP


def _failed(error: IsthmusError) -> TaskStatus:
    return TaskStatus.CANCELED if isinstance(error, Cancelled) else TaskStatus.ERROR


def _notes(failure: BaseException) -> Notes:
    """Return what a failed step had told; `activities` puts it into the failure's details."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.details:
            return _NOTES.validate_python(cause.details[0])
        cause = cause.__cause__
    return Notes()
