"""Deleting shares: at once, by force, into the recycle bin and out of it.

The instance is moved (or held) first, then what depends on the share is looked for: a snapshot that is being taken at
that moment holds the instance too, so one of the two calls sees the other's work.
"""

from datetime import timedelta

from sqlalchemy import update

from isthmus.control.errors import InvalidInput, NotAllowed
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.share_lookup import refuse_busy, refuse_replicated, target_of, visible_share
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import hints, jobs, locks, placing, results, shares
from isthmus.shares.store.moving import force as force_status
from isthmus.shares.store.moving import hold, move
from isthmus.shares.store.shares import Row
from isthmus.shares.tables import InstanceRow, ShareRow

DELETABLE = (Status.AVAILABLE, Status.ERROR, Status.INACTIVE)


def delete(call: Call, share_id: str) -> Answer:
    """Delete a share."""
    call.allow("share:delete")
    share = visible_share(call, share_id)
    _check_group(call, share)
    call.allow("share:delete", target_of(share))
    moved = move(
        call.session,
        InstanceRow,
        share["instance_id"],
        of=DELETABLE,
        to=Status.DELETING,
        now=call.now,
        terminated_at=call.now,
    )
    locks.refuse_if_locked(call.session, share_id)
    if not moved:
        raise _wrong_status()
    _refuse_needed(call, share)
    _have_it_deleted(call, share, forced=False)
    return Answer(202)


def force_delete(call: Call, share_id: str, argument: object) -> Answer:
    """Delete a share whatever its status; what depends on it still forbids that."""
    del argument
    call.allow("share:force_delete")
    share = visible_share(call, share_id)
    call.allow("share:force_delete", target_of(share))
    force_status(call.session, InstanceRow, share["instance_id"], to=Status.DELETING, now=call.now)
    locks.refuse_if_locked(call.session, share_id)
    _refuse_needed(call, share)
    _have_it_deleted(call, share, forced=True)
    return Answer(202)


def soft_delete(call: Call, share_id: str, argument: object) -> Answer:
    """Put a share into the recycle bin, from which it is deleted after the time that the configuration says."""
    del argument
    call.allow("share:soft_delete")
    share = visible_share(call, share_id, to_change=True)
    is_fit = hold(call.session, InstanceRow, share["instance_id"], of=DELETABLE)
    locks.refuse_if_locked(call.session, share_id)
    if share["is_soft_deleted"]:
        raise NotAllowed("Invalid share: The share has been soft deleted already.")
    if not is_fit:
        raise _wrong_status()
    _refuse_needed(call, share, busy=NotAllowed)
    kept = timedelta(seconds=call.conf.shares.soft_deleted_share_retention_time)
    _set_bin(call, share_id, is_soft_deleted=True, scheduled_to_be_deleted_at=call.now + kept)
    return Answer(202)


def restore(call: Call, share_id: str, argument: object) -> Answer:
    """Take a share out of the recycle bin; one that is not in it is left as it is."""
    del argument
    call.allow("share:restore")
    share = visible_share(call, share_id, to_change=True)
    if not share["is_soft_deleted"]:
        return Answer(200)
    if not hold(call.session, InstanceRow, share["instance_id"], of=DELETABLE):
        raise NotAllowed(
            f"Share {share_id} is being deleted or has suffered an error during deletion, cannot be restored."
        )
    _set_bin(call, share_id, is_soft_deleted=False, scheduled_to_be_deleted_at=None)
    return Answer(202)


def _check_group(call: Call, share: Row) -> None:
    if share["share_group_id"] is None:
        return
    named = call.query.get("share_group_id")
    if not named:
        raise InvalidInput(
            "Must provide 'share_group_id' as a request parameter when deleting a share in a share group."
        )
    if named != share["share_group_id"]:
        raise InvalidInput("The specified 'share_group_id' does not match the share group id of the share.")


def _wrong_status() -> NotAllowed:
    allowed = ", ".join(f"'{status}'" for status in DELETABLE)
    return NotAllowed(f"Invalid share: Share status must be one of ({allowed}).")


def _refuse_needed(call: Call, share: Row, *, busy: type[InvalidInput | NotAllowed] = InvalidInput) -> None:
    # Manila's words; the hold of the instance keeps another call from adding one meanwhile.
    doing = "deleting" if busy is InvalidInput else "soft deleting"
    refuse_replicated(call, share, f"Share {share['id']} has replicas. Remove the replicas before {doing} the share.")
    snapshots = shares.snapshots_of(call.session, share["id"])
    if snapshots:
        raise NotAllowed(f"Invalid share: Share still has {snapshots} dependent snapshots.")
    members = shares.group_members_of(call.session, share["id"])
    if members:
        raise NotAllowed(f"Invalid share: Share still has {members} dependent share group snapshot members.")
    try:
        refuse_busy(share)
    except InvalidInput as error:
        raise busy(error.message) from None


def _have_it_deleted(call: Call, share: Row, *, forced: bool) -> None:
    hints.forget(call.session, share["id"])
    if not share["host"]:
        # It never reached a back end.
        placing.give_room_back(call.session, share["host"], share["size"])
        results.forget_share(call.session, share["instance_id"])
        return
    jobs.enqueue(
        call.session,
        host=share["host"],
        kind=Kind.DELETE_SHARE,
        subject=share["id"],
        argument={"instance_id": share["instance_id"], **({"force": True} if forced else {})},
        project_id=share["project_id"],
        request_id=call.request_id,
        now=call.now,
    )


def _set_bin(call: Call, share_id: str, **values: object) -> None:
    call.session.execute(update(ShareRow).where(ShareRow.id == share_id).values(updated_at=call.now, **values))
