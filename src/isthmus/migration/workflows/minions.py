"""How the instances of an execution wait for machines of their minion pools. Runs inside a workflow.

One question serves all that wait, at growing intervals, and at once when an instance of this execution gives machines
back; so a wait of days stays small in the workflow's history.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from isthmus.control.engine import from_failure
from isthmus.control.errors import Cancelled, Conflict, IsthmusError
from isthmus.migration.workflows.calls import RELEASE_MINIONS, TAKE_MINIONS, MinionsServed, MinionsWanted, Plan
from isthmus.migration.workflows.control_call import control
from isthmus.migration.workflows.runner import Cancellation

FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(seconds=60)
LONGEST_WHOLE_WAIT = timedelta(hours=48)


class MinionQueue:
    """The instances of one execution, waiting and served."""

    def __init__(self, plan: Plan, cancellation: Cancellation) -> None:
        self._plan = plan
        self._cancellation = cancellation
        self._waiting = dict(plan.pools)
        self._returned = False
        self.served: set[str] = set()
        self.refusal: IsthmusError | None = None

    async def serve(self) -> None:
        """Ask for machines until no instance waits any more, a pool refuses, or the execution is cancelled."""
        wait, began = FIRST_WAIT, workflow.now()
        while self._waiting and self.refusal is None and not self._cancellation.requested:
            self._returned = False
            wanted = MinionsWanted(self._plan.work.execution_id, self._waiting)
            try:
                served = await control(TAKE_MINIONS, wanted, list[str])
            except ActivityError as failure:
                self.refusal = from_failure(failure)
                return
            self.served.update(served)
            self._waiting = {each: pools for each, pools in self._waiting.items() if each not in self.served}
            if self._waiting and workflow.now() - began > LONGEST_WHOLE_WAIT:
                hours = LONGEST_WHOLE_WAIT.total_seconds() / 3600
                self.refusal = Conflict(
                    f"no minion machine became free within {hours:.0f} hours; raise maximum_minions of the pool"
                )
                return
            wait = FIRST_WAIT if served else min(2 * wait, LONGEST_WAIT)
            await self._sleep(wait)

    async def _sleep(self, wait: timedelta) -> None:
        if not self._waiting:
            return
        try:
            await workflow.wait_condition(lambda: self._returned or self._cancellation.requested, timeout=wait)
        except TimeoutError:
            return

    async def admit(self, instance: str) -> IsthmusError | None:
        """Return None when the instance has its machines, else why it never will."""
        if instance not in self._plan.pools:
            return None
        await workflow.wait_condition(
            lambda: instance in self.served or self.refusal is not None or self._cancellation.requested
        )
        if instance in self.served:
            return None
        return self.refusal or Cancelled("the execution was cancelled while it waited for a minion machine")

    async def leave(self, instance: str) -> None:
        """Give the machines of an instance back."""
        if instance in self.served:
            done = MinionsServed(self._plan.work.execution_id, instance)
            await control(RELEASE_MINIONS, done)
            self._returned = True
