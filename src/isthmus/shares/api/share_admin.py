"""What administrators may do to a share's status."""

from typing import Any

from sqlalchemy import update

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.share_lookup import refuse_soft_deleted, target_of, visible_share
from isthmus.shares.store.moving import force
from isthmus.shares.tables import InstanceRow, ShareRow

TASK_STATES = (
    "migration_starting",
    "migration_in_progress",
    "migration_completing",
    "migration_success",
    "migration_error",
    "migration_cancelled",
    "migration_driver_in_progress",
    "migration_driver_phase1_done",
    "data_copying_starting",
    "data_copying_in_progress",
    "data_copying_completing",
    "data_copying_completed",
    "data_copying_cancelled",
    "data_copying_error",
)
"""Task states that may be set, beside none at all. Source: Manila's API reference, "Reset task state"."""


def reset_status(call: Call, share_id: str, argument: Any) -> Answer:
    """Set a share's status."""
    call.allow("share:reset_status")
    share = visible_share(call, share_id)
    refuse_soft_deleted(share, "status cannot be reset for share")
    status = asked_status(argument)
    call.allow("share:reset_status", target_of(share))
    force(call.session, InstanceRow, share["instance_id"], to=status, now=call.now)
    return Answer(202)


def reset_task_state(call: Call, share_id: str, argument: Any) -> Answer:
    """Set a share's task state, or take it away."""
    call.allow("share:reset_task_state")
    share = visible_share(call, share_id)
    refuse_soft_deleted(share, "task state cannot be reset for share")
    if not isinstance(argument, dict) or "task_state" not in argument:
        raise InvalidInput("Must specify 'task_state'")
    wanted = argument["task_state"]
    if wanted is not None and wanted not in TASK_STATES:
        raise InvalidInput(f"Invalid state. Valid states: {', '.join(TASK_STATES)}, None.")
    call.allow("share:reset_status", target_of(share))
    call.session.execute(update(ShareRow).where(ShareRow.id == share_id).values(task_state=wanted, updated_at=call.now))
    return Answer(202)
