"""Access rules of a share instance as its manager sees them: what shall hold, what changed, and what became of it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from isthmus.shares.drivers.facts import AccessChange, AccessLevel, AccessRule, AccessType, RuleOutcome
from isthmus.shares.model import RulesStatus, RuleState
from isthmus.shares.tables import InstanceRow, LockRow, MetadataRow, RuleRow, RuleStateRow

IN_FLIGHT: Mapping[RuleState, RuleState] = {
    RuleState.QUEUED_TO_APPLY: RuleState.APPLYING,
    RuleState.QUEUED_TO_UPDATE: RuleState.UPDATING,
    RuleState.QUEUED_TO_DENY: RuleState.DENYING,
}


def all_of(session: Session, instance_id: str) -> list[AccessRule]:
    """Return all rules that an instance has, whatever their state."""
    return [rule for rule, _ in _read(session, instance_id)]


def as_they_are(session: Session, instance_id: str) -> list[AccessRule]:
    """Return all rules of a replica as they would hold if it were the active one."""
    return [rule for rule, _ in _read_as_they_are(session, instance_id)]


def hold_already(session: Session, instance_id: str) -> bool:
    """Say whether nothing is queued, in hand or in error: an instance's rules are as its back end has them."""
    settled = session.scalar(select(InstanceRow.access_rules_status).where(InstanceRow.id == instance_id))
    return settled != RulesStatus.ERROR and not _count(session, instance_id, [*IN_FLIGHT, *IN_FLIGHT.values()])


def begin(session: Session, instance_id: str, now: datetime) -> AccessChange:
    """Take all queued rules of an instance in hand and return what shall hold.

    After an error, and when a manager died amid a change, the whole set is to be put right.
    """
    broken = _hold(session, instance_id)
    interrupted = bool(_count(session, instance_id, IN_FLIGHT.values()))
    for queued, running in IN_FLIGHT.items():
        _shift(session, instance_id, {queued}, running, now)
    found = _read(session, instance_id)
    wanted = tuple(rule for rule, state in found if state is not RuleState.DENYING)
    denied = tuple(rule for rule, state in found if state is RuleState.DENYING)
    session.execute(
        update(InstanceRow)
        .where(InstanceRow.id == instance_id, InstanceRow.access_rules_status == RulesStatus.ACTIVE)
        .values(access_rules_status=RulesStatus.SYNCING)
    )
    if broken == RulesStatus.ERROR or interrupted:
        return AccessChange(wanted, gone=denied)
    return AccessChange(
        wanted,
        added=tuple(rule for rule, state in found if state is RuleState.APPLYING),
        removed=denied,
        changed=tuple(rule for rule, state in found if state is RuleState.UPDATING),
    )


def end(session: Session, instance_id: str, outcomes: Mapping[str, RuleOutcome], now: datetime) -> None:
    """Record that the set holds, but for the rules whose outcome is an error; denied rules are gone."""
    _hold(session, instance_id)
    for rule_id, outcome in outcomes.items():
        if outcome.key is not None:
            session.execute(update(RuleRow).where(RuleRow.id == rule_id).values(access_key=outcome.key, updated_at=now))
        if outcome.error is not None:
            session.execute(
                update(RuleStateRow)
                .where(RuleStateRow.rule_id == rule_id, RuleStateRow.instance_id == instance_id)
                .where(RuleStateRow.state.not_in([RuleState.QUEUED_TO_DENY]))
                .values(state=RuleState.ERROR, updated_at=now)
            )
    healed = {RuleState.APPLYING, RuleState.UPDATING}
    _shift(session, instance_id, healed, RuleState.ACTIVE, now)
    _remove_denied(session, instance_id)
    _settle(session, instance_id, now)


def fail(session: Session, instance_id: str, now: datetime) -> None:
    """Record that the driver could not: the rules in hand, and the instance's rules as a whole, are in error."""
    _hold(session, instance_id)
    _shift(session, instance_id, set(IN_FLIGHT.values()), RuleState.ERROR, now)
    _settle(session, instance_id, now)


def _hold(session: Session, instance_id: str) -> str | None:
    """Lock the instance and return its `access_rules_status`.

    The API locks the instance before it touches rules; who took them the other way round would meet it in a deadlock.
    """
    asked = select(InstanceRow.access_rules_status).where(InstanceRow.id == instance_id)
    return session.scalar(asked.with_for_update())


def _read(session: Session, instance_id: str) -> list[tuple[AccessRule, RuleState]]:
    """Return rules as they shall hold: at a replica that can only be read, all are for reading."""
    cast = session.scalar(select(InstanceRow.cast_rules_to_readonly).where(InstanceRow.id == instance_id))
    found = _read_as_they_are(session, instance_id)
    return [(replace(rule, level=AccessLevel.RO), state) for rule, state in found] if cast else found


def _read_as_they_are(session: Session, instance_id: str) -> list[tuple[AccessRule, RuleState]]:
    rows = session.execute(
        select(RuleRow, RuleStateRow.state)
        .join(RuleStateRow, RuleStateRow.rule_id == RuleRow.id)
        .where(RuleStateRow.instance_id == instance_id)
        .order_by(RuleRow.created_at, RuleRow.id)
        .execution_options(populate_existing=True)
    )
    return [(_rule(row.RuleRow), RuleState(row.state)) for row in rows]


def _rule(row: RuleRow) -> AccessRule:
    return AccessRule(row.id, AccessType(row.access_type), row.access_to, AccessLevel(row.access_level), row.access_key)


def _shift(session: Session, instance_id: str, of: set[RuleState], to: RuleState, now: datetime) -> None:
    session.execute(
        update(RuleStateRow)
        .where(RuleStateRow.instance_id == instance_id, RuleStateRow.state.in_(of))
        .values(state=to, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def _remove_denied(session: Session, instance_id: str) -> None:
    denied = list(
        session.scalars(
            select(RuleStateRow.rule_id).where(
                RuleStateRow.instance_id == instance_id, RuleStateRow.state == RuleState.DENYING
            )
        )
    )
    if not denied:
        return
    session.execute(
        delete(RuleStateRow).where(RuleStateRow.instance_id == instance_id, RuleStateRow.rule_id.in_(denied))
    )
    elsewhere = set(session.scalars(select(RuleStateRow.rule_id).where(RuleStateRow.rule_id.in_(denied))))
    gone = [rule_id for rule_id in denied if rule_id not in elsewhere]
    session.execute(delete(MetadataRow).where(MetadataRow.object_id.in_(gone)))
    session.execute(delete(LockRow).where(LockRow.resource_id.in_(gone)))
    session.execute(delete(RuleRow).where(RuleRow.id.in_(gone)))


def _settle(session: Session, instance_id: str, now: datetime) -> None:
    """Set the instance's `access_rules_status` from its rules."""
    status = RulesStatus.ACTIVE
    if _count(session, instance_id, [RuleState.ERROR]):
        status = RulesStatus.ERROR
    elif _count(session, instance_id, [*IN_FLIGHT, *IN_FLIGHT.values()]):
        status = RulesStatus.SYNCING
    session.execute(
        update(InstanceRow).where(InstanceRow.id == instance_id).values(access_rules_status=status, updated_at=now)
    )


def _count(session: Session, instance_id: str, states: Collection[RuleState]) -> int:
    counted = session.scalar(
        select(func.count())
        .select_from(RuleStateRow)
        .where(RuleStateRow.instance_id == instance_id, RuleStateRow.state.in_(states))
    )
    return counted or 0
