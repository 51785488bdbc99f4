"""Lists of groups and of groups' snapshots: unlike other lists, they refuse filters that they do not know."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.call import Call
from isthmus.shares.api.lists import narrowed, ordered, paged, rows
from isthmus.shares.api.queries import MOST, Order, Page, flag, order_of, page_of
from isthmus.shares.api.views import Row

_NOT_FILTERS = frozenset({"limit", "offset", "sort_key", "sort_dir", "all_tenants"})


def listed(call: Call, table: Any, filters: Mapping[str, Any], what: str) -> tuple[list[Row], Page]:
    """Return the page of rows that the call asks for: the project's, or for administrators with `all_tenants` all."""
    unknown = call.query.keys() - filters.keys() - _NOT_FILTERS
    if unknown:
        key = min(unknown)
        raise InvalidInput(f"Invalid input received: {what} cannot be filtered using '{key}' key.")
    columns = {column.name: column for column in table.columns}
    page, order = page_of(call), order_of(call, columns, Order("created_at"))
    # No limit is as good as 0 here.
    page = Page(page.limit or MOST, page.offset, page.asked_limit)
    statement: Select[Any] = narrowed(select(table), call, filters)
    if not (flag(call, "all_tenants") and call.is_admin):
        statement = statement.where(table.c.project_id == call.project_id)
    return rows(call.session, paged(ordered(statement, columns, order, table.c.id), page)), page
