"""Workers as they were last heard of. They have no database: conductors write here what the engine has heard."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from isthmus.migration.model import ACTIVE, ServiceStatus
from isthmus.migration.placement_tables import PlacementRow, WorkerRow
from isthmus.migration.store import regions
from isthmus.migration.tables import ExecutionRow, ServiceRow, TaskRow, TransferRow

WORKER_BINARY = "isthmus-worker"

SILENT_AFTER = timedelta(seconds=30)
"""A worker whose last heartbeat is older is down, also if no conductor has said so: none may be running."""

FORGOTTEN_AFTER = timedelta(days=1)
"""A worker that was down for so long will not come back under its identity."""


def record(session: Session, facts: Mapping[str, Any], now: datetime) -> None:
    """Write down a worker that has just begun a lease. `facts` are the row's columns, `id` among them."""
    row = session.get(WorkerRow, facts["id"])
    if row is None:
        session.add(WorkerRow(**facts, leased=True, seen_at=now, created_at=now))
        return
    for key, value in facts.items():
        setattr(row, key, value)
    row.leased, row.seen_at = True, now


def beat(session: Session, worker_id: str, seen_at: datetime, facts: Mapping[str, Any] | None) -> None:
    """Write down what a worker's last heartbeat told, if it told anything yet."""
    row = session.get(WorkerRow, worker_id)
    if row is None:
        return
    for key, value in (facts or {}).items():
        setattr(row, key, value)
    row.leased, row.seen_at = True, max(row.seen_at, seen_at)


def lapse(session: Session, worker_id: str) -> bool:
    """Write down that a worker's lease has ended; return whether it had one."""
    row = session.get(WorkerRow, worker_id)
    had = row is not None and row.leased
    if row is not None:
        row.leased = False
    return had


def known(session: Session) -> Sequence[WorkerRow]:
    """Return all workers."""
    return session.scalars(select(WorkerRow).order_by(WorkerRow.host, WorkerRow.id)).all()


def of_hosts(session: Session, hosts: Sequence[str]) -> dict[str, list[WorkerRow]]:
    """Return the workers of some hosts."""
    found: dict[str, list[WorkerRow]] = {host: [] for host in hosts}
    for row in session.scalars(select(WorkerRow).where(WorkerRow.host.in_(hosts)).order_by(WorkerRow.id)):
        found[row.host].append(row)
    return found


def places_held(session: Session) -> dict[str, int]:
    """Return how many disk steps have a place on each worker that any has."""
    found: dict[str, int] = {}
    for worker_id in session.scalars(select(PlacementRow.worker_id).where(PlacementRow.worker_id.is_not(None))):
        found[str(worker_id)] = found.get(str(worker_id), 0) + 1
    return found


def disabled_hosts(session: Session) -> set[str]:
    """Return the hosts whose worker service an administrator has disabled."""
    return set(
        session.scalars(
            select(ServiceRow.host).where(ServiceRow.binary == WORKER_BINARY, ServiceRow.enabled.is_(False))
        )
    )


def is_up(row: WorkerRow, now: datetime) -> bool:
    """Whether the worker has its lease, and was heard of lately."""
    return row.leased and now - row.seen_at <= SILENT_AFTER


def service_status(row: ServiceRow, own: Sequence[WorkerRow], now: datetime) -> ServiceStatus:
    """Return how a service is whose host has these workers: as they are, or as it told itself if there are none."""
    if row.binary != WORKER_BINARY or not own:
        return regions.status_of(row, now)
    return ServiceStatus.UP if any(is_up(each, now) for each in own) else ServiceStatus.DOWN


def strays(session: Session, worker_id: str, transfer_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return (transfer, instance) of those whose journals and maps are of no use at this worker.

    Another has copied the instance since, or the transfer is deleted and tidied away. What is not known is left alone.
    """
    at_work = {
        (transfer_id, instance)
        for transfer_id, instance in session.execute(
            select(ExecutionRow.action_id, TaskRow.instance)
            .join(TaskRow, TaskRow.execution_id == ExecutionRow.id)
            .join(PlacementRow, PlacementRow.step_id == TaskRow.id)
            .where(PlacementRow.worker_id == worker_id)
        )
    }
    wanted = select(TransferRow).where(TransferRow.id.in_(transfer_ids))
    return [
        (row.id, instance)
        for row in session.scalars(wanted)
        for instance in row.instances
        if _is_stray(row, instance, worker_id) and (row.id, instance) not in at_work
    ]


def areas_left(session: Session, step_ids: Sequence[str]) -> list[str]:
    """Return those of some steps of which nothing that is staged is needed any more: their executions have ended."""
    alive = session.scalars(
        select(TaskRow.id)
        .join(ExecutionRow, ExecutionRow.id == TaskRow.execution_id)
        .where(TaskRow.id.in_(step_ids), ExecutionRow.status.in_(ACTIVE))
    )
    return sorted(set(step_ids) - set(alive))


def _is_stray(row: TransferRow, instance: str, worker_id: str) -> bool:
    known = row.info or {}
    if row.deleted_at is not None and not known:
        return True
    return (known.get(instance) or {}).get("copied_by") not in {None, worker_id}


def forget_old(session: Session, now: datetime) -> None:
    """Remove the workers that were silent for long and on which no step has a place."""
    held = select(PlacementRow.worker_id).where(PlacementRow.worker_id.is_not(None))
    session.execute(delete(WorkerRow).where(WorkerRow.seen_at < now - FORGOTTEN_AFTER, WorkerRow.id.not_in(held)))
