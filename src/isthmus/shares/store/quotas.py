"""Limits as administrators set them: of a class, a project, a user in it or a share type in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.shares.tables import ProjectQuotaRow, QuotaClassRow, TypeQuotaRow, UserQuotaRow

_Table = type[ProjectQuotaRow] | type[UserQuotaRow] | type[TypeQuotaRow] | type[QuotaClassRow]


@dataclass(frozen=True)
class Scope:
    """Whose limits: a project's, or of one user or one share type in it."""

    project_id: str
    user_id: str | None = None
    share_type_id: str | None = None

    @property
    def table(self) -> _Table:
        """Return where such limits are kept."""
        if self.user_id:
            return UserQuotaRow
        return TypeQuotaRow if self.share_type_id else ProjectQuotaRow

    @property
    def key(self) -> dict[str, str]:
        """Return the columns, but for the resource, that such limits are known by."""
        key = {"project_id": self.project_id}
        if self.user_id:
            return key | {"user_id": self.user_id}
        return key | {"share_type_id": self.share_type_id} if self.share_type_id else key


def set_limits(session: Session, scope: Scope, limits: Mapping[str, int]) -> None:
    """Set these limits; others stay."""
    for resource, limit in limits.items():
        _set(session, scope.table, {**scope.key, "resource": resource}, limit)


def set_class_limits(session: Session, class_name: str, limits: Mapping[str, int]) -> None:
    """Set these limits of a class; others stay."""
    for resource, limit in limits.items():
        _set(session, QuotaClassRow, {"class_name": class_name, "resource": resource}, limit)


def drop_limits(session: Session, scope: Scope) -> None:
    """Go back to what holds without these limits; a project's users and share types lose theirs with it."""
    tables: list[_Table] = [scope.table]
    if scope.table is ProjectQuotaRow:
        tables += [UserQuotaRow, TypeQuotaRow]
    for table in tables:
        columns = table.__table__.c
        statement = delete(table).where(*(columns[name] == value for name, value in scope.key.items()))
        session.execute(statement.execution_options(synchronize_session=False))


def promised_to_users(session: Session, project_id: str) -> dict[str, int]:
    """Return, by resource, the sum of the limits that users of a project were given."""
    rows = session.execute(
        select(UserQuotaRow.resource, func.sum(UserQuotaRow.hard_limit))
        .where(UserQuotaRow.project_id == project_id, UserQuotaRow.hard_limit > 0)
        .group_by(UserQuotaRow.resource)
    )
    return {resource: int(total) for resource, total in rows}


def _set(session: Session, table: _Table, key: Mapping[str, str], limit: int) -> None:
    columns = table.__table__.c
    change = (
        update(table)
        .where(*(columns[name] == value for name, value in key.items()))
        .values(hard_limit=limit)
        .execution_options(synchronize_session=False)
    )
    if session.execute(change).rowcount:  # type: ignore[attr-defined] # an update's result is a CursorResult
        return
    try:
        with session.begin_nested():
            session.execute(insert(table).values(**key, hard_limit=limit))
    except IntegrityError:
        # Another call set it for the first time at this moment; the later one holds.
        session.execute(change)
