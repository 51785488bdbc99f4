"""Access rules of a snapshot instance as its manager sees them; every client may only read."""

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from isthmus.shares.drivers.facts import AccessChange, AccessLevel, AccessRule, AccessType, RuleOutcome
from isthmus.shares.model import RuleState
from isthmus.shares.tables import SnapshotRuleRow, SnapshotRuleStateRow

_RUNNING = {RuleState.QUEUED_TO_APPLY: RuleState.APPLYING, RuleState.QUEUED_TO_DENY: RuleState.DENYING}


def all_of(session: Session, snapshot_instance_id: str) -> tuple[AccessRule, ...]:
    """Return all rules of an instance, whatever their state."""
    return tuple(rule for rule, _ in _read(session, snapshot_instance_id))


def begin(session: Session, snapshot_instance_id: str) -> AccessChange:
    """Take all queued rules of an instance in hand and return what shall hold.

    If a manager died amid a change, or a rule is in error, the whole set is to be put right.
    """
    before = {state for _, state in _read(session, snapshot_instance_id)}
    for queued, running in _RUNNING.items():
        _shift(session, snapshot_instance_id, [queued], running)
    found = _read(session, snapshot_instance_id)
    wanted = tuple(rule for rule, state in found if state is not RuleState.DENYING)
    if before & {*_RUNNING.values(), RuleState.ERROR}:
        return AccessChange(wanted)
    return AccessChange(
        wanted,
        added=tuple(rule for rule, state in found if state is RuleState.APPLYING),
        removed=tuple(rule for rule, state in found if state is RuleState.DENYING),
    )


def end(session: Session, snapshot_instance_id: str, outcomes: Mapping[str, RuleOutcome]) -> None:
    """Record that the set holds, but for the rules whose outcome is an error; denied rules are gone."""
    failed = [rule_id for rule_id, outcome in outcomes.items() if outcome.error is not None]
    if failed:
        session.execute(
            update(SnapshotRuleStateRow)
            .where(SnapshotRuleStateRow.snapshot_instance_id == snapshot_instance_id)
            .where(SnapshotRuleStateRow.rule_id.in_(failed), SnapshotRuleStateRow.state == RuleState.APPLYING)
            .values(state=RuleState.ERROR)
        )
    _shift(session, snapshot_instance_id, [RuleState.APPLYING], RuleState.ACTIVE)
    _remove_denied(session, snapshot_instance_id)


def fail(session: Session, snapshot_instance_id: str) -> None:
    """Record that the driver could not: the rules in hand are in error."""
    _shift(session, snapshot_instance_id, _RUNNING.values(), RuleState.ERROR)


def _remove_denied(session: Session, snapshot_instance_id: str) -> None:
    of_instance = SnapshotRuleStateRow.snapshot_instance_id == snapshot_instance_id
    denied = list(
        session.scalars(
            select(SnapshotRuleStateRow.rule_id).where(of_instance, SnapshotRuleStateRow.state == RuleState.DENYING)
        )
    )
    session.execute(delete(SnapshotRuleStateRow).where(of_instance, SnapshotRuleStateRow.rule_id.in_(denied)))
    elsewhere = select(SnapshotRuleStateRow.rule_id).where(SnapshotRuleStateRow.rule_id.in_(denied))
    gone = set(denied) - set(session.scalars(elsewhere))
    session.execute(delete(SnapshotRuleRow).where(SnapshotRuleRow.id.in_(gone)))


def _shift(session: Session, snapshot_instance_id: str, of: Iterable[RuleState], to: RuleState) -> None:
    session.execute(
        update(SnapshotRuleStateRow)
        .where(SnapshotRuleStateRow.snapshot_instance_id == snapshot_instance_id)
        .where(SnapshotRuleStateRow.state.in_(list(of)))
        .values(state=to)
        .execution_options(synchronize_session=False)
    )


def _read(session: Session, snapshot_instance_id: str) -> list[tuple[AccessRule, RuleState]]:
    rows = session.execute(
        select(SnapshotRuleRow.id, SnapshotRuleRow.access_type, SnapshotRuleRow.access_to, SnapshotRuleStateRow.state)
        .join(SnapshotRuleStateRow, SnapshotRuleStateRow.rule_id == SnapshotRuleRow.id)
        .where(SnapshotRuleStateRow.snapshot_instance_id == snapshot_instance_id)
        .order_by(SnapshotRuleRow.created_at, SnapshotRuleRow.id)
    )
    return [
        (AccessRule(row.id, AccessType(row.access_type), row.access_to, AccessLevel.RO), RuleState(row.state))
        for row in rows
    ]
