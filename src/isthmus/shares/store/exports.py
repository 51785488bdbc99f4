"""Export locations of shares and their instances, as the API reads them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from isthmus.shares.store import metadata
from isthmus.shares.tables import ExportRow, InstanceRow

EXPORT = ExportRow.__table__
_INSTANCE = InstanceRow.__table__


def of_share(share_id: str, *, primary_only: bool = False) -> Select[Any]:
    """Return the statement that gives a share's export locations, or its primary instance's, to be narrowed."""
    joined = select(EXPORT).join_from(EXPORT, _INSTANCE, _INSTANCE.c.id == EXPORT.c.instance_id)
    found = joined.where(_INSTANCE.c.share_id == share_id)
    return found.where(_INSTANCE.c.is_primary) if primary_only else found


def of_instance(instance_id: str) -> Select[Any]:
    """Return the statement that gives an instance's export locations, to be narrowed."""
    return select(EXPORT).where(EXPORT.c.instance_id == instance_id)


def read(session: Session, statement: Select[Any]) -> list[Mapping[str, Any]]:
    """Return export locations with their `metadata`, in the driver's order."""
    found = [dict(row) for row in session.execute(statement.order_by(EXPORT.c.position, EXPORT.c.id)).mappings()]
    items = metadata.read_many(session, [row["id"] for row in found])
    return [{**row, "metadata": items[row["id"]]} for row in found]
