"""The managers of back ends as administrators see and steer them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from isthmus.shares.tables import ServiceRow

_TABLE = ServiceRow.__table__.c


def matching(session: Session, wanted: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the services whose columns have these values, in the order in which they were made known."""
    statement = select(*_TABLE).order_by(_TABLE.id)
    for column, value in wanted.items():
        statement = statement.where(_TABLE[column] == value)
    return cast("list[Mapping[str, Any]]", session.execute(statement).mappings().all())


def find(session: Session, host: str, binary: str) -> Mapping[str, Any] | None:
    """Return one service, None if there is no such."""
    found = matching(session, {"host": host, "binary": binary})
    return found[0] if found else None


def set_disabled(session: Session, service_id: int, *, disabled: bool, reason: str | None) -> None:
    """Keep new shares away from a back end, or let them in again."""
    session.execute(
        update(ServiceRow).where(ServiceRow.id == service_id).values(disabled=disabled, disabled_reason=reason)
    )


def set_ensuring(session: Session, service_id: int) -> bool:
    """Say that a back end's shares are being gone through; False if they are already."""
    begun = session.execute(
        update(ServiceRow)
        .where(ServiceRow.id == service_id, ServiceRow.ensuring.is_(False))
        .values(ensuring=True)
        .execution_options(synchronize_session=False)
    )
    return bool(begun.rowcount == 1)  # type: ignore[attr-defined] # an update's result is a CursorResult


def is_up(service: Mapping[str, Any], now: datetime, down_time: int) -> bool:
    """Say whether its last heartbeat is at most `down_time` seconds old."""
    beat = service["heartbeat_at"]
    return beat is not None and (now - beat).total_seconds() <= down_time
