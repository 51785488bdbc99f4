"""User messages: what went wrong behind the API with a project's objects (2.37)."""

from typing import Any

from sqlalchemy import delete, select

from isthmus.control.errors import NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.lists import first, narrowed, ordered, paged, rows, since_and_before
from isthmus.shares.api.message_texts import user_message
from isthmus.shares.api.queries import Order, order_of, page_of
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View, links, next_link
from isthmus.shares.tables import MessageRow

SINCE = since(37)
_TABLE = MessageRow.__table__
_FILTERS = {
    name: _TABLE.c[name]
    for name in ("request_id", "resource_type", "resource_id", "action_id", "detail_id", "message_level")
}
_SORT_KEYS = {
    **_FILTERS,
    **{name: _TABLE.c[name] for name in ("id", "project_id", "created_at", "expires_at")},
}
_VIEW = View(
    [
        Field("id"),
        Field("project_id"),
        Field("action_id"),
        Field("detail_id"),
        Field("message_level"),
        Field("created_at"),
        Field("expires_at"),
        Field("request_id"),
        Field("resource_type"),
        Field("resource_id"),
        Field("user_message", lambda row: user_message(row["action_id"], row["detail_id"], row["text"])),
    ]
)


def index(call: Call) -> dict[str, Any]:
    """List the project's messages; an administrator sees those of all projects."""
    call.allow("message:get_all")
    page, order = page_of(call), order_of(call, _SORT_KEYS, Order("created_at"))
    statement = narrowed(select(_TABLE), call, _FILTERS)
    if call.version >= since(52):
        statement = since_and_before(statement, call, _TABLE.c.created_at)
    if not call.is_admin:
        statement = statement.where(_TABLE.c.project_id == call.project_id)
    statement = paged(ordered(statement, _SORT_KEYS, order, _TABLE.c.id), page)
    shown = [_shown(call, row) for row in rows(call.session, statement)]
    return {"messages": shown, **next_link(call, "messages", page, len(shown))}


def show(call: Call, message_id: str) -> dict[str, Any]:
    """Show one message."""
    call.allow("message:get")
    return {"message": _shown(call, _message(call, message_id))}


def remove(call: Call, message_id: str) -> Answer:
    """Delete a message."""
    call.allow("message:delete")
    _message(call, message_id)
    call.session.execute(delete(MessageRow).where(MessageRow.id == message_id))
    return Answer(204)


def _message(call: Call, message_id: str) -> Row:
    row = first(call.session, select(_TABLE).where(_TABLE.c.id == message_id))
    if row is None or not (call.is_admin or row["project_id"] == call.project_id):
        raise NotFound(f"Message {message_id} could not be found.")
    return row


def _shown(call: Call, row: Row) -> dict[str, Any]:
    return _VIEW.at(call.version, admin=False)(row) | {"links": links(call, "messages", row["id"])}


ROUTES = (
    Route("GET", "/messages", index, since=SINCE),
    Route("GET", "/messages/{message_id}", show, since=SINCE),
    Route("DELETE", "/messages/{message_id}", remove, since=SINCE),
)
