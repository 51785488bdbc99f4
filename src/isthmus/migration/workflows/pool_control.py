"""The conductor's activities about minion pools and services. Each is one transaction and may be repeated."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session
from temporalio import activity

from isthmus.control.database import Database
from isthmus.control.diagnostics import describe, host_name
from isthmus.migration.model import ExecutionStatus, PoolStatus
from isthmus.migration.store import pools, recording, regions
from isthmus.migration.tables import ServiceRow
from isthmus.migration.workflows.asked import endpoint_ref
from isthmus.migration.workflows.calls import (
    BEGIN_POOL_ACTION,
    DESCRIBE_SERVICE,
    MOVE_POOL,
    RECORD_SERVICE,
    RELEASE_MINIONS,
    TAKE_MINIONS,
    Inquiry,
    MinionsServed,
    MinionsWanted,
    PoolMove,
    Question,
    ServiceFacts,
)
from isthmus.migration.workflows.control import recorded


class PoolActivities:
    """What the conductor offers to workflows beside `ControlActivities`."""

    def __init__(
        self, database: Database, now: Callable[[], datetime], new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self._database = database
        self._now = now
        self._new_id = new_id

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (
            self.take_minions,
            self.release_minions,
            self.begin_pool_action,
            self.move_pool,
            self.describe_service,
            self.record_service,
        )

    @activity.defn(name=TAKE_MINIONS)
    @recorded
    def take_minions(self, wanted: MinionsWanted) -> list[str]:
        """Give machines to the instances that can have all of theirs now, and return them."""
        with self._database.transaction() as session:
            now = self._now()
            served = pools.take(session, wanted.execution_id, wanted.pools, now, self._new_id)
            session.flush()
            if served and _awaits(session, wanted.execution_id):
                recording.move_execution(session, wanted.execution_id, ExecutionStatus.RUNNING, now)
            return served

    @activity.defn(name=RELEASE_MINIONS)
    @recorded
    def release_minions(self, done: MinionsServed) -> None:
        """Take an instance's machines back."""
        with self._database.transaction() as session:
            pools.release(session, done.execution_id, self._now(), done.instance)

    @activity.defn(name=BEGIN_POOL_ACTION)
    @recorded
    def begin_pool_action(self, argument: dict[str, Any]) -> Inquiry:
        """Return what the pool's cloud shall be asked."""
        with self._database.transaction() as session:
            pool = pools.claim(session, str(argument["pool_id"]))
            endpoint = endpoint_ref(session, pool.endpoint_id)
            return Inquiry(Question.VALIDATE_CONNECTION, endpoint, pool.maintenance_trust_id)

    @activity.defn(name=MOVE_POOL)
    @recorded
    def move_pool(self, wanted: PoolMove) -> bool:
        """Move a pool's status; False: something else has moved it meanwhile."""
        with self._database.transaction() as session:
            pool = pools.claim(session, wanted.pool_id)
            if pool.status == wanted.target:
                return True
            if not pools.may_move(pool, wanted.target):
                return False
            now = self._now()
            pools.move(pool, wanted.target, now, wanted.message, wanted.level)
            if wanted.settle and wanted.target is PoolStatus.ALLOCATED:
                pools.settle(pool, now, self._new_id)
            elif wanted.settle:
                pool.machines.clear()
            return True

    @activity.defn(name=DESCRIBE_SERVICE)
    def describe_service(self) -> ServiceFacts:
        """Return what this conductor is."""
        return ServiceFacts(
            host_name(), "isthmus-conductor", "isthmus_conductor", diagnostics=describe("isthmus-conductor")
        )

    @activity.defn(name=RECORD_SERVICE)
    @recorded
    def record_service(self, facts: ServiceFacts) -> None:
        """Write down what a service tells of itself; what operators have set stays."""
        with self._database.transaction() as session:
            now = self._now()
            row = regions.find_service(session, facts.host, facts.binary, facts.topic)
            if row is None:
                regions.add_service(session, service_row(self._new_id(), facts, now))
            else:
                row.providers, row.specs, row.reported_at = facts.providers, facts.diagnostics, now


def _awaits(session: Session, execution_id: str) -> bool:
    return recording.execution(session, execution_id).status == ExecutionStatus.AWAITING_MINION_ALLOCATIONS


def service_row(row_id: str, facts: ServiceFacts, now: datetime) -> ServiceRow:
    """Return the row of a service that has just been heard of."""
    return ServiceRow(
        id=row_id,
        host=facts.host,
        binary=facts.binary,
        topic=facts.topic,
        enabled=True,
        mapped_regions=list(facts.regions),
        providers=facts.providers,
        specs=facts.diagnostics,
        reported_at=now,
        created_at=now,
    )
