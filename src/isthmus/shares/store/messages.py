"""User messages: what the owner of an object is told about what went wrong behind the API."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import insert
from sqlalchemy.orm import Session

from isthmus.shares.messages import Action, Detail, Resource
from isthmus.shares.tables import MessageRow

KEPT = timedelta(days=30)
LONGEST_TEXT = 4000


def say(
    session: Session,
    *,
    project_id: str,
    action: Action,
    detail: Detail,
    resource_id: str,
    now: datetime,
    resource_type: Resource = Resource.SHARE,
    request_id: str | None = None,
    text: str | None = None,
    kept: timedelta = KEPT,
) -> None:
    """Leave a message for a project. `text` is our own sentence, shown after the detail's; it holds no secret."""
    session.execute(
        insert(MessageRow).values(
            id=str(uuid.uuid4()),
            project_id=project_id,
            request_id=request_id,
            resource_type=resource_type,
            resource_id=resource_id,
            action_id=action,
            detail_id=detail,
            text=text[:LONGEST_TEXT] if text else None,
            message_level="ERROR",
            created_at=now,
            expires_at=now + kept,
        )
    )
