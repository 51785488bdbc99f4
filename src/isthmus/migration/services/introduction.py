"""A worker makes itself known: it answers on its host's queue, and tells of itself when it starts and each minute."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from isthmus.control.diagnostics import describe, host_name
from isthmus.control.queues import CONDUCTOR_QUEUE
from isthmus.migration.providers.registry import platforms
from isthmus.migration.workflows.calls import DESCRIBE_SERVICE, ServiceFacts
from isthmus.migration.workflows.capabilities import shown_bits

LOG = logging.getLogger(__name__)

REPORT_SECONDS = 60.0
BINARY = "isthmus-worker"
TOPIC = "isthmus_worker"


class Introduction:
    """What this worker is: its host, its regions, its providers."""

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = tuple(regions)

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (self.describe_service,)

    @activity.defn(name=DESCRIBE_SERVICE)
    async def describe_service(self) -> ServiceFacts:
        """Return what this worker is."""
        providers = {name: {"types": shown_bits(each)} for name, each in platforms().items()}
        return ServiceFacts(host_name(), BINARY, TOPIC, self._regions, providers, describe(BINARY))

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Tell of itself until `stop` is set; an engine that does not answer hears of it the next time."""
        while not stop.is_set():
            try:
                await client.start_workflow(
                    "RecordService",
                    await self.describe_service(),
                    id=f"record-service-{BINARY}-{host_name()}",
                    task_queue=CONDUCTOR_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    execution_timeout=timedelta(seconds=REPORT_SECONDS),
                )
            except (RPCError, TemporalError) as error:
                LOG.warning("this worker cannot tell of itself now: %s", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REPORT_SECONDS)
