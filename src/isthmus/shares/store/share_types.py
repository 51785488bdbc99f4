"""Share types as administrators make and change them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict
from isthmus.shares.store import types
from isthmus.shares.tables import (
    GroupTypeShareTypeRow,
    InstanceRow,
    ShareTypeRow,
    TypeQuotaRow,
    UsageRow,
)

_TABLE = ShareTypeRow.__table__.c


def listed(session: Session, *, is_public: bool | None, project_id: str) -> list[dict[str, Any]]:
    """Return types with `extra_specs`, by name: the public ones and the project's, the private ones, or (None) all."""
    statement = select(*_TABLE)
    if is_public is not None:
        statement = statement.where(types.shown(_TABLE, is_public=is_public, project_id=project_id))
    return _with_specs(session, statement.order_by(_TABLE.name))


def find(session: Session, type_id: str) -> dict[str, Any] | None:
    """Return a type with `extra_specs` by its id."""
    found = _with_specs(session, select(*_TABLE).where(_TABLE.id == type_id))
    return found[0] if found else None


def find_named(session: Session, name: str) -> dict[str, Any] | None:
    """Return a type with `extra_specs` by its name."""
    found = _with_specs(session, select(*_TABLE).where(_TABLE.name == name))
    return found[0] if found else None


def add(session: Session, values: Mapping[str, Any], specs: Mapping[str, str]) -> None:
    """Make a type; `Conflict` if its name is taken."""
    try:
        session.execute(insert(ShareTypeRow).values(**values))
    except IntegrityError:
        raise Conflict(f"Share Type {values['name']} already exists.") from None
    types.write_specs(session, values["id"], specs)


def change(session: Session, type_id: str, values: Mapping[str, Any], now: datetime) -> None:
    """Change a type; `Conflict` if its new name is taken."""
    try:
        session.execute(update(ShareTypeRow).where(ShareTypeRow.id == type_id).values(updated_at=now, **values))
    except IntegrityError:
        raise Conflict(f"Share Type {values.get('name')} already exists.") from None


def remove(session: Session, type_id: str) -> bool:
    """Delete a type with its quotas unless shares or group types use it; say whether it was deleted."""
    shares = select(InstanceRow.id).where(InstanceRow.share_type_id == type_id).exists()
    groups = select(GroupTypeShareTypeRow.share_type_id).where(GroupTypeShareTypeRow.share_type_id == type_id).exists()
    gone = session.execute(
        delete(ShareTypeRow)
        .where(ShareTypeRow.id == type_id, ~shares, ~groups)
        .execution_options(synchronize_session=False)
    )
    if not gone.rowcount:  # type: ignore[attr-defined] # a delete's result is a CursorResult
        return False
    types.forget(session, type_id)
    for row in (TypeQuotaRow, UsageRow):
        session.execute(delete(row).where(row.share_type_id == type_id).execution_options(synchronize_session=False))
    return True


def _with_specs(session: Session, statement: Select[Any]) -> list[dict[str, Any]]:
    rows = [dict(row) for row in session.execute(statement).mappings()]
    specs = types.specs_of(session, [row["id"] for row in rows])
    return [{**row, "extra_specs": specs[row["id"]]} for row in rows]
