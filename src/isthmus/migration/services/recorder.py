"""Writes down how running steps get on, and ends executions that the engine has lost.

Workers have no database: their heartbeats carry progress and events, which are read here from the engine.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from isthmus.control.database import Database
from isthmus.control.outbox import OutboxRow
from isthmus.migration.model import ExecutionStatus, TaskStatus
from isthmus.migration.reporting import Level
from isthmus.migration.store import pools, recording
from isthmus.migration.tables import ExecutionRow, TaskRow
from isthmus.migration.workflows.calls import EVENTS_OF_AN_ATTEMPT, FIRST_NUMBER, Notes, NumberedEvent

LOG = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""How long an execution may look lost before it is ended."""

LOST = (
    "the engine no longer knows this execution (its database was lost, or the workflow was ended from outside); "
    "what it had begun is not undone. Run the transfer again: it finds and takes over what is left"
)


class Recorder:
    """Looks at all running executions each `interval` seconds."""

    def __init__(
        self,
        database: Database,
        interval: float,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._database = database
        self._interval = interval
        self._now = now
        self._clock = clock
        self._grace = grace
        self._missing_since: dict[str, float] = {}
        self._recorded: dict[str, Notes] = {}

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Record until `stop` is set; what cannot be read or written now is read or written next time."""
        while not stop.is_set():
            try:
                await self.look(client)
            except (SQLAlchemyError, RPCError) as error:
                LOG.warning("progress cannot be recorded now: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)

    async def look(self, client: Client) -> None:
        """Record the progress of each running execution once, and end those that are lost."""
        running = await asyncio.to_thread(self._running)
        self._missing_since = {key: since for key, since in self._missing_since.items() if key in running}
        live: set[str] = set()
        for execution_id in running:
            pending = await _pending(client, execution_id)
            if pending is None:
                await self._missing(execution_id)
                continue
            self._missing_since.pop(execution_id, None)
            live.update(each.activity_id for each in pending)
            for each in pending:
                await self._record(client, each)
        self._recorded = {key: notes for key, notes in self._recorded.items() if key in live}

    async def _record(self, client: Client, pending: PendingActivityInfo) -> None:
        if pending.activity_type.name not in FIRST_NUMBER:
            return
        notes = Notes()
        if pending.heartbeat_details.payloads:
            notes = (await client.data_converter.decode(pending.heartbeat_details.payloads, [Notes]))[0]
        failure = _earlier_failure(pending)
        if failure is not None and failure.index not in {event.index for event in notes.events}:
            notes = replace(notes, events=(failure, *notes.events))
        if self._recorded.get(pending.activity_id, Notes()) != notes:
            await asyncio.to_thread(self._write, pending.activity_id, notes)
            self._recorded[pending.activity_id] = notes

    def _write(self, task_id: str, notes: Notes) -> None:
        with self._database.transaction() as session:
            task = session.get(TaskRow, task_id)
            if task is None or task.status != TaskStatus.RUNNING:
                return
            now = self._now()
            task.host, task.process_id = notes.host or task.host, notes.process_id or task.process_id
            recording.add_events(session, task_id, [(e.index, e.level, e.message) for e in notes.events], now)
            recording.save_progress(session, task_id, notes.progress, now)

    def _running(self) -> list[str]:
        wanted = select(ExecutionRow.id).where(
            ExecutionRow.status.in_(
                [ExecutionStatus.RUNNING, ExecutionStatus.CANCELLING, ExecutionStatus.AWAITING_MINION_ALLOCATIONS]
            )
        )
        with self._database.transaction() as session:
            return list(session.scalars(wanted))

    async def _missing(self, execution_id: str) -> None:
        since = self._missing_since.setdefault(execution_id, self._clock())
        if self._clock() - since >= self._grace:
            await asyncio.to_thread(self._end, execution_id)

    def _end(self, execution_id: str) -> None:
        with self._database.transaction() as session:
            waiting = select(OutboxRow.id).where(OutboxRow.workflow_id == f"execution-{execution_id}")
            row = recording.execution(session, execution_id)
            if session.scalar(waiting) is not None:
                return
            now = self._now()
            pools.release(session, execution_id, now)
            if recording.move_execution(session, execution_id, ExecutionStatus.ERROR, now):
                LOG.error("execution %s is lost to the engine and ends as ERROR", execution_id)
                recording.explain(session, row, LOST, now)
                recording.end_open_tasks(session, execution_id, now)


async def _pending(client: Client, execution_id: str) -> Sequence[PendingActivityInfo] | None:
    """Return the activities under way; None if no workflow works on the execution."""
    try:
        found = await client.get_workflow_handle(f"execution-{execution_id}").describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    if found.status is not WorkflowExecutionStatus.RUNNING:
        return None
    return found.raw_description.pending_activities


def _earlier_failure(pending: PendingActivityInfo) -> NumberedEvent | None:
    """Return the event for the attempt that failed last, while the step is tried again.

    It is the last of its attempt's own numbers, which no attempt gets to.
    """
    earlier = pending.attempt - 1 + FIRST_NUMBER[pending.activity_type.name]
    if pending.attempt < 2 or not pending.HasField("last_failure"):
        return None
    failure = pending.last_failure
    said = failure.message if failure.HasField("application_failure_info") else "its worker stopped answering"
    message = f"attempt {pending.attempt - 1} failed, the step is tried again: {said}"
    return NumberedEvent(earlier * EVENTS_OF_AN_ATTEMPT - 1, Level.WARNING, message)
