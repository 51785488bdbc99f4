"""Filters, order and page of a list, told to the database.

A filter that a list does not know is left unheeded, as in Manila, unless the list says otherwise.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Select
from sqlalchemy.orm import Session

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.call import Call
from isthmus.shares.api.queries import Order, Page
from isthmus.shares.api.views import Row

Columns = Mapping[str, Any]
"""Columns by the name that the API gives them."""


def narrowed(statement: Select[Any], call: Call, columns: Columns) -> Select[Any]:
    """Return the statement with the query's exact filters; `name~` asks for a part of a text."""
    for name, column in columns.items():
        wanted = call.query.get(name)
        if wanted is None:
            continue
        is_part = name.endswith("~")
        statement = statement.where(column.contains(wanted, autoescape=True) if is_part else column == wanted)
    return statement


def since_and_before(statement: Select[Any], call: Call, column: Any) -> Select[Any]:
    """Return the statement with `created_since` and `created_before`; `InvalidInput` for what is no time."""
    since, before = _moment(call, "created_since"), _moment(call, "created_before")
    if since is not None:
        statement = statement.where(column >= since)
    return statement if before is None else statement.where(column <= before)


def keys_of(columns: Columns, order: Order, identity: Any) -> list[Any]:
    """Return what to sort by; what is equal is in the order of the ids, so pages do not overlap."""
    return [key.desc() if order.descending else key.asc() for key in (columns[order.key], identity)]


def ordered(statement: Select[Any], columns: Columns, order: Order, identity: Any) -> Select[Any]:
    """Return the statement in this order."""
    return statement.order_by(*keys_of(columns, order, identity))


def paged(statement: Select[Any], page: Page) -> Select[Any]:
    """Return the statement for one page."""
    return statement.limit(page.limit).offset(page.offset)


def rows(session: Session, statement: Select[Any]) -> list[Row]:
    """Return all rows, as views read them."""
    return cast("list[Row]", session.execute(statement).mappings().all())


def first(session: Session, statement: Select[Any]) -> Row | None:
    """Return the first row, None if there is none."""
    return cast("Row | None", session.execute(statement).mappings().first())


def _moment(call: Call, name: str) -> datetime | None:
    text = call.query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"Invalid value specified for the query key: {name}") from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
