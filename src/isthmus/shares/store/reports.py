"""What managers report of themselves: that they live, and what their back ends hold and can do."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.shares.model import Status
from isthmus.shares.tables import AvailabilityZoneRow, InstanceRow, PoolRow, ServiceRow, ShareRow

ENDLESS = -1.0


@dataclass(frozen=True)
class PoolFigures:
    """A pool as it is now. GiB; None is unknown, `ENDLESS` without end."""

    host: str
    total_gib: float | None
    free_gib: float | None
    allocated_gib: float | None
    capabilities: Mapping[str, Any]


def register(session: Session, *, backend: str, zone: str, now: datetime) -> None:
    """Make a manager and its zone known. Already known: its heartbeat is refreshed."""
    _make_zone(session, zone, now)
    found = session.execute(
        update(ServiceRow).where(ServiceRow.host == backend).values(availability_zone=zone, heartbeat_at=now)
    )
    if found.rowcount:  # type: ignore[attr-defined] # an update's result is a CursorResult
        return
    try:
        with session.begin_nested():
            session.execute(
                insert(ServiceRow).values(
                    host=backend,
                    binary="manila-share",
                    availability_zone=zone,
                    heartbeat_at=now,
                    created_at=now,
                    disabled=False,
                    ensuring=False,
                    answers=True,
                )
            )
    except IntegrityError:
        # Another manager of the same back end came first.
        return


def beat(session: Session, backends: list[str], now: datetime) -> None:
    """Say that the managers of these back ends live."""
    session.execute(update(ServiceRow).where(ServiceRow.host.in_(backends)).values(heartbeat_at=now, updated_at=now))


def say_health(session: Session, backend: str, *, answers: bool, trouble: str | None) -> None:
    """Say whether the storage behind a manager answers, and if not, why."""
    session.execute(update(ServiceRow).where(ServiceRow.host == backend).values(answers=answers, trouble=trouble))


def keep_pools(session: Session, backend: str, pools: list[PoolFigures], now: datetime) -> None:
    """Replace what was known of a back end's pools; what is placed and not yet made stays counted."""
    hosts = [pool.host for pool in pools]
    session.execute(delete(PoolRow).where(PoolRow.backend == backend, PoolRow.host.not_in(hosts)))
    # In the order in which placements lock them.
    for pool in sorted(pools, key=lambda each: each.host):
        _keep(session, backend, pool, now)


def _keep(session: Session, backend: str, pool: PoolFigures, now: datetime) -> None:
    values = {
        "backend": backend,
        "total_gib": pool.total_gib,
        "free_gib": pool.free_gib,
        "allocated_gib": pool.allocated_gib,
        "capabilities": dict(pool.capabilities),
        "reported_at": now,
    }
    # Taken first: a placement that is under way is then either seen below or waits and is counted on top.
    changed = session.execute(update(PoolRow).where(PoolRow.host == pool.host).values(**values))
    counted = {"placed_gib": _size(session, pool.host, Status.CREATING), "promised_gib": _size(session, pool.host)}
    if changed.rowcount:  # type: ignore[attr-defined] # an update's result is a CursorResult
        session.execute(update(PoolRow).where(PoolRow.host == pool.host).values(**counted))
        return
    try:
        with session.begin_nested():
            session.execute(insert(PoolRow).values(host=pool.host, **values, **counted))
    except IntegrityError:
        # Another manager of the same back end reported the pool for the first time at this moment.
        return


def _size(session: Session, host: str, status: Status | None = None) -> int:
    statement = (
        select(func.coalesce(func.sum(ShareRow.size), 0))
        .join(InstanceRow, InstanceRow.share_id == ShareRow.id)
        .where(InstanceRow.host == host)
    )
    if status is not None:
        statement = statement.where(InstanceRow.status == status)
    return int(session.scalar(statement) or 0)


def _make_zone(session: Session, zone: str, now: datetime) -> None:
    if session.scalar(select(AvailabilityZoneRow.id).where(AvailabilityZoneRow.name == zone)) is not None:
        return
    try:
        with session.begin_nested():
            session.execute(insert(AvailabilityZoneRow).values(id=str(uuid.uuid4()), name=zone, created_at=now))
    except IntegrityError:
        return
