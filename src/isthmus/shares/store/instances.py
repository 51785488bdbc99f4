"""Share instances as the API reads them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from isthmus.shares.tables import InstanceRow, ShareRow

INSTANCE = InstanceRow.__table__
SHARE = ShareRow.__table__


def rows_of_instances() -> Select[Any]:
    """Return the statement that gives instances, with the project and user of their shares, to be narrowed."""
    return select(INSTANCE, SHARE.c.project_id, SHARE.c.user_id, SHARE.c.size).join_from(
        INSTANCE, SHARE, SHARE.c.id == INSTANCE.c.share_id
    )


def read(session: Session, instance_id: str) -> Mapping[str, Any] | None:
    """Return an instance; None if there is none."""
    row = session.execute(rows_of_instances().where(INSTANCE.c.id == instance_id)).mappings().first()
    return None if row is None else dict(row)
