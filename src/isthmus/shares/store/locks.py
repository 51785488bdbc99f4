"""Resource locks: while one is there, its action on a share or an access rule is refused.

Who makes a lock, and who carries out what a lock forbids, first hold the resource's row (`store.moving.hold`, or a
move of its status), then look: so a lock is never made on what is just going away.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from isthmus.control.errors import NotAllowed
from isthmus.shares.model import RuleState, Status
from isthmus.shares.tables import InstanceRow, LockRow, RuleStateRow

SHARE = "share"
RULE = "access_rule"
DELETE = "delete"
"""Forbids deletion, soft deletion and unmanaging."""
SHOW = "show"
"""Hides who a rule is for, and its key, from all but the lock's owner."""
ACTIONS = {SHARE: (DELETE,), RULE: (DELETE, SHOW)}
"""What a lock may forbid, by the resource's type."""
GOING_SHARES = frozenset(
    {
        Status.DELETING,
        Status.ERROR_DELETING,
        Status.UNMANAGE_STARTING,
        Status.MANAGE_ERROR_UNMANAGE_STARTING,
        Status.UNMANAGE_ERROR,
    }
)
"""Statuses of shares whose deletion can no more be forbidden."""
GOING_RULES = frozenset({RuleState.QUEUED_TO_DENY, RuleState.DENYING, RuleState.ERROR})


@dataclass(frozen=True)
class Lock:
    """One lock. `context` is "user", "admin" or "service": who made it, and so who may take it away."""

    id: str
    user_id: str
    project_id: str
    context: str


def locks_on(session: Session, resource_id: str, action: str) -> Sequence[Lock]:
    """Return the locks that forbid an action on a resource, oldest first."""
    rows = session.execute(
        select(LockRow.id, LockRow.user_id, LockRow.project_id, LockRow.lock_context)
        .where(LockRow.resource_id == resource_id, LockRow.resource_action == action)
        .order_by(LockRow.created_at, LockRow.id)
    )
    return [Lock(*row) for row in rows]


def first_locks(session: Session, resource_ids: Collection[str], action: str) -> dict[str, Lock]:
    """Return the oldest lock that forbids an action, for each of the resources that has one; in one query."""
    rows = session.execute(
        select(LockRow.resource_id, LockRow.id, LockRow.user_id, LockRow.project_id, LockRow.lock_context)
        .where(LockRow.resource_id.in_(list(resource_ids)), LockRow.resource_action == action)
        .order_by(LockRow.created_at.desc(), LockRow.id.desc())
    )
    return {row.resource_id: Lock(*row[1:]) for row in rows}


def refuse_if_locked(session: Session, resource_id: str, action: str = DELETE) -> None:
    """Return if no lock forbids the action; else raise `NotAllowed` naming the locks. Administrators are no exception.

    To be called with the resource's row held.
    """
    found = locks_on(session, resource_id, action)
    if found:
        names = ", ".join(lock.id for lock in found)
        raise NotAllowed(f"Resource lock/s [{names}] prevent {action} action.")


def hold_share(session: Session, share_id: str, *, but: Collection[Status] = ()) -> bool:
    """Lock the rows of a share's instances; say whether none has one of the statuses `but`."""
    session.execute(
        update(InstanceRow)
        .where(InstanceRow.share_id == share_id)
        .values(status=InstanceRow.status)
        .execution_options(synchronize_session=False)
    )
    statuses = session.scalars(select(InstanceRow.status).where(InstanceRow.share_id == share_id))
    return not any(status in but for status in statuses)


def hold_rule(session: Session, rule_id: str, *, but: Collection[RuleState] = ()) -> bool:
    """Lock the rows of a rule's states; say whether none is one of `but`."""
    session.execute(
        update(RuleStateRow)
        .where(RuleStateRow.rule_id == rule_id)
        .values(state=RuleStateRow.state)
        .execution_options(synchronize_session=False)
    )
    states = session.scalars(select(RuleStateRow.state).where(RuleStateRow.rule_id == rule_id))
    return not any(state in but for state in states)


def make(
    session: Session,
    *,
    user_id: str,
    project_id: str,
    context: str,
    resource_id: str,
    resource_type: str,
    action: str,
    reason: str | None,
    now: datetime,
) -> str:
    """Write a lock; return its id."""
    identity = str(uuid.uuid4())
    session.execute(
        insert(LockRow).values(
            id=identity,
            user_id=user_id,
            project_id=project_id,
            lock_context=context,
            resource_id=resource_id,
            resource_type=resource_type,
            resource_action=action,
            lock_reason=reason,
            created_at=now,
        )
    )
    return identity
