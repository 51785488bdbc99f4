"""Shares as the API reads them: each with its primary instance and its type's name, in one row."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, ClauseElement, Select, and_, bindparam, func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors

from isthmus.shares.store import metadata
from isthmus.shares.tables import (
    ExportRow,
    InstanceRow,
    MetadataRow,
    ShareRow,
    ShareTypeRow,
    SnapshotInstanceRow,
    SnapshotRow,
)

Row = Mapping[str, Any]

SHARE = ShareRow.__table__
INSTANCE = InstanceRow.__table__
_TYPE = ShareTypeRow.__table__

_OF_INSTANCE = (
    "host",
    "status",
    "access_rules_status",
    "availability_zone",
    "share_type_id",
    "share_network_id",
    "share_server_id",
    "replica_state",
    "mount_point_name",
    "encryption_key_ref",
    "progress",
)
COLUMNS: Mapping[str, Any] = {
    **{column.name: column for column in SHARE.columns},
    "instance_id": INSTANCE.c.id,
    **{name: INSTANCE.c[name] for name in _OF_INSTANCE},
    "share_type_name": _TYPE.c.name,
}
"""What a row holds: the share's columns, its instance's and its type's name."""


# Made once: to make it costs more than the database takes for one share.
_ROWS: Select[Any] = (
    select(*(column.label(name) for name, column in COLUMNS.items()))
    .select_from(SHARE.join(INSTANCE, and_(INSTANCE.c.share_id == SHARE.c.id, INSTANCE.c.is_primary)))
    .outerjoin(_TYPE, _TYPE.c.id == INSTANCE.c.share_type_id)
)
_ONE = _ROWS.where(SHARE.c.id == bindparam("share_id"))


def rows_of_shares() -> Select[Any]:
    """Return the statement that gives shares as rows with `COLUMNS`, to be narrowed."""
    return _ROWS


def is_of_shares_alone(clause: ClauseElement | None) -> bool:
    """Say whether a condition or an order looks at shares' own columns only, and so at no instance of theirs."""
    return clause is None or not any(getattr(part, "table", None) is INSTANCE for part in visitors.iterate(clause))


def page_of_shares(
    statement: Select[Any], order: Sequence[Any], limit: int | BindParameter[int], offset: int | BindParameter[int]
) -> Select[Any]:
    """Return the statement, which looks at shares alone, for one page in this order.

    The page's ids are found first, in the shares' own indexes: what it skips is neither read nor joined.
    """
    ids = _conditions(select(SHARE.c.id), statement).order_by(*order).limit(limit).offset(offset).subquery("page")
    return _ROWS.join(ids, ids.c.id == SHARE.c.id).order_by(*order)


def _conditions(new: Select[Any], of: Select[Any]) -> Select[Any]:
    return new if of.whereclause is None else new.where(of.whereclause)


def shares_first(statement: Select[Any]) -> Select[Any]:
    """Return the statement with the shares read first, in the order of their own indexes.

    MariaDB (10.11) otherwise reads all instances and sorts, for a page of fifty.
    """
    return statement.prefix_with("STRAIGHT_JOIN", dialect="mysql").prefix_with("STRAIGHT_JOIN", dialect="mariadb")


def read(session: Session, share_id: str) -> dict[str, Any] | None:
    """Return a share, None if there is none."""
    row = session.connection().execute(_ONE, {"share_id": share_id}).mappings().first()
    return None if row is None else dict(row)


def note_metadata(session: Session, shares: Sequence[dict[str, Any]]) -> None:
    """Note in shares their `metadata`, read for all at once."""
    found = metadata.read_many(session, [share["id"] for share in shares])
    for share in shares:
        share["metadata"] = found[share["id"]]


def note_paths(session: Session, shares: Sequence[dict[str, Any]], *, admin: bool) -> None:
    """Note in shares the paths of their `export_locations`, read for all at once."""
    wanted = select(ExportRow.instance_id, ExportRow.path).where(
        ExportRow.instance_id.in_([share["instance_id"] for share in shares])
    )
    if not admin:
        wanted = wanted.where(ExportRow.is_admin_only.is_(False))
    paths: dict[str, list[str]] = {}
    for instance_id, path in session.execute(wanted.order_by(ExportRow.position)):
        paths.setdefault(instance_id, []).append(path)
    for share in shares:
        share["export_locations"] = paths.get(share["instance_id"], [])


def count(session: Session, statement: Select[Any]) -> int:
    """Return how many shares a statement gives."""
    if is_of_shares_alone(statement.whereclause):
        return session.scalar(_conditions(select(func.count()).select_from(SHARE), statement)) or 0
    return session.scalar(select(func.count()).select_from(statement.order_by(None).subquery())) or 0


def snapshots_of(session: Session, share_id: str) -> int:
    """Return how many snapshots depend on a share."""
    return session.scalar(select(func.count()).select_from(SnapshotRow).where(SnapshotRow.share_id == share_id)) or 0


def group_members_of(session: Session, share_id: str) -> int:
    """Return how many members of groups' snapshots depend on a share."""
    counted = (
        select(func.count())
        .select_from(SnapshotInstanceRow)
        .where(SnapshotInstanceRow.share_id == share_id, SnapshotInstanceRow.group_snapshot_id.is_not(None))
    )
    return session.scalar(counted) or 0


def has_metadata(key: str, value: str) -> Any:
    """Return the condition that a share has this key with this value."""
    pairs = select(MetadataRow.object_id).where(
        MetadataRow.object_id == SHARE.c.id, MetadataRow.key == key, MetadataRow.value == value
    )
    return pairs.exists()
