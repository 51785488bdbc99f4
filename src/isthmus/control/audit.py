"""The audit record: who did what, when, to which object, and how it ended, for each call that changes something.

The words are CADF's (initiator, action, target, outcome, reason), which keystonemiddleware's audit filter speaks too.
That filter is not used: it sends notifications and keeps nothing that could be asked, needs a map of every path, and
knows nothing of the object that a call makes.

Here a row is written before the call is carried out and its outcome is added afterwards; a row that stays `pending`
tells of a process that died in between. If it cannot be written, the call is refused: nothing is done without a record.
Rows are never changed again, and no API deletes them. The same goes to the logger `isthmus.audit`, one JSON object a
line. Bodies are not recorded, as they may hold secrets; a refusal's reason is the fault's message, which holds none.
"""

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oslo_middleware import request_id
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from isthmus.control.audit_records import FAILURE, LINES, PENDING, SUCCESS, AuditRow, plain, shown
from isthmus.control.database import Database, utc_now
from isthmus.control.http import ACTION, send_fault

LOG = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

ACTIONS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
MOST_READ_BYTES = 1 << 16
"""Of an answer; an object's id and a fault's message stand at its beginning."""


def audited(application: Wsgi, database: Database, services: Mapping[str, str], project: str | None) -> Wsgi:
    """Return the application with a record of each call that may change something.

    `services` name the services by the prefix of their paths. `project` is that of callers without a token, where the
    API asks for none; without it a call without a valid token is not recorded, as nobody is known and nothing is done.
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        row = _begun(environ, services, project)
        if row is None:
            return application(environ, start_response)
        try:
            with database.transaction() as session:
                session.add(row)
        except SQLAlchemyError as error:
            LOG.warning("%s %s is refused, as it cannot be recorded: %s", row.action, row.path, type(error).__name__)
            return _refuse(start_response)
        return _recorded(application, environ, start_response, database, row)

    return answer


def _begun(environ: Mapping[str, Any], services: Mapping[str, str], project: str | None) -> AuditRow | None:
    path = environ.get("PATH_INFO", "")
    prefix = next((each for each in sorted(services, key=len, reverse=True) if path.startswith(each)), None)
    action = ACTIONS.get(environ["REQUEST_METHOD"])
    known = environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed"
    if prefix is None or action is None or not (known or project):
        return None
    caller = environ.get("HTTP_X_PROJECT_ID") if known else environ.get("HTTP_X_PROJECT_ID") or project
    collections, ids = _named(path[len(prefix) :], caller or "")
    return AuditRow(
        id=str(uuid.uuid4()),
        created_at=utc_now(),
        request_id=str(environ.get(request_id.ENV_REQUEST_ID, "")),
        service=services[prefix],
        user_id=_short(environ.get("HTTP_X_USER_ID", "") if known else "noauth", 64),
        project_id=_short(caller or "", 64),
        roles=environ.get("HTTP_X_ROLES", "") if known else "admin",
        address=_short(environ.get("REMOTE_ADDR", ""), 64),
        action=action,
        resource=_short("/".join(collections), 255),
        object_id=_short(ids[-1], 255) if ids else None,
        path=_text(path),
        outcome=PENDING,
    )


def _named(path: str, project: str) -> tuple[list[str], list[str]]:
    """Return the collections and the ids of a path: /PROJECT/transfers/ID/actions names transfers and ID."""
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] == project:
        parts = parts[1:]
    if parts and parts[-1] in {"action", "actions"}:
        parts = parts[:-1]
    return parts[0::2], parts[1::2]


def _recorded(
    application: Wsgi, environ: dict[str, Any], start_response: Any, database: Database, row: AuditRow
) -> Iterable[bytes]:
    statuses: list[str] = []

    def keep(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
        statuses[:] = [status]
        return start_response(status, headers, *exception)

    chunks = list(application(environ, keep))
    status = int(statuses[0].split()[0])
    told = _told(b"".join(chunks))
    ended = _ended(row, str(environ.get(ACTION) or row.action), status, told)
    try:
        with database.transaction() as session:
            session.execute(update(AuditRow).where(AuditRow.id == row.id, AuditRow.outcome == PENDING).values(**ended))
    except SQLAlchemyError as error:
        # It is done, and the caller must learn so; the row stays pending, and the line below says the rest.
        LOG.warning("the outcome of %s %s is not recorded: %s", row.action, row.path, type(error).__name__)
    LINES.info("%s", json.dumps({**shown(row), **{key: plain(value) for key, value in ended.items()}}))
    return chunks


def _ended(row: AuditRow, action: str, status: int, told: Any) -> dict[str, Any]:
    """Return the columns that an answer fills in."""
    good = status < 400
    inner = next(iter(told.values()), None) if isinstance(told, dict) else None
    facts = inner if isinstance(inner, dict) else {}
    made = facts.get("id") if good and action == "create" else None
    return {
        "ended_at": utc_now(),
        "action": action.replace("\x00", "")[:64],
        "object_id": str(made)[:255] if made else row.object_id,
        "outcome": SUCCESS if good else FAILURE,
        "status": status,
        "reason": None if good else str(facts.get("message") or "").replace("\x00", "")[:1000],
    }


def _told(body: bytes) -> Any:
    if len(body) > MOST_READ_BYTES:
        return None
    try:
        return json.loads(body or b"null")
    except ValueError:
        return None


def _refuse(start_response: Any) -> Iterable[bytes]:
    message = "the database does not take the record of this call: try again"
    return send_fault(start_response, "503 Service Unavailable", message)


def _short(text: str, length: int) -> str:
    return _text(text)[:length]


def _text(text: str) -> str:
    """Return a path's text as a database keeps it: WSGI gives bytes as latin-1, and a client may send any."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace").replace("\x00", "�")
