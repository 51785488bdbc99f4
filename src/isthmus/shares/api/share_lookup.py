"""The share that a call is about, if its caller may see it."""

from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed, NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.model import Status
from isthmus.shares.store import replicas, shares
from isthmus.shares.store.shares import Row

BUSY = frozenset(
    {
        "migration_starting",
        "migration_in_progress",
        "migration_completing",
        "migration_driver_starting",
        "migration_driver_in_progress",
        "migration_driver_phase1_done",
        "data_copying_starting",
        "data_copying_in_progress",
        "data_copying_completing",
        "data_copying_completed",
    }
)
"""Task states of a share that something long is being done with."""
_DEFERRED = frozenset({Status.DEFERRED_DELETING, Status.ERROR_DEFERRED_DELETING})


def target_of(share: Row) -> dict[str, Any]:
    """Return what a policy is told about a share."""
    return {"project_id": share["project_id"], "user_id": share["user_id"]}


def visible_share(call: Call, share_id: str, *, to_change: bool = False) -> Row:
    """Return a share that the caller may see; `NotFound` if there is none such.

    Another project's public share is seen, but `to_change` it is refused: `NotAllowed`.
    """
    share = shares.read(call.session, share_id)
    missing = NotFound(f"Share {share_id} could not be found.")
    if share is None:
        raise missing
    if not share["is_public"] or to_change:
        if share["is_public"]:
            call.allow("share:get", target_of(share))
        elif not call.may("share:get", target_of(share)):
            raise missing
    if share["status"] in _DEFERRED and not call.may("share:list_shares_in_deferred_deletion_states"):
        raise missing
    return share


def held_share(call: Call, share: Row, what: str) -> Row:
    """Return a share again whose status this call has just moved, or held: until then its size may have changed.

    It may have got into the recycle bin too: then `NotAllowed`, as `refuse_soft_deleted` says it.
    """
    held = visible_share(call, share["id"])
    refuse_soft_deleted(held, what)
    return held


def refuse_soft_deleted(share: Row, what: str) -> None:
    """Raise `NotAllowed` (`what` begins its sentence) if the share is in the recycle bin."""
    if share["is_soft_deleted"]:
        raise NotAllowed(f"{what} '{share['id']}' since it has been soft deleted.")


def refuse_busy(share: Row) -> None:
    """Raise `InvalidInput` if something long is being done with the share."""
    if share["task_state"] in BUSY:
        raise InvalidInput(
            f"Share is busy with an active task: Share {share['id']} is busy as part of an active task: "
            f"{share['task_state']}.."
        )


def refuse_replicated(call: Call, share: Row, why: str) -> None:
    """Raise `Conflict` in these words if the share has more than its active replica."""
    if share["replication_type"] and replicas.is_replicated(call.session, share["id"]):
        raise Conflict(why)
