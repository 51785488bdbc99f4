"""Shares put straight into Isthmus's database: as many as no one would wait for."""

import configparser
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, func, insert, select, update

from isthmus.control.database import Base, utc_now
from isthmus.shares.tables import ExportRow, InstanceRow, MetadataRow, ShareRow, ShareTypeRow, UsageRow

AT_ONCE = 2000


def fill(configuration: Path, project_id: str, user_id: str, total: int, share_type: str) -> None:
    """Add available shares of 1 GiB, each with an export location and one key of metadata, until there are `total`.

    `configuration` is the isthmus.conf that names the database. They lie in the pool of a share that is there
    already, or nowhere if there is none; no back end hears of them.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read(configuration)
    engine = create_engine(parser["database"]["connection"])
    with engine.begin() as connection:
        have = connection.scalar(select(func.count()).select_from(ShareRow)) or 0
        type_id = connection.scalar(select(ShareTypeRow.id).where(ShareTypeRow.name == share_type))
        host = connection.scalar(select(InstanceRow.host).limit(1))
        now = utc_now()
        for first in range(have, total, AT_ONCE):
            numbers = range(first, min(total, first + AT_ONCE))
            common = {"project_id": project_id, "user_id": user_id}, {"share_type_id": type_id, "host": host}
            _insert(connection, _rows(numbers, *common, now))
        _count(connection, project_id, max(0, total - have))
    engine.dispose()


def _rows(
    numbers: range, owner: dict[str, Any], place: dict[str, Any], now: datetime
) -> dict[type[Base], list[dict[str, Any]]]:
    """Return the rows of some shares: `owner` goes into each share, `place` into each instance."""
    rows: dict[type[Base], list[dict[str, Any]]] = {ShareRow: [], InstanceRow: [], ExportRow: [], MetadataRow: []}
    for number in numbers:
        share, instance = str(uuid.uuid4()), str(uuid.uuid4())
        stamps = {"created_at": now - timedelta(seconds=number), "updated_at": None}
        asked = {"name": f"row-{number}", "size": 1, "protocol": "NFS", "snapshot_support": True}
        found = {"share_id": share, "status": "available", "availability_zone": "nova"}
        export = {"instance_id": instance, "position": 0, "path": f"192.0.2.1:/{instance}"}
        rows[ShareRow].append({"id": share, **stamps, **owner, **asked})
        rows[InstanceRow].append({"id": instance, **stamps, **place, **found})
        rows[ExportRow].append({"id": str(uuid.uuid4()), **stamps, **export})
        rows[MetadataRow].append({"object_id": share, "key": "k", "value": "v"})
    return rows


def _insert(connection: Connection, rows: dict[type[Base], list[dict[str, Any]]]) -> None:
    for table, values in rows.items():
        connection.execute(insert(table), values)


def _count(connection: Connection, project_id: str, added: int) -> None:
    """Let the quota's counters know, as they are exact."""
    connection.execute(
        update(UsageRow)
        .where(UsageRow.project_id == project_id)
        .values(shares=UsageRow.shares + added, gigabytes=UsageRow.gigabytes + added)
    )
