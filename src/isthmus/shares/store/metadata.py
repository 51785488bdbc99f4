"""Metadata of whatever carries it: keys and values by the object's id."""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.shares.tables import MetadataRow

_TABLE = MetadataRow.__table__
_OF_ONE = (
    select(_TABLE.c.key, _TABLE.c.value).where(_TABLE.c.object_id == bindparam("object_id")).order_by(_TABLE.c.key)
)
# Without an order: to sort those of 1,000 objects costs the database half as much again as to find them.
_OF_MANY = select(_TABLE.c.object_id, _TABLE.c.key, _TABLE.c.value).where(
    _TABLE.c.object_id.in_(bindparam("object_ids", expanding=True))
)


def read(session: Session, object_id: str) -> dict[str, str]:
    """Return an object's metadata."""
    found = session.connection().execute(_OF_ONE, {"object_id": object_id})
    return {row.key: row.value for row in found}


def read_many(session: Session, object_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the metadata of each of the objects by id, in one query, in any order; an empty one for those without."""
    found: dict[str, dict[str, str]] = {identity: {} for identity in object_ids}
    if not found:
        return found
    if len(found) == 1:
        (object_id,) = found
        return {object_id: read(session, object_id)}
    for object_id, key, value in session.connection().execute(_OF_MANY, {"object_ids": list(found)}):
        found[object_id][key] = value
    return found


def write(session: Session, object_id: str, items: Mapping[str, str]) -> None:
    """Set these keys; others stay. Another call may set one of them at the same moment: then the later one holds."""
    for _ in range(2):
        known = set(session.scalars(select(MetadataRow.key).where(MetadataRow.object_id == object_id)))
        new = [{"object_id": object_id, "key": key, "value": value} for key, value in items.items() if key not in known]
        if not new or _inserted(session, new):
            _change(session, object_id, {key: value for key, value in items.items() if key in known})
            return
    # A third call took a key away and gave it back meanwhile; what is there now is changed, the rest was its wish.
    _change(session, object_id, items)


def drop(session: Session, object_id: str, keys: Iterable[str] | None = None) -> int:
    """Remove these keys, or all; return how many there were."""
    statement = delete(MetadataRow).where(MetadataRow.object_id == object_id)
    if keys is not None:
        statement = statement.where(MetadataRow.key.in_(list(keys)))
    gone = session.execute(statement.execution_options(synchronize_session=False))
    return int(gone.rowcount)  # type: ignore[attr-defined] # a delete's result is a CursorResult


def _inserted(session: Session, rows: list[dict[str, str]]) -> bool:
    try:
        with session.begin_nested():
            session.execute(insert(MetadataRow), rows)
    except IntegrityError:
        return False
    return True


def _change(session: Session, object_id: str, items: Mapping[str, str]) -> None:
    if not items:
        return
    table = MetadataRow.__table__
    statement = (
        update(table)  # type: ignore[arg-type] # a mapped class's table is a Table
        .where(table.c.object_id == object_id, table.c.key == bindparam("of_key"))
        .values(value=bindparam("new_value"))
    )
    session.connection().execute(statement, [{"of_key": key, "new_value": value} for key, value in items.items()])
