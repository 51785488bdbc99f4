"""Status moves as guarded updates: each says whether it won."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from isthmus.shares.model import GROUP_MOVES, SHARE_MOVES, SNAPSHOT_MOVES, Status
from isthmus.shares.tables import GroupRow, GroupSnapshotRow, InstanceRow, SnapshotInstanceRow

Statused = InstanceRow | SnapshotInstanceRow | GroupRow | GroupSnapshotRow

_MOVES: Mapping[type[Statused], Mapping[Status, frozenset[Status]]] = {
    InstanceRow: SHARE_MOVES,
    SnapshotInstanceRow: SNAPSHOT_MOVES,
    GroupRow: GROUP_MOVES,
    GroupSnapshotRow: GROUP_MOVES,
}


class UnknownMove(AssertionError):
    """A move that no table has: a defect of the program."""


def move(
    session: Session,
    table: type[Statused],
    identity: str,
    *,
    of: Collection[Status],
    to: Status,
    now: datetime,
    **values: Any,
) -> bool:
    """Move an object whose status is one of `of` to `to`, setting `values` too; say whether it was in one of them.

    Raises `UnknownMove` if the tables of `model` do not have the move.
    """
    for status in of:
        if to not in _MOVES[table].get(status, frozenset()):
            raise UnknownMove(f"{table.__name__}: {status} -> {to}")
    return _set(session, table, identity, of, {"status": to, "updated_at": now, **values})


def hold(session: Session, table: type[Statused], identity: str, *, of: Collection[Status]) -> bool:
    """Lock an object's row until the transaction ends, if its status is one of `of`; say whether it is.

    Who depends on an object (a snapshot on its share) holds it first and then looks for what else depends on it, so of
    two calls that exclude each other (a snapshot of a share, the share's deletion) the later sees the earlier's work.
    """
    return _set(session, table, identity, of, {"status": table.status})


def force(
    session: Session,
    table: type[Statused],
    identity: str,
    *,
    to: str,
    now: datetime,
    but: Collection[Status] = (),
    **values: Any,
) -> bool:
    """Set a status as an administrator says, whatever it is, if not one of `but`; say whether it was set."""
    of = [status for status in Status if status not in but] if but else None
    return _set(session, table, identity, of, {"status": to, "updated_at": now, **values})


def _set(
    session: Session, table: type[Statused], identity: str, of: Collection[str] | None, values: dict[str, Any]
) -> bool:
    statement = update(table).where(table.id == identity)
    if of is not None:
        statement = statement.where(table.status.in_([str(status) for status in of]))
    moved = session.execute(statement.values(**values).execution_options(synchronize_session=False))
    return bool(moved.rowcount == 1)  # type: ignore[attr-defined] # an update's result is a CursorResult
