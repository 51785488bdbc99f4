"""Minion pools: who may have a machine of theirs, and what becomes of machines that nobody needs.

A pool's row is locked for each of these, pools always in the order of their ids.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Text, cast, func, or_, select, update
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.migration.model import (
    POOL_BUSY,
    ExecutionType,
    MachinePower,
    MachineStatus,
    PoolPlatform,
    PoolStatus,
    Retention,
    pool_sources_of,
)
from isthmus.migration.reporting import Level
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import (
    DeploymentRow,
    MinionMachineRow,
    MinionPoolEventRow,
    MinionPoolRow,
    TransferRow,
)

GIVES_MACHINES = POOL_BUSY - {PoolStatus.DEALLOCATING_MACHINES, PoolStatus.DEALLOCATING_SHARED_RESOURCES} | {
    PoolStatus.ALLOCATED
}
"""Statuses in which a pool gives machines, or soon will."""


@dataclass(frozen=True)
class PoolWishes:
    """The pools that a transfer or deployment names."""

    origin: str | None = None
    destination: str | None = None
    morphing: Mapping[str, str] | None = None


def get(session: Session, project_id: str, pool_id: str) -> MinionPoolRow:
    """Return a live pool of the project; `NotFound` if there is none."""
    row = session.scalar(
        select(MinionPoolRow).where(
            MinionPoolRow.id == pool_id, MinionPoolRow.project_id == project_id, MinionPoolRow.deleted_at.is_(None)
        )
    )
    if row is None:
        raise NotFound(f"there is no minion pool {pool_id} in this project; GET minion_pools lists those that exist")
    return row


def claim(session: Session, pool_id: str) -> MinionPoolRow:
    """Return a live pool, locked until the transaction ends; `NotFound` if there is none."""
    session.execute(
        update(MinionPoolRow)
        .where(MinionPoolRow.id == pool_id)
        .values(project_id=MinionPoolRow.project_id)
        .execution_options(synchronize_session=False)
    )
    row = session.get(MinionPoolRow, pool_id, populate_existing=True)
    if row is None or row.deleted_at is not None:
        raise NotFound(f"there is no minion pool {pool_id}; it may just have been deleted")
    return row


def fetch(session: Session, project_id: str, page: Page) -> Sequence[MinionPoolRow]:
    """Return a page of the project's pools."""
    wanted = select(MinionPoolRow).where(MinionPoolRow.project_id == project_id)
    if page.status is not None:
        wanted = wanted.where(MinionPoolRow.status == page.status)
    return fetch_page(session, MinionPoolRow, wanted, page)


def check_wishes(
    session: Session, project_id: str, wishes: PoolWishes, *, origin_endpoint: str, destination_endpoint: str
) -> None:
    """Return if the named pools exist and stand beside the right endpoints; `NotFound` or `InvalidInput` if not."""
    named = [
        ("origin_minion_pool_id", wishes.origin, PoolPlatform.SOURCE, origin_endpoint),
        ("destination_minion_pool_id", wishes.destination, PoolPlatform.DESTINATION, destination_endpoint),
        *(
            (
                f"instance_osmorphing_minion_pool_mappings[{instance}]",
                each,
                PoolPlatform.DESTINATION,
                destination_endpoint,
            )
            for instance, each in (wishes.morphing or {}).items()
        ),
    ]
    for field, pool_id, platform, endpoint_id in named:
        if pool_id is None:
            continue
        row = get(session, project_id, pool_id)
        if row.platform != platform or row.endpoint_id != endpoint_id:
            raise InvalidInput(
                f"{field} must be a {platform} pool of endpoint {endpoint_id}; pool {row.id} ({row.name}) is a "
                f"{row.platform} pool of endpoint {row.endpoint_id}"
            )


def wanted_by(
    transfer: TransferRow, deployment: DeploymentRow | None, kind: str, instances: Sequence[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Return, by instance, the pools of which an execution of these instances (None: all) needs one machine each."""
    if kind == ExecutionType.TRANSFER_EXECUTION:
        both = {transfer.origin_minion_pool_id, transfer.destination_minion_pool_id} - {None}
        pools = tuple(sorted(str(each) for each in both))
        return {instance: pools for instance in instances or transfer.instances if pools}
    if deployment is None or deployment.skip_os_morphing:
        return {}
    mappings = deployment.instance_osmorphing_minion_pool_mappings or {}
    return {
        instance: (pool,)
        for instance, pool in mappings.items()
        if pool and instance in (deployment.instances or mappings)
    }


def check_ready(session: Session, wanted: Mapping[str, tuple[str, ...]]) -> None:
    """Return if all pools give machines, or soon will; `Conflict` names one that does not."""
    for pool_id in sorted({each for pools in wanted.values() for each in pools}):
        _check_gives(session.get(MinionPoolRow, pool_id), pool_id)


def _check_gives(row: MinionPoolRow | None, pool_id: str) -> MinionPoolRow:
    if row is None or row.deleted_at is not None:
        raise Conflict(f"minion pool {pool_id} is deleted; update the transfer to use another one, or none")
    if row.status not in GIVES_MACHINES:
        raise Conflict(f"minion pool {row.id} ({row.name}) is {row.status}; allocate it first")
    return row


def take(
    session: Session,
    execution_id: str,
    wanted: Mapping[str, tuple[str, ...]],
    now: datetime,
    new_id: Callable[[], str],
) -> list[str]:
    """Give machines to as many instances as possible, in order, all its machines to each; return those instances.

    Already done: an instance that has its machines keeps them. `Conflict` if a pool will not give any. Must be the
    first thing a transaction does.
    """
    ids = sorted({each for pools in wanted.values() for each in pools})
    for pool_id in ids:
        session.execute(
            update(MinionPoolRow)
            .where(MinionPoolRow.id == pool_id)
            .values(project_id=MinionPoolRow.project_id)
            .execution_options(synchronize_session=False)
        )
    pools = {each: _check_gives(session.get(MinionPoolRow, each, populate_existing=True), each) for each in ids}
    served = []
    for instance, needed in wanted.items():
        chosen = [_choose(pools[each], execution_id, instance, new_id, now) for each in needed]
        machines = [machine for machine in chosen if machine is not None]
        if len(machines) < len(needed):
            continue
        for pool_id, machine in zip(needed, machines, strict=True):
            _occupy(pools[pool_id], machine, execution_id, instance, now)
        served.append(instance)
    return served


def _choose(
    pool: MinionPoolRow, execution_id: str, instance: str, new_id: Callable[[], str], now: datetime
) -> MinionMachineRow | None:
    mine = [m for m in pool.machines if (m.allocated_action, m.allocated_instance) == (execution_id, instance)]
    if mine:
        return mine[0]
    if pool.status not in {PoolStatus.ALLOCATED, PoolStatus.IN_MAINTENANCE}:
        return None
    free = [m for m in pool.machines if m.allocation_status == MachineStatus.AVAILABLE]
    if free:
        return min(free, key=lambda machine: (machine.power_status != MachinePower.POWERED_ON, machine.number))
    return _new_machine(pool, new_id(), now) if len(pool.machines) < pool.maximum_minions else None


def _new_machine(pool: MinionPoolRow, row_id: str, now: datetime) -> MinionMachineRow:
    return MinionMachineRow(
        id=row_id,
        pool_id=pool.id,
        number=max((each.number for each in pool.machines), default=0) + 1,
        allocation_status=MachineStatus.AVAILABLE,
        power_status=MachinePower.POWERED_ON,
        last_used_at=now,
        created_at=now,
    )


def _occupy(pool: MinionPoolRow, machine: MinionMachineRow, execution_id: str, instance: str, now: datetime) -> None:
    if machine not in pool.machines:
        pool.machines.append(machine)
    if machine.allocation_status == MachineStatus.IN_USE:
        return
    machine.allocation_status, machine.power_status = MachineStatus.IN_USE, MachinePower.POWERED_ON
    machine.allocated_action, machine.allocated_instance = execution_id, instance
    machine.last_used_at = machine.updated_at = now


def release(session: Session, execution_id: str, now: datetime, instance: str | None = None) -> None:
    """Take back the machines of one instance of an execution, or of all. Already done: it has none."""
    taken = update(MinionMachineRow).where(MinionMachineRow.allocated_action == execution_id)
    if instance is not None:
        taken = taken.where(MinionMachineRow.allocated_instance == instance)
    session.execute(
        taken.values(
            allocation_status=MachineStatus.AVAILABLE,
            allocated_action=None,
            allocated_instance=None,
            last_used_at=now,
            updated_at=now,
        ).execution_options(synchronize_session=False)
    )


def settle(pool: MinionPoolRow, now: datetime, new_id: Callable[[], str]) -> None:
    """Bring a claimed pool's machines to what its limits say: at least the minimum, idle ones beyond it given up."""
    while len(pool.machines) < pool.minimum_minions:
        pool.machines.append(_new_machine(pool, new_id(), now))
    gone, off = _surplus(pool, now)
    for each in gone:
        pool.machines.remove(each)
    for each in off:
        each.power_status, each.updated_at = MachinePower.POWERED_OFF, now


def _surplus(pool: MinionPoolRow, now: datetime) -> tuple[list[MinionMachineRow], list[MinionMachineRow]]:
    """Return the machines to remove and those to turn off: idle for too long, and beyond the minimum."""
    since = now - timedelta(seconds=pool.minion_max_idle_time)
    idle = [
        each
        for each in sorted(pool.machines, key=lambda machine: -machine.number)
        if each.allocation_status == MachineStatus.AVAILABLE
        and (each.last_used_at is None or each.last_used_at <= since)
    ][: max(0, len(pool.machines) - pool.minimum_minions)]
    if pool.minion_retention_strategy == Retention.DELETE:
        return idle, []
    gone = idle[: max(0, len(pool.machines) - pool.maximum_minions)]
    return gone, [each for each in idle[len(gone) :] if each.power_status == MachinePower.POWERED_ON]


def needing_care(session: Session, now: datetime) -> list[str]:
    """Return the ids of allocated pools that have machines to add, to give up or to turn off."""
    rows = session.scalars(
        select(MinionPoolRow).where(MinionPoolRow.status == PoolStatus.ALLOCATED, MinionPoolRow.deleted_at.is_(None))
    )
    return [row.id for row in rows if _needs_care(row, now)]


def _needs_care(pool: MinionPoolRow, now: datetime) -> bool:
    return len(pool.machines) < pool.minimum_minions or any(_surplus(pool, now))


def may_move(pool: MinionPoolRow, target: PoolStatus) -> bool:
    """Tell whether a pool's status may become `target` now."""
    return pool.status in pool_sources_of(target)


def move(pool: MinionPoolRow, target: PoolStatus, now: datetime, message: str, level: Level = Level.INFO) -> None:
    """Move a claimed pool's status and say why; `Conflict` if it may not be moved there now."""
    if not may_move(pool, target):
        raise Conflict(
            f"minion pool {pool.id} ({pool.name}) is {pool.status}, from where it cannot become {target}; allocate or "
            "deallocate it first"
        )
    pool.status, pool.updated_at = target, now
    tell(pool, message, now, level)


def tell(pool: MinionPoolRow, message: str, now: datetime, level: Level = Level.INFO) -> None:
    """Add a line to a claimed pool's events."""
    index = max((each.index for each in pool.events), default=-1) + 1
    pool.events.append(
        MinionPoolEventRow(
            id=str(uuid5(UUID(pool.id), f"event/{index}")),
            pool_id=pool.id,
            level=level,
            message=message,
            index=index,
            created_at=now,
        )
    )


def in_use(pool: MinionPoolRow) -> Iterable[MinionMachineRow]:
    """Return the machines that work for an execution."""
    return [each for each in pool.machines if each.allocation_status == MachineStatus.IN_USE]


def check_unused(session: Session, pool: MinionPoolRow) -> None:
    """Return if no live transfer names the pool; `Conflict` names one that does."""
    mappings: Any = TransferRow.instance_osmorphing_minion_pool_mappings
    user = session.scalar(
        select(TransferRow.id)
        .where(
            TransferRow.deleted_at.is_(None),
            or_(
                TransferRow.origin_minion_pool_id == pool.id,
                TransferRow.destination_minion_pool_id == pool.id,
                func.coalesce(cast(mappings, Text), "").like(f"%{pool.id}%"),
            ),
        )
        .limit(1)
    )
    if user is not None:
        raise Conflict(f"minion pool {pool.id} ({pool.name}) is used by transfer {user}; update that transfer first")
