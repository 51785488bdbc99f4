"""The outbox: what the engine must be told, written in the same transaction as the row it is about.

A dispatcher in the conductor reads entries in order, tells the engine (starting a workflow whose id already exists
is success) and deletes them; so an accepted call is never lost and never carried out twice.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, String
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import DateTime

from isthmus.control import tracing
from isthmus.control.database import Base


class Kind(StrEnum):
    """What to tell the engine."""

    START = "start"
    CANCEL = "cancel"
    SIGNAL = "signal"


class OutboxRow(Base):
    """One thing to tell the engine. `input` is a workflow's only argument (no secrets).

    `workflow` is the name of a workflow type, or of a signal.
    """

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(10))
    workflow_id: Mapped[str] = mapped_column(String(255))
    workflow: Mapped[str] = mapped_column(String(100), default="")
    input: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # The caller's trace (W3C's traceparent), where there is one, so that the work is part of it.
    trace: Mapped[dict[str, str] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime)


def start(session: Session, *, workflow: str, workflow_id: str, argument: dict[str, Any], now: datetime) -> None:
    """Have the workflow started once this transaction is committed."""
    session.add(
        OutboxRow(
            kind=Kind.START,
            workflow=workflow,
            workflow_id=workflow_id,
            input=argument,
            trace=tracing.carried(),
            created_at=now,
        )
    )


def cancel(session: Session, *, workflow_id: str, force: bool, now: datetime, keep: bool = False) -> None:
    """Have the workflow cancelled once this transaction is committed; one that has ended is left alone.

    `force` stops its undo too; `keep` has it keep what it has copied.
    """
    wishes = {"force": force, "keep": keep}
    session.add(OutboxRow(kind=Kind.CANCEL, workflow_id=workflow_id, input=wishes, created_at=now))


def signal(session: Session, *, workflow_id: str, name: str, now: datetime, argument: str | None = None) -> None:
    """Have the workflow told something once this transaction is committed; one that has ended is left alone."""
    content = None if argument is None else {"argument": argument}
    session.add(OutboxRow(kind=Kind.SIGNAL, workflow_id=workflow_id, workflow=name, input=content, created_at=now))
