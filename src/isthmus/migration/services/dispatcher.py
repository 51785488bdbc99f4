"""Tells the engine what stands in the outbox, in order.

Telling twice is harmless (a workflow id is started once, cancelling a second time changes nothing), so entries need
no lock. An entry that cannot be told is tried again later and later, and holds up only the entries of its own
workflow.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from isthmus.control import tracing
from isthmus.control.database import Database
from isthmus.control.outbox import Kind, OutboxRow
from isthmus.control.queues import CONDUCTOR_QUEUE

LOG = logging.getLogger(__name__)

BATCH = 100
LONGEST_WAIT_SECONDS = 60.0


class Dispatcher:
    """Reads the outbox each `interval` seconds. `clock` counts seconds."""

    def __init__(self, database: Database, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._interval = interval
        self._clock = clock
        self._waiting: dict[int, tuple[float, float]] = {}

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Dispatch until `stop` is set; neither a silent database nor a silent engine ends it."""
        while not stop.is_set():
            try:
                await self.dispatch(client)
            except SQLAlchemyError as error:
                LOG.warning("the outbox cannot be read now: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)

    async def dispatch(self, client: Client) -> None:
        """Tell the engine all entries that are due, and delete those that it was told."""
        held: set[str] = set()
        for entry in await asyncio.to_thread(self._read):
            if entry.workflow_id in held:
                continue
            due, wait = self._waiting.get(entry.id, (0.0, self._interval))
            if self._clock() < due:
                held.add(entry.workflow_id)
                continue
            try:
                with tracing.within(entry.trace):
                    await _tell(client, entry)
            except RPCError as error:
                held.add(entry.workflow_id)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                self._waiting[entry.id] = (self._clock() + wait, wait)
                LOG.warning("%s of %s waits %.1f s: %s", entry.kind, entry.workflow_id, wait, error.status.name)
            else:
                self._waiting.pop(entry.id, None)
                await asyncio.to_thread(self._delete, entry.id)

    def _read(self) -> list[OutboxRow]:
        """Return the oldest entries; those that wait do not take the others' places."""
        with self._database.transaction() as session:
            now = self._clock()
            later = [entry for entry, (due, _) in self._waiting.items() if due > now]
            fresh = list(
                session.scalars(select(OutboxRow).where(OutboxRow.id.not_in(later)).order_by(OutboxRow.id).limit(BATCH))
            )
            held = select(OutboxRow.workflow_id).where(OutboxRow.id.in_(later))
            blocked = dict.fromkeys(session.scalars(held)) if later else {}
            return [entry for entry in fresh if entry.workflow_id not in blocked]

    def _delete(self, entry_id: int) -> None:
        with self._database.transaction() as session:
            session.execute(delete(OutboxRow).where(OutboxRow.id == entry_id))


async def _tell(client: Client, entry: OutboxRow) -> None:
    if entry.kind == Kind.START:
        with suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(
                entry.workflow,
                entry.input,
                id=entry.workflow_id,
                task_queue=CONDUCTOR_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
        return
    handle = client.get_workflow_handle(entry.workflow_id)
    try:
        if entry.kind == Kind.SIGNAL:
            await handle.signal(entry.workflow, args=list((entry.input or {}).values()))
            return
        if (entry.input or {}).get("keep"):
            # First, so that the cancel finds it known.
            await handle.signal("keep_partial")
        await handle.cancel()
        if (entry.input or {}).get("force"):
            await handle.signal("force_cancel")
    except RPCError as error:
        # It has ended, or was never heard of: the recorder's sweep sees to the latter.
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
