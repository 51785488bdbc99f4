"""The line of disk steps and the places that they hold. What each gets is decided by `planning.placement`.

Whoever decides takes a turn first: decisions of any number of conductors follow one another, so none counts on what
another has just given away. A place is a row; nothing else counts it, so nothing can drift from it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from isthmus.migration.model import ACTIVE
from isthmus.migration.placement_tables import PlacementRow, PlacementTurnRow
from isthmus.migration.tables import ExecutionRow

_TURN = 1


def take_turn(session: Session) -> int:
    """Wait for all who decide now, keep others out until the transaction ends, and return the turn's number.

    Must be the first thing a transaction does: what it reads afterwards is then what the turn before has left.
    """
    turned = session.execute(
        update(PlacementTurnRow)
        .where(PlacementTurnRow.id == _TURN)
        .values(number=PlacementTurnRow.number + 1)
        .execution_options(synchronize_session=False)
    )
    if not turned.rowcount:  # type: ignore[attr-defined]
        session.execute(insert(PlacementTurnRow).values(id=_TURN, number=1))
    return session.scalars(select(PlacementTurnRow.number).where(PlacementTurnRow.id == _TURN)).one()


def find(session: Session, step_id: str) -> PlacementRow | None:
    """Return the step's row; None if it has neither a place nor waits for one."""
    return session.get(PlacementRow, step_id)


def join(session: Session, row: PlacementRow) -> None:
    """Have a step join the line."""
    session.add(row)
    session.flush()


def everything(session: Session) -> Sequence[PlacementRow]:
    """Return all rows, those that wait and those that hold a place, in the line's order."""
    return session.scalars(select(PlacementRow).order_by(PlacementRow.number, PlacementRow.step_id)).all()


def give(row: PlacementRow, worker_id: str, bandwidth: int, now: datetime) -> None:
    """Give a waiting step its place."""
    row.worker_id, row.bandwidth, row.held_at, row.waits_for = worker_id, bandwidth, now, None


def take_back(row: PlacementRow, wish: dict[str, Any]) -> None:
    """Put a step that lost its place back into the line, where it was, with what it wants now."""
    row.worker_id, row.bandwidth, row.held_at, row.wish = None, 0, None, wish


def leave(session: Session, step_id: str) -> bool:
    """Remove a step; return whether it was there."""
    left = session.execute(delete(PlacementRow).where(PlacementRow.step_id == step_id))
    return bool(left.rowcount)  # type: ignore[attr-defined]


def anybody_waits(session: Session) -> bool:
    """Whether the line is not empty."""
    return session.scalar(select(PlacementRow.step_id).where(PlacementRow.worker_id.is_(None)).limit(1)) is not None


def of_ended_executions(session: Session) -> list[str]:
    """Return the steps whose execution has ended, or is gone: nobody will ever give their places back."""
    alive = select(ExecutionRow.id).where(ExecutionRow.status.in_(ACTIVE))
    return list(session.scalars(select(PlacementRow.step_id).where(PlacementRow.execution_id.not_in(alive))))
