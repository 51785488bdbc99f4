"""Access rules of a share as the API reads and asks for them; a share manager carries the changes out."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.orm import Session

from isthmus.shares.model import Kind, RulesStatus, RuleState
from isthmus.shares.store import jobs, metadata
from isthmus.shares.tables import InstanceRow, RuleRow, RuleStateRow, ShareRow

Row = Mapping[str, Any]

RULE = RuleRow.__table__
_STATE = RuleStateRow.__table__

_WORST_FIRST = (
    RuleState.ERROR,
    RuleState.DENYING,
    RuleState.QUEUED_TO_DENY,
    RuleState.UPDATING,
    RuleState.QUEUED_TO_UPDATE,
    RuleState.APPLYING,
    RuleState.QUEUED_TO_APPLY,
    RuleState.ACTIVE,
)
"""Of a rule that stands differently on several instances, the first of these is shown."""


def rows_of_rules() -> Select[Any]:
    """Return the statement that gives rules, one row for each instance they are for, to be narrowed."""
    return select(RULE, _STATE.c.state, _STATE.c.instance_id).join_from(RULE, _STATE, _STATE.c.rule_id == RULE.c.id)


def read(session: Session, statement: Select[Any]) -> list[dict[str, Any]]:
    """Return the rules of a statement, each once, with its `state` and `metadata`, oldest first."""
    found: dict[str, dict[str, Any]] = {}
    for row in session.execute(statement.order_by(RULE.c.created_at, RULE.c.id)).mappings():
        known = found.setdefault(row["id"], dict(row))
        known["state"] = min(known["state"], row["state"], key=lambda state: _WORST_FIRST.index(RuleState(state)))
    items = metadata.read_many(session, list(found))
    return [{**rule, "metadata": items[identity]} for identity, rule in found.items()]


def one(session: Session, rule_id: str) -> dict[str, Any] | None:
    """Return a rule; None if there is none."""
    found = read(session, rows_of_rules().where(RULE.c.id == rule_id))
    return found[0] if found else None


def instances_of(session: Session, share_id: str) -> Sequence[Row]:
    """Return a share's instances: `id`, `host`, `status`, `access_rules_status`."""
    columns = (InstanceRow.id, InstanceRow.host, InstanceRow.status, InstanceRow.access_rules_status)
    found = session.execute(select(*columns).where(InstanceRow.share_id == share_id)).mappings()
    return [dict(row) for row in found]


def clients_of(session: Session, share_id: str, access_type: str) -> list[str]:
    """Return whom the share's rules of this type are for."""
    asked = (
        select(RuleRow.access_to)
        .join(RuleStateRow, RuleStateRow.rule_id == RuleRow.id)
        .where(RuleRow.share_id == share_id, RuleRow.access_type == access_type)
        .distinct()
    )
    return list(session.scalars(asked))


def add(session: Session, share: Row, *, access_type: str, access_to: str, access_level: str, now: datetime) -> str:
    """Write a rule and queue it on all the share's instances; return its id. `queue` then has it applied."""
    rule_id = str(uuid.uuid4())
    session.execute(
        insert(RuleRow).values(
            id=rule_id,
            share_id=share["id"],
            access_type=access_type,
            access_to=access_to,
            access_level=access_level,
            created_at=now,
        )
    )
    for instance in instances_of(session, share["id"]):
        session.execute(
            insert(RuleStateRow).values(
                rule_id=rule_id, instance_id=instance["id"], state=RuleState.QUEUED_TO_APPLY, updated_at=now
            )
        )
    return rule_id


def set_level(session: Session, rule_id: str, access_level: str, now: datetime) -> None:
    """Change what a rule lets its client do, and queue that."""
    session.execute(update(RuleRow).where(RuleRow.id == rule_id).values(access_level=access_level, updated_at=now))
    set_state(session, rule_id, RuleState.QUEUED_TO_UPDATE, now)


def set_state(session: Session, rule_id: str, state: RuleState, now: datetime) -> None:
    """Set a rule's state on all instances."""
    session.execute(
        update(RuleStateRow)
        .where(RuleStateRow.rule_id == rule_id)
        .values(state=state, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def queue(session: Session, share: Row, now: datetime, request_id: str) -> None:
    """Have the queued rules of all the share's instances carried out."""
    for instance in instances_of(session, share["id"]):
        session.execute(
            update(InstanceRow)
            .where(InstanceRow.id == instance["id"], InstanceRow.access_rules_status == RulesStatus.ACTIVE)
            .values(access_rules_status=RulesStatus.SYNCING)
            .execution_options(synchronize_session=False)
        )
        jobs.enqueue(
            session,
            host=instance["host"],
            kind=Kind.UPDATE_ACCESS,
            subject=share["id"],
            argument={"instance_id": instance["id"]},
            project_id=share["project_id"],
            request_id=request_id,
            now=now,
        )


def rules_status_of(session: Session, share_id: str) -> str:
    """Return the `access_rules_status` of a share, for rules shown before they had states of their own."""
    found = session.scalar(
        select(InstanceRow.access_rules_status)
        .join(ShareRow, ShareRow.id == InstanceRow.share_id)
        .where(ShareRow.id == share_id)
        .limit(1)
    )
    return found or RulesStatus.ACTIVE
