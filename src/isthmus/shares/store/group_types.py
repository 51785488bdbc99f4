"""Group types as administrators make them."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict
from isthmus.shares.store import types
from isthmus.shares.tables import GroupRow, GroupTypeRow, GroupTypeShareTypeRow

_TABLE = GroupTypeRow.__table__.c


def listed(session: Session, *, is_public: bool | None, project_id: str) -> list[dict[str, Any]]:
    """Return types by name: the public ones and the project's, the private ones, or (None) all."""
    statement = select(*_TABLE)
    if is_public is not None:
        statement = statement.where(types.shown(_TABLE, is_public=is_public, project_id=project_id))
    return _whole(session, statement.order_by(_TABLE.name))


def find(session: Session, type_id: str) -> dict[str, Any] | None:
    """Return a type with `group_specs` and `share_types` by its id."""
    found = _whole(session, select(*_TABLE).where(_TABLE.id == type_id))
    return found[0] if found else None


def find_named(session: Session, name: str) -> dict[str, Any] | None:
    """Return a type with `group_specs` and `share_types` by its name."""
    found = _whole(session, select(*_TABLE).where(_TABLE.name == name))
    return found[0] if found else None


def add(session: Session, values: Mapping[str, Any], specs: Mapping[str, str], share_types: Collection[str]) -> None:
    """Make a type for groups of these share types (ids); `Conflict` if its name is taken."""
    try:
        session.execute(insert(GroupTypeRow).values(**values))
    except IntegrityError:
        raise Conflict(f"Share group type {values['name']} already exists.") from None
    held = [{"group_type_id": values["id"], "share_type_id": identity} for identity in share_types]
    session.execute(insert(GroupTypeShareTypeRow), held)
    types.write_specs(session, values["id"], specs)


def remove(session: Session, type_id: str) -> bool:
    """Delete a type unless groups use it; say whether it was deleted."""
    in_use = select(GroupRow.id).where(GroupRow.share_group_type_id == type_id)
    if session.scalar(in_use.limit(1)) is not None:
        return False
    for row in (GroupTypeShareTypeRow.group_type_id, GroupTypeRow.id):
        session.execute(delete(row.class_).where(row == type_id).execution_options(synchronize_session=False))
    types.forget(session, type_id)
    return True


def _whole(session: Session, statement: Select[Any]) -> list[dict[str, Any]]:
    rows = [dict(row) for row in session.execute(statement).mappings()]
    ids = [row["id"] for row in rows]
    specs = types.specs_of(session, ids)
    held: dict[str, list[str]] = {identity: [] for identity in ids}
    if ids:
        for pair in session.execute(
            select(GroupTypeShareTypeRow.group_type_id, GroupTypeShareTypeRow.share_type_id).where(
                GroupTypeShareTypeRow.group_type_id.in_(ids)
            )
        ):
            held[pair.group_type_id].append(pair.share_type_id)
    return [{**row, "group_specs": specs[row["id"]], "share_types": held[row["id"]]} for row in rows]
