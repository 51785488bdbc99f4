"""The registry of workers: what their leases' heartbeats tell is read from the engine and written down.

It also keeps the line moving: a worker that came back, or room that somebody made, is noticed by nobody else. And it
takes back the places of executions that have ended without giving them back.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from isthmus.control.database import Database
from isthmus.migration.store import recording, workers
from isthmus.migration.workflows.calls import KEEP_LEASE, WorkerFacts
from isthmus.migration.workflows.lease import lease_id
from isthmus.migration.workflows.placing import Placing

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 2.0


class Registry:
    """Looks at all workers' leases each `interval` seconds. `now` tells UTC without a zone."""

    def __init__(
        self, database: Database, placing: Placing, now: Callable[[], datetime], interval: float = LOOK_SECONDS
    ) -> None:
        self._database = database
        self._placing = placing
        self._now = now
        self._interval = interval

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Look until `stop` is set; what cannot be read or written now is read or written next time."""
        while not stop.is_set():
            try:
                await self.look(client)
            except (SQLAlchemyError, RPCError) as error:
                LOG.warning("workers cannot be looked at now: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)

    async def look(self, client: Client) -> None:
        """Write down once how all workers are, then see to the line."""
        for worker_id, leased in (await asyncio.to_thread(self._known)).items():
            lease = await _lease(client, worker_id)
            if lease is None:
                if leased:
                    await asyncio.to_thread(self._lapse, worker_id)
            elif lease.HasField("last_heartbeat_time"):
                facts = await _told(client, lease)
                beaten = lease.last_heartbeat_time.ToDatetime(UTC).replace(tzinfo=None)
                await asyncio.to_thread(self._beat, worker_id, beaten, facts)
        taken = await asyncio.to_thread(self._placing.look)
        if taken:
            LOG.warning("%d places of executions that have ended were taken back", taken)

    def _known(self) -> dict[str, bool]:
        with self._database.transaction() as session:
            workers.forget_old(session, self._now())
            return {row.id: row.leased for row in workers.known(session)}

    def _beat(self, worker_id: str, seen_at: datetime, facts: WorkerFacts | None) -> None:
        with self._database.transaction() as session:
            workers.beat(session, worker_id, seen_at, recording.json_of(facts) if facts is not None else None)

    def _lapse(self, worker_id: str) -> None:
        with self._database.transaction() as session:
            if workers.lapse(session, worker_id):
                LOG.warning("worker %s has no lease any more: it gets no new steps", worker_id)


async def _lease(client: Client, worker_id: str) -> PendingActivityInfo | None:
    """Return the activity that is a worker's lease, None if it has none; an empty one while it is renewed."""
    try:
        found = await client.get_workflow_handle(lease_id(worker_id)).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    if found.status is not WorkflowExecutionStatus.RUNNING:
        return None
    begun = (
        each
        for each in found.raw_description.pending_activities
        if each.activity_type.name == KEEP_LEASE and each.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    )
    return next(begun, PendingActivityInfo())


async def _told(client: Client, lease: PendingActivityInfo) -> WorkerFacts | None:
    if not lease.heartbeat_details.payloads:
        return None
    facts: WorkerFacts = (await client.data_converter.decode(lease.heartbeat_details.payloads, [WorkerFacts]))[0]
    return facts
