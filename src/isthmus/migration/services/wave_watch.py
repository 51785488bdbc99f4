"""Gives a wave a new workflow when the engine has lost the one it had: all that it needs is in the database."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from isthmus.control.database import Database
from isthmus.control.outbox import OutboxRow
from isthmus.migration.model import WAVE_ACTIVE
from isthmus.migration.store import waves
from isthmus.migration.tables import WaveRow

LOG = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
GRACE_SECONDS = 30.0
"""How long a wave may look lost before another workflow takes it up."""


class WaveWatch:
    """Looks at all waves under way each `interval` seconds. `now` tells UTC without a zone; `clock` counts seconds."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        *,
        interval: float = INTERVAL_SECONDS,
        grace: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._now = now
        self._interval = interval
        self._grace = grace
        self._clock = clock
        self._missing_since: dict[str, float] = {}

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Look until `stop` is set; what cannot be read now is read next time."""
        while not stop.is_set():
            try:
                await self.look(client)
            except (SQLAlchemyError, RPCError) as error:
                LOG.warning("waves cannot be looked at now: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)

    async def look(self, client: Client) -> None:
        """Take up once the waves whose workflow has been missing for the time of grace."""
        active = await asyncio.to_thread(self._active)
        self._missing_since = {key: since for key, since in self._missing_since.items() if key in active}
        for workflow_id, wave_id in active.items():
            if await _runs(client, workflow_id):
                self._missing_since.pop(workflow_id, None)
            elif self._clock() - self._missing_since.setdefault(workflow_id, self._clock()) >= self._grace:
                await asyncio.to_thread(self._take_up, workflow_id, wave_id)

    def _active(self) -> dict[str, str]:
        with self._database.transaction() as session:
            rows = session.scalars(select(WaveRow).where(WaveRow.status.in_(WAVE_ACTIVE), WaveRow.deleted_at.is_(None)))
            return {waves.workflow_id(row): row.id for row in rows}

    def _take_up(self, workflow_id: str, wave_id: str) -> None:
        with self._database.transaction() as session:
            waves.lock(session, wave_id)
            row = session.get_one(WaveRow, wave_id)
            waiting = select(OutboxRow.id).where(OutboxRow.workflow_id == workflow_id).limit(1)
            if row.status not in WAVE_ACTIVE or waves.workflow_id(row) != workflow_id:
                return
            if session.scalar(waiting) is None:
                LOG.error("the workflow of wave %s is lost to the engine; another one takes it up", wave_id)
                waves.begin(session, row, self._now())


async def _runs(client: Client, workflow_id: str) -> bool:
    try:
        found = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return found.status is WorkflowExecutionStatus.RUNNING
