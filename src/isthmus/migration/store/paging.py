"""Pages of a listing: order, marker, limit. A page starts behind its marker whatever has changed since."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, false, func, or_
from sqlalchemy.orm import Session

from isthmus.control.errors import InvalidInput, NotFound

Row = TypeVar("Row")

SORT_KEYS = (
    "created_at",
    "updated_at",
    "id",
    "number",
    "status",
    "last_execution_status",
    "scenario",
    "type",
    "name",
    "transfer_id",
    "next_due_at",
    "host",
)


@dataclass(frozen=True)
class Page:
    """What part of a listing is wanted. `sort` pairs a key with True for descending."""

    marker: str | None = None
    limit: int | None = None
    sort: tuple[tuple[str, bool], ...] = (("created_at", True), ("id", True))
    status: str | None = None
    show_deleted: bool = False


def fetch_page(session: Session, row_class: type[Row], wanted: Select[Row], page: Page) -> Sequence[Row]:
    """Return the rows of a page of `wanted`, which already says whose rows.

    Raises `NotFound` if the marker is none of them, `InvalidInput` for a sort key that the rows have not.
    """
    columns: Any = row_class
    if not page.show_deleted:
        wanted = wanted.where(columns.deleted_at.is_(None))
    order = [(_expression(columns, key), descending) for key, descending in page.sort]
    if "id" not in dict(page.sort):
        order.append((columns.id, True))
    if page.marker is not None:
        wanted = wanted.where(_behind(session, columns, wanted, order, page.marker))
    wanted = wanted.order_by(*(expression.desc() if down else expression.asc() for expression, down in order))
    if page.limit is not None:
        wanted = wanted.limit(page.limit)
    return session.scalars(wanted).all()


def _expression(columns: Any, key: str) -> ColumnElement[Any]:
    name = "last_execution_status" if key == "status" and not hasattr(columns, "status") else key
    if key not in SORT_KEYS or not hasattr(columns, name):
        known = ", ".join(each for each in SORT_KEYS if hasattr(columns, each))
        raise InvalidInput(f"there is no sort_key {key!r} here; there are: {known}")
    column: ColumnElement[Any] = getattr(columns, name)
    # What was never changed sorts by its creation; databases do not agree on where nulls go.
    return func.coalesce(column, columns.created_at) if name == "updated_at" else column


def _behind(
    session: Session,
    columns: Any,
    wanted: Select[Any],
    order: Sequence[tuple[ColumnElement[Any], bool]],
    marker: str,
) -> ColumnElement[bool]:
    position = session.execute(
        wanted.where(columns.id == marker).with_only_columns(*(expression for expression, _ in order))
    ).first()
    if position is None:
        raise NotFound(f"the marker {marker} is not in this listing; start without a marker")
    alternatives = []
    for index, (expression, descending) in enumerate(order):
        equal = [before == value for (before, _), value in zip(order[:index], position, strict=False)]
        further = expression < position[index] if descending else expression > position[index]
        alternatives.append(and_(*equal, further))
    return or_(false(), *alternatives)
