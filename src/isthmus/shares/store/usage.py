"""Quotas: what is allowed, what is in use, and taking from it without ever passing the limit.

Taking is one guarded update for each row it concerns (project, user in the project, share type in the project), in
the transaction that makes the object; so two calls at the edge never both win, and a roll-back gives all back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from oslo_config.cfg import ConfigOpts
from sqlalchemy import ColumnElement, case, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from isthmus.control.errors import Conflict
from isthmus.control.share_options import QUOTAS
from isthmus.shares.tables import ProjectQuotaRow, QuotaClassRow, TypeQuotaRow, UsageRow, UserQuotaRow

DEFAULT_CLASS = "default"
NOT_PER_TYPE = frozenset({"share_networks", "share_groups", "share_group_snapshots", "encryption_keys"})
"""Resources that have no quota of a share type. Source: Manila's quota sets, `share_type`."""


@dataclass(frozen=True)
class Owner:
    """Whom an object counts for. `share_type_id` is None for objects without a type."""

    project_id: str
    user_id: str
    share_type_id: str | None = None


@dataclass(frozen=True)
class _Scope:
    """One usage row and the limits that hold for it."""

    name: str
    project_id: str
    user_id: str
    type_id: str
    limits: Mapping[str, int]


@dataclass(frozen=True)
class Over:
    """A limit that would be passed. `scope` is "project", "user" or "share type"."""

    resource: str
    limit: int
    in_use: int
    scope: str


def default_limits(session: Session, conf: ConfigOpts, class_name: str = DEFAULT_CLASS) -> dict[str, int]:
    """Return the limits of a quota class: the configuration's, with those set for the class above them."""
    found = {name: int(conf.shares_quota[name]) for name in QUOTAS}
    rows = session.execute(
        select(QuotaClassRow.resource, QuotaClassRow.hard_limit).where(QuotaClassRow.class_name == class_name)
    )
    return found | {row.resource: row.hard_limit for row in rows if row.resource in found}


def project_limits(session: Session, conf: ConfigOpts, project_id: str) -> dict[str, int]:
    """Return a project's limits."""
    rows = session.execute(
        select(ProjectQuotaRow.resource, ProjectQuotaRow.hard_limit).where(ProjectQuotaRow.project_id == project_id)
    )
    return default_limits(session, conf) | {row.resource: row.hard_limit for row in rows}


def user_limits(session: Session, project_id: str, user_id: str) -> dict[str, int]:
    """Return the limits that were set for a user in a project; those that were not are the project's."""
    rows = session.execute(
        select(UserQuotaRow.resource, UserQuotaRow.hard_limit).where(
            UserQuotaRow.project_id == project_id, UserQuotaRow.user_id == user_id
        )
    )
    return {row.resource: row.hard_limit for row in rows}


def type_limits(session: Session, project_id: str, share_type_id: str) -> dict[str, int]:
    """Return the limits that were set for a share type in a project; those that were not are the project's."""
    rows = session.execute(
        select(TypeQuotaRow.resource, TypeQuotaRow.hard_limit).where(
            TypeQuotaRow.project_id == project_id, TypeQuotaRow.share_type_id == share_type_id
        )
    )
    return {row.resource: row.hard_limit for row in rows}


def take(session: Session, conf: ConfigOpts, owner: Owner, deltas: Mapping[str, int]) -> Over | None:
    """Count `deltas` (resource: amount, of 0 or more) for the owner; return what forbids it, if anything does.

    When something does, the caller must roll its transaction back (raise): some rows may have been counted.
    """
    limits = project_limits(session, conf, owner.project_id)
    scopes = [_Scope("project", owner.project_id, "", "", limits)]
    if owner.user_id:
        own = user_limits(session, owner.project_id, owner.user_id)
        scopes.append(_Scope("user", owner.project_id, owner.user_id, "", limits | own if own else {}))
    if owner.share_type_id:
        own = type_limits(session, owner.project_id, owner.share_type_id)
        scopes.append(_Scope("share type", owner.project_id, "", owner.share_type_id, limits | own if own else {}))
    for scope in scopes:
        counted = {name: amount for name, amount in deltas.items() if not scope.type_id or name not in NOT_PER_TYPE}
        over = _take(session, scope, counted)
        if over is not None:
            return over
    return None


def count(session: Session, owner: Owner, deltas: Mapping[str, int]) -> None:
    """Count `deltas` whatever the limits: the object is there already."""
    for user_id, type_id in {("", ""), (owner.user_id, ""), ("", owner.share_type_id or "")}:
        counted = {name: amount for name, amount in deltas.items() if not type_id or name not in NOT_PER_TYPE}
        _take(session, _Scope("", owner.project_id, user_id, type_id, {}), counted)


def give_back(session: Session, owner: Owner, deltas: Mapping[str, int]) -> None:
    """Count `deltas` (resource: amount, of 0 or more) no longer; never below nothing."""
    rows = [("", "")]
    if owner.user_id:
        rows.append((owner.user_id, ""))
    if owner.share_type_id:
        rows.append(("", owner.share_type_id))
    for user_id, type_id in rows:
        counted = {name: amount for name, amount in deltas.items() if not type_id or name not in NOT_PER_TYPE}
        values = {name: _less(getattr(UsageRow, name), amount) for name, amount in counted.items()}
        if values:
            session.execute(
                update(UsageRow)
                .where(
                    UsageRow.project_id == owner.project_id,
                    UsageRow.user_id == user_id,
                    UsageRow.share_type_id == type_id,
                )
                .values(**values)
                .execution_options(synchronize_session=False)
            )


def _less(counted: InstrumentedAttribute[int], amount: int) -> ColumnElement[int]:
    return case((counted > amount, counted - amount), else_=0)


def in_use(session: Session, project_id: str, user_id: str = "", share_type_id: str = "") -> dict[str, int]:
    """Return what is counted for a project, a user in it or a share type in it."""
    row = session.get(UsageRow, (project_id, user_id, share_type_id))
    return {name: getattr(row, name, 0) or 0 for name in QUOTAS}


def _take(session: Session, scope: _Scope, deltas: Mapping[str, int]) -> Over | None:
    if not deltas:
        return None
    row = (
        UsageRow.project_id == scope.project_id,
        UsageRow.user_id == scope.user_id,
        UsageRow.share_type_id == scope.type_id,
    )
    guards = [
        getattr(UsageRow, name) + amount <= scope.limits[name]
        for name, amount in deltas.items()
        if amount > 0 and scope.limits.get(name, -1) >= 0
    ]
    values = {name: getattr(UsageRow, name) + amount for name, amount in deltas.items()}
    statement = update(UsageRow).where(*row, *guards).values(**values).execution_options(synchronize_session=False)
    for _ in range(2):
        if session.execute(statement).rowcount == 1:  # type: ignore[attr-defined] # a CursorResult
            return None
        found = session.execute(select(UsageRow).where(*row).execution_options(populate_existing=True)).scalar()
        if found is not None:
            return _first_over(found, deltas, scope)
        _make_row(session, scope)
    raise Conflict(f"the usage of project {scope.project_id} changed meanwhile; try again")


def _make_row(session: Session, scope: _Scope) -> None:
    """Make the counting row; another transaction may make it at the same moment."""
    zeros = {column.name: 0 for column in UsageRow.__table__.columns if not column.primary_key}
    try:
        with session.begin_nested():
            session.execute(
                insert(UsageRow).values(
                    project_id=scope.project_id, user_id=scope.user_id, share_type_id=scope.type_id, **zeros
                )
            )
    except IntegrityError:
        return


def _first_over(row: UsageRow, deltas: Mapping[str, int], scope: _Scope) -> Over:
    for name, amount in deltas.items():
        limit, used = scope.limits.get(name, -1), getattr(row, name) or 0
        if limit >= 0 and used + amount > limit:
            return Over(name, limit, used, scope.name)
    # Another transaction gave something back between the two looks: the call may be tried again.
    raise Conflict(f"the usage of project {scope.project_id} changed meanwhile; try again")
