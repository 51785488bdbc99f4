"""Keeps assessments going that the engine has forgotten, and ends those that somebody ended in the engine itself.

Without it, an assessment whose workflow was lost with the engine's database would be RUNNING for ever.
"""

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
from isthmus.migration.model import AssessmentStatus
from isthmus.migration.store import assessments

LOG = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
GRACE_SECONDS = 30.0
"""How long an assessment may look lost before something is done."""

ENDED = "the assessment's workflow was ended in the engine itself; what was assessed until then stays: assess again"


class AssessmentKeeper:
    """Looks at all running assessments now and then. `now` tells UTC without a zone, `clock` counts seconds."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._database = database
        self._now = now
        self._clock = clock
        self._grace = grace
        self._missing_since: dict[str, float] = {}

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Look until `stop` is set; what cannot be asked now is asked next time."""
        while not stop.is_set():
            try:
                await self.look(client)
            except (SQLAlchemyError, RPCError) as error:
                LOG.warning("assessments cannot be looked at now: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL_SECONDS)

    async def look(self, client: Client) -> None:
        """Deal once with those that have looked lost for the time of grace."""
        running = await asyncio.to_thread(self._running)
        self._missing_since = {key: since for key, since in self._missing_since.items() if key in running}
        for assessment_id in running:
            status = await _status(client, assessments.workflow_id(assessment_id))
            if status is WorkflowExecutionStatus.RUNNING:
                self._missing_since.pop(assessment_id, None)
                continue
            since = self._missing_since.setdefault(assessment_id, self._clock())
            if self._clock() - since >= self._grace:
                await asyncio.to_thread(self._settle, assessment_id, forgotten=status is None)

    def _running(self) -> list[str]:
        with self._database.transaction() as session:
            return assessments.unfinished(session)

    def _settle(self, assessment_id: str, *, forgotten: bool) -> None:
        with self._database.transaction() as session:
            row = assessments.running(session, assessment_id)
            told = select(OutboxRow.id).where(OutboxRow.workflow_id == assessments.workflow_id(assessment_id))
            if row is None or session.scalar(told.limit(1)) is not None:
                return
            if forgotten:
                LOG.warning("assessment %s is forgotten by the engine and goes on from where it was", assessment_id)
                assessments.tell(session, row, self._now())
            else:
                assessments.end(row, AssessmentStatus.ERROR, self._now(), error=ENDED, result=None)


async def _status(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    """Return the status of a workflow; None if the engine does not know it."""
    try:
        return (await client.get_workflow_handle(workflow_id).describe()).status
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
