"""The rows of the audit record (`control.audit`), for whoever writes or reads one without serving HTTP."""

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, String, Text, select
from sqlalchemy.dialects.mysql import DATETIME as MYSQL_DATETIME
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import DateTime

from isthmus.control.database import Base
from isthmus.control.errors import NotFound

LINES = logging.getLogger("isthmus.audit")

PENDING, SUCCESS, FAILURE = "pending", "success", "failure"

_Moment = DateTime().with_variant(MYSQL_DATETIME(fsp=6), "mysql", "mariadb")


class AuditRow(Base):
    """One call. `object_id` is what it made, or what its path names last; `resource` are the path's collections."""

    __tablename__ = "audit_records"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(_Moment, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(_Moment)
    request_id: Mapped[str] = mapped_column(String(64))
    service: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[str] = mapped_column(String(64), index=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    roles: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    resource: Mapped[str] = mapped_column(String(255))
    object_id: Mapped[str | None] = mapped_column(String(255), index=True)
    path: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(16))
    status: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(Text)


def record_consequence(
    session: Session,
    *,
    service: str,
    user_id: str,
    project_id: str,
    resource: str,
    object_id: str,
    cause: str,
    now: datetime,
) -> None:
    """Record what was made in a user's name without a call of theirs, in the transaction that makes it.

    `cause` is the path of what they had made for it: a schedule, a wave, an execution to be deployed after. Such a row
    has neither request nor address, roles or status.
    """
    row = AuditRow(
        id=str(uuid.uuid4()),
        created_at=now,
        ended_at=now,
        request_id="",
        service=service,
        user_id=user_id[:64],
        project_id=project_id[:64],
        roles="",
        address="",
        action="create",
        resource=resource,
        object_id=object_id,
        path=cause,
        outcome=SUCCESS,
    )
    session.add(row)
    LINES.info("%s", json.dumps(shown(row)))


def fetch(session: Session, wanted: Mapping[str, str], marker: str | None, limit: int | None) -> Sequence[AuditRow]:
    """Return records, the newest first, whose columns are as wanted; `NotFound` for an unknown marker."""
    query = select(AuditRow).order_by(AuditRow.created_at.desc(), AuditRow.id.desc()).limit(limit)
    for column, value in wanted.items():
        query = query.where(getattr(AuditRow, column) == value)
    if marker is not None:
        last = session.get(AuditRow, marker)
        if last is None:
            raise NotFound(f"the marker {marker} is not in this listing; start without a marker")
        older = AuditRow.created_at < last.created_at
        query = query.where(older | ((AuditRow.created_at == last.created_at) & (AuditRow.id < last.id)))
    return session.scalars(query).all()


def shown(row: AuditRow) -> dict[str, Any]:
    """Return a record as the API and the log show it."""
    return {column.name: plain(getattr(row, column.name)) for column in AuditRow.__table__.columns}


def plain(value: Any) -> Any:
    """Return a column's value as JSON has it."""
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
