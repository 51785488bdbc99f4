"""How a step gets its place: asked for as it begins, waited for in line. Runs inside a workflow.

A step that waits is told when its turn has come; it also asks by itself at growing intervals, so nothing rests on
being told, and a wait of days stays small in the workflow's history.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutType
from temporalio.exceptions import TimeoutError as EngineTimeout

from isthmus.migration.workflows.calls import BEGIN_STEP, StepBegun, StepStart
from isthmus.migration.workflows.control_call import control

FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=5)


async def begin_step(
    start: StepStart, placed: set[str], stops: Callable[[], bool], activity: str = BEGIN_STEP
) -> StepBegun:
    """Begin a step; one that waits in line asks again when its id is added to `placed`, where it is taken out.

    Returns with `waits` only if it `stops` before its turn has come.
    """
    wait, step_id = FIRST_WAIT, start.step_id
    while True:
        placed.discard(step_id)
        begun: StepBegun = await control(activity, start, StepBegun)
        if not begun.waits or stops():
            return begun
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: step_id in placed or stops(), timeout=wait)
        # What it has lost it is not to lose again, should it be given the same worker meanwhile.
        start = replace(start, lost=None)
        wait = min(2 * wait, LONGEST_WAIT)


def not_taken_up(failure: BaseException) -> bool:
    """Whether a step's activity ended because the one worker that it was for did not take it up in time."""
    cause = failure.cause if isinstance(failure, ActivityError) else None
    return isinstance(cause, EngineTimeout) and cause.type is TimeoutType.SCHEDULE_TO_START
