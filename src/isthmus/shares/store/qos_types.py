"""QoS types as administrators make and change them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict
from isthmus.shares.store import types
from isthmus.shares.tables import QosTypeRow

TABLE = QosTypeRow.__table__.c


def all_of(session: Session, statement: Select[Any]) -> list[dict[str, Any]]:
    """Return the types of a statement with `specs`."""
    rows = [dict(row) for row in session.execute(statement).mappings()]
    specs = types.specs_of(session, [row["id"] for row in rows])
    return [{**row, "specs": specs[row["id"]]} for row in rows]


def find(session: Session, type_id: str) -> dict[str, Any] | None:
    """Return a type with `specs` by its id."""
    found = all_of(session, select(*TABLE).where(TABLE.id == type_id))
    return found[0] if found else None


def exists(session: Session, name_or_id: str) -> bool:
    """Say whether there is a type of this name or id."""
    wanted = select(TABLE.id).where((TABLE.name == name_or_id) | (TABLE.id == name_or_id))
    return session.scalar(wanted.limit(1)) is not None


def add(session: Session, values: Mapping[str, Any], specs: Mapping[str, str]) -> None:
    """Make a type; `Conflict` if its name is taken."""
    try:
        session.execute(insert(QosTypeRow).values(**values))
    except IntegrityError:
        raise Conflict(f"QoS Type with name {values['name']} already exist.") from None
    types.write_specs(session, values["id"], specs)


def describe(session: Session, type_id: str, description: str | None, now: datetime) -> None:
    """Change a type's description: all of it that can be changed."""
    session.execute(
        update(QosTypeRow)
        .where(QosTypeRow.id == type_id)
        .values(description=description, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def remove(session: Session, type_id: str) -> None:
    """Delete a type; no share has one yet."""
    types.forget(session, type_id)
    session.execute(delete(QosTypeRow).where(QosTypeRow.id == type_id).execution_options(synchronize_session=False))
