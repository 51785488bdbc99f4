"""The second leg of a copy whose disks are stored on a worker in between. Runs inside a workflow."""

from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from isthmus.control.engine import as_failure
from isthmus.control.errors import Unavailable
from isthmus.migration.workflows.calls import FORWARD_DISKS, ForwardCall, Notes, StepCall, StepOutcome
from isthmus.migration.workflows.policies import FORWARD
from isthmus.migration.workflows.rooms import Room

Handle = workflow.ActivityHandle[StepOutcome]


def begin(call: StepCall, first: StepOutcome, room: Room) -> Handle:
    """Have the worker that stores the disks send them on. It is known by the step's id, as the first leg was."""
    handle: Handle = workflow.start_activity(
        FORWARD_DISKS,
        ForwardCall(call, first, room.sizes),
        activity_id=call.step.id,
        task_queue=room.queue,
        result_type=StepOutcome,
        **FORWARD,
    )
    return handle


def absent(room: Room) -> ApplicationError:
    """Return the failure of a second leg whose worker did not come back."""
    hours = FORWARD["schedule_to_start_timeout"].total_seconds() / 3600
    return as_failure(
        Unavailable(
            f"worker {room.worker[:8]} of region {room.region}, where the disks are staged, did not take them up "
            f"within {hours:.0f} h: start it again, or run the execution again, which stages them anew"
        )
    )


def joined(first: Notes, second: Notes) -> Notes:
    """Return what both legs have told; the second has told what the first did, unless it was never begun."""
    known = {event.index for event in second.events}
    earlier = tuple(event for event in first.events if event.index not in known)
    subjects = {each.subject for each in second.progress}
    progress = tuple(each for each in first.progress if each.subject not in subjects)
    return replace(second, events=(*earlier, *second.events), progress=(*progress, *second.progress))
