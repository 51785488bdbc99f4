"""How a workflow calls a control activity: within its own task, and through the queue only if that does not go well.

A control activity is one small transaction, and most of what an execution costs is what surrounds it. As a local
activity of the engine it runs in the conductor that runs the workflow, before the workflow's task is given back, and
costs neither a place in a queue nor a round trip. A conductor that is killed meanwhile has given nothing back: the next
one runs the activity again, which finds its own work.

A database that is away must not hold a workflow's task open, so after a few quick attempts the call goes through the
queue, where it waits for as long as it takes and adds nothing to the workflow's history. What an activity refuses, it
refuses there again: a local activity's error has another form than the one that workflows know how to take.
"""

from contextlib import suppress
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError  # noqa: A004 - the engine's own

from isthmus.migration.workflows.policies import CONTROL, CONTROL_HERE

_CHANGE = "control-activities-run-here"
"""Executions that an older conductor has begun call as it did, also after an upgrade."""


async def control(activity: str, argument: Any, result_type: Any = None) -> Any:
    """Return what the control activity returns; `ActivityError` if it refuses."""
    if workflow.patched(_CHANGE):
        # The activity's own error comes as ApplicationError; a timeout as ActivityError, and from the history, when
        # another conductor follows it, as TimeoutError.
        with suppress(ActivityError, ApplicationError, TimeoutError):
            return await workflow.execute_local_activity(activity, argument, result_type=result_type, **CONTROL_HERE)
    return await workflow.execute_activity(activity, argument, result_type=result_type, **CONTROL)
