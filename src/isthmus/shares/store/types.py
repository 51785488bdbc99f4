"""What share types and group types have in common: specs, and the projects that may use a private one."""

from collections.abc import Collection, Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from isthmus.shares.tables import TypeProjectRow, TypeSpecRow


def shown(table: ReadOnlyColumnCollection[str, Any], *, is_public: bool, project_id: str) -> ColumnElement[bool]:
    """Return the condition for the types of a table: the public ones and the project's, or the private ones."""
    if not is_public:
        return cast("ColumnElement[bool]", table.is_public.is_(False))
    granted = select(TypeProjectRow.type_id).where(TypeProjectRow.project_id == project_id)
    return or_(table.is_public.is_(True), table.id.in_(granted))


def specs_of(session: Session, type_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the specs of each type by id, in one query."""
    found: dict[str, dict[str, str]] = {identity: {} for identity in type_ids}
    if found:
        columns = select(TypeSpecRow.type_id, TypeSpecRow.key, TypeSpecRow.value)
        for row in session.execute(columns.where(TypeSpecRow.type_id.in_(found)).order_by(TypeSpecRow.key)):
            found[row.type_id][row.key] = row.value
    return found


def write_specs(session: Session, type_id: str, specs: Mapping[str, str]) -> None:
    """Set these specs; others stay."""
    if not specs:
        return
    known = set(session.scalars(select(TypeSpecRow.key).where(TypeSpecRow.type_id == type_id)))
    new = [{"type_id": type_id, "key": key, "value": value} for key, value in specs.items() if key not in known]
    changed = [{"of_key": key, "new_value": value} for key, value in specs.items() if key in known]
    if new:
        session.execute(insert(TypeSpecRow), new)
    if changed:
        table = TypeSpecRow.__table__
        statement = (
            update(table)  # type: ignore[arg-type] # a mapped class's table is a Table
            .where(table.c.type_id == type_id, table.c.key == bindparam("of_key"))
            .values(value=bindparam("new_value"))
        )
        session.connection().execute(statement, changed)


def drop_spec(session: Session, type_id: str, key: str) -> bool:
    """Remove one spec; say whether it was there."""
    gone = session.execute(
        delete(TypeSpecRow)
        .where(TypeSpecRow.type_id == type_id, TypeSpecRow.key == key)
        .execution_options(synchronize_session=False)
    )
    return bool(gone.rowcount)  # type: ignore[attr-defined] # a delete's result is a CursorResult


def projects_of(session: Session, type_id: str) -> list[str]:
    """Return the projects that may use a private type."""
    wanted = select(TypeProjectRow.project_id).where(TypeProjectRow.type_id == type_id)
    return list(session.scalars(wanted.order_by(TypeProjectRow.project_id)))


def allow(session: Session, type_id: str, project_id: str) -> bool:
    """Let a project use a private type; False if it may already."""
    try:
        with session.begin_nested():
            session.execute(insert(TypeProjectRow).values(type_id=type_id, project_id=project_id))
    except IntegrityError:
        return False
    return True


def forbid(session: Session, type_id: str, project_id: str) -> bool:
    """Let a project no longer use a private type; False if it may not already."""
    gone = session.execute(
        delete(TypeProjectRow)
        .where(TypeProjectRow.type_id == type_id, TypeProjectRow.project_id == project_id)
        .execution_options(synchronize_session=False)
    )
    return bool(gone.rowcount)  # type: ignore[attr-defined] # a delete's result is a CursorResult


def forget(session: Session, type_id: str) -> None:
    """Remove all specs and permissions of a type."""
    for row in (TypeSpecRow, TypeProjectRow):
        session.execute(delete(row).where(row.type_id == type_id).execution_options(synchronize_session=False))
