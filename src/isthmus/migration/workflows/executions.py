"""The workflows. Each is started by the outbox under the id `execution-<execution id>`.

The last act of each is the final move of the execution's status, which is tried for ever: an execution never stays
under way because something was away for a while.
"""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

from isthmus.control.engine import from_failure
from isthmus.control.errors import Cancelled, IsthmusError
from isthmus.migration.model import ExecutionStatus
from isthmus.migration.planning.steps import part_of
from isthmus.migration.workflows.calls import (
    ASK_RECEIVER,
    BEGIN_EXECUTION,
    BEGIN_FORGET,
    END_FORGET,
    FINISH_EXECUTION,
    INTRODUCE_RECEIVER,
    PLACED,
    RECEIVER_OF,
    RUN_STEP,
    TELL_SENDER,
    Finish,
    Plan,
    ReceiverIntroduced,
    ReceiverOffer,
    ReceiverState,
    ReceiverWanted,
    StepCall,
    StepOutcome,
)
from isthmus.migration.workflows.control_call import control
from isthmus.migration.workflows.minions import MinionQueue
from isthmus.migration.workflows.policies import UNDO
from isthmus.migration.workflows.receivers import Receivers
from isthmus.migration.workflows.runner import Cancellation, InstanceRun

AT_ONCE = 25
"""How many machines of an execution are worked on at once. Each begins and ends its steps within the workflow's task
(`control_call`), and what all do at the same moment must fit into the seconds that the engine gives to one.
"""

_IN_TURN = "instances-in-turn"
"""Executions that an older conductor has begun go on with all their machines at once."""


class _Execution:
    """Plan, run all instances at once, record how it ended."""

    def __init__(self) -> None:
        self._cancellation = Cancellation()
        self._receivers = Receivers(self._cancellation.placed)
        self._turns: asyncio.Semaphore | None = None

    @workflow.signal(name="force_cancel")
    def force_cancel(self) -> None:
        """Stop undo steps too."""
        self._cancellation.request(force=True)

    @workflow.signal(name="keep_partial")
    def keep_partial(self) -> None:
        """Keep what a first copy has copied when it is stopped."""
        self._cancellation.keep = True

    @workflow.signal(name="retry_step")
    def retry_step(self, step_id: str) -> None:
        """Run a held step again."""
        self._cancellation.retried.add(step_id)

    @workflow.signal(name=ASK_RECEIVER)
    async def ask_receiver(self, wanted: ReceiverWanted) -> None:
        """Start a receiver of disks for a step that sends them."""
        await self._receivers.begin(wanted)

    @workflow.signal(name=TELL_SENDER)
    def tell_sender(self, offer: ReceiverOffer) -> None:
        """Know where a receiver listens."""
        self._receivers.opened(offer)

    @workflow.signal(name=INTRODUCE_RECEIVER)
    def introduce_receiver(self, receiver: ReceiverIntroduced) -> None:
        """Know the certificate that a receiver shows to a relay."""
        self._receivers.introduced(receiver)

    @workflow.query(name=RECEIVER_OF)
    def receiver_of(self, visit: str) -> ReceiverState:
        """Return how a receiver is."""
        return self._receivers.state(visit)

    @workflow.signal(name=PLACED)
    def placed(self, step_id: str) -> None:
        """Have a step that waited in line ask for the place that it has got."""
        self._cancellation.placed.add(step_id)

    async def execute(self, argument: dict[str, Any]) -> str:
        """Return the final status."""
        work = asyncio.ensure_future(self._work(argument))
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.cancelled():
                    raise
                self._cancellation.request()

    async def _work(self, argument: dict[str, Any]) -> str:
        try:
            plan: Plan = await control(BEGIN_EXECUTION, argument, Plan)
        except ActivityError as failure:
            finish = Finish(str(argument["execution_id"]), ExecutionStatus.ERROR, from_failure(failure).message)
        else:
            finish = await self._run(plan)
        await control(FINISH_EXECUTION, finish)
        return finish.status.value

    async def _run(self, plan: Plan) -> Finish:
        """Run all instances, `AT_ONCE` at a time, each as soon as it has the machines that it needs of its pools."""
        minions = MinionQueue(plan, self._cancellation)
        waiting = asyncio.ensure_future(minions.serve())
        if len(plan.work.instances) > AT_ONCE and workflow.patched(_IN_TURN):
            self._turns = asyncio.Semaphore(AT_ONCE)
        errors = await asyncio.gather(*(self._instance(plan, instance, minions) for instance in plan.work.instances))
        await waiting
        if minions.refusal is not None and not minions.served:
            refused = minions.refusal.message
            return Finish(plan.work.execution_id, ExecutionStatus.ERROR_ALLOCATING_MINIONS, refused)
        return Finish(plan.work.execution_id, outcome_of(errors))

    async def _instance(self, plan: Plan, instance: str, minions: MinionQueue) -> IsthmusError | None:
        refused = await minions.admit(instance)
        if refused is not None:
            return refused
        async with self._turns or nullcontext():
            error = await InstanceRun(plan, instance, self._cancellation, self._receivers).run()
        await minions.leave(instance)
        return error


def outcome_of(errors: Sequence[IsthmusError | None]) -> ExecutionStatus:
    """Return the execution's status from how its instances ended: one failure fails it, then cancel counts."""
    if any(error is not None and not isinstance(error, Cancelled) for error in errors):
        return ExecutionStatus.ERROR
    if any(error is not None for error in errors):
        return ExecutionStatus.CANCELED
    return ExecutionStatus.COMPLETED


@workflow.defn(name="TransferExecution")
class TransferExecution(_Execution):
    """Bring the replicas of all instances of a transfer up to one new point in time."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Run one transfer execution."""
        return await self.execute(argument)


@workflow.defn(name="Deployment")
class Deployment(_Execution):
    """Make machines from replicas, and prove that they live."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Run one deployment's execution."""
        return await self.execute(argument)


@workflow.defn(name="TransferDisksDelete")
class TransferDisksDelete(_Execution):
    """Delete a transfer's replicas, and all that it keeps at the source."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Run one deletion."""
        return await self.execute(argument)


@workflow.defn(name="TransferUpdate")
class TransferUpdate(_Execution):
    """Try new values of a transfer at both of its ends; the final move makes them the transfer's own."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Run one update."""
        return await self.execute(argument)


@workflow.defn(name="TransferVerification")
class TransferVerification(_Execution):
    """Compare a transfer's replicas with their sources by hash."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Run one verification."""
        return await self.execute(argument)


@workflow.defn(name="TransferForget")
class TransferForget:
    """Remove what a deleted transfer left at its clouds: checkpoints and open exports, not its disks.

    Best effort, but durable: a cloud that does not answer is asked for an hour; one that refuses is left.
    """

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> list[str]:
        """Return what could not be removed, one line each."""
        plan: Plan = await control(BEGIN_FORGET, argument, Plan)
        left: list[str] = []
        for step in plan.steps:
            call = StepCall(step, part_of(plan.work, step), plan.facts[step.instance])
            try:
                await workflow.execute_activity(RUN_STEP, call, task_queue=step.queue, result_type=StepOutcome, **UNDO)
            except ActivityError as failure:
                left.append(f"{step.instance}: {replace_lines(from_failure(failure).message)}")
        await control(END_FORGET, argument)
        return left


def replace_lines(text: str) -> str:
    """Return the text on one line."""
    return " ".join(text.split())


WORKFLOWS = (TransferExecution, Deployment, TransferDisksDelete, TransferUpdate, TransferVerification, TransferForget)
