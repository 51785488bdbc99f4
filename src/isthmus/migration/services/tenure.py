"""A worker's side of its lease: it asks for one when it starts, beats while it has it, asks again when it was lost."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from isthmus.control.diagnostics import host_name
from isthmus.control.errors import Unavailable
from isthmus.control.queues import CONDUCTOR_QUEUE
from isthmus.migration.disks import staging
from isthmus.migration.workflows.calls import KEEP_LEASE, LeaseTerm, Stray, WorkerFacts
from isthmus.migration.workflows.lease import lease_id
from isthmus.migration.workflows.site import Site

LOG = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
TERM_SECONDS = 600.0
"""After so long a lease is renewed: its workflow begins anew, which writes down what has changed since, and sweeps."""

ASK_AGAIN_SECONDS = 5.0
MOST_NAMED = 1000
"""Transfers of which a term names that the worker keeps journals; the others' turn comes with a later one."""


@dataclass(frozen=True)
class Post:
    """What of a worker does not change while it runs. `slots` are the disk steps that it takes at once."""

    id: str
    regions: tuple[str, ...]
    platforms: tuple[str, ...]
    slots: int
    link_bandwidth: int = 0


class Tenure:
    """One worker and its lease. `running` tells how many steps and questions it is at; `site` is where those run."""

    def __init__(self, post: Post, site: Site, running: Callable[[], int]) -> None:
        self._post = post
        self._site = site
        self._running = running
        self._leaving = asyncio.Event()
        self._keeping = 0

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register on the worker's own queue."""
        return (self.keep_lease,)

    def facts(self) -> WorkerFacts:
        """Return what the worker tells of itself now."""
        post = self._post
        space = os.statvfs(self._site.settings.staging_dir)
        return WorkerFacts(
            id=post.id,
            host=host_name(),
            process_id=os.getpid(),
            regions=post.regions,
            platforms=post.platforms,
            slots=post.slots,
            running=self._running(),
            staging_total=space.f_blocks * space.f_frsize,
            staging_free=space.f_bavail * space.f_frsize,
            link_bandwidth=post.link_bandwidth,
            copy_limit=self._site.settings.bandwidth_limit,
        )

    def term(self, *, leaves: bool = False) -> LeaseTerm:
        """Return what a term of the lease begins with."""
        areas = tuple(staging.names(self._site.areas)[:MOST_NAMED])
        return LeaseTerm(self.facts(), tuple(self._site.staged_transfers(MOST_NAMED)), leaves, areas)

    @activity.defn(name=KEEP_LEASE)
    async def keep_lease(self, strays: list[Stray]) -> LeaseTerm:
        """Forget what is of no use here, beat until the term is over or the worker leaves; return the next term."""
        self._keeping += 1
        try:
            for each in strays:
                self._forget(each)
            for _ in range(int(TERM_SECONDS / BEAT_SECONDS)):
                activity.heartbeat(self.facts())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), BEAT_SECONDS)
                if self._leaving.is_set():
                    return self.term(leaves=True)
            return self.term()
        finally:
            self._keeping -= 1

    def _forget(self, stray: Stray) -> None:
        if not stray.area:
            self._site.forget_state(stray.transfer_id, stray.instance)
            return
        try:
            staging.remove(self._site.areas, stray.area)
        except Unavailable as error:  # the next term names it again
            LOG.warning("%s", error.message)

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Ask for a lease whenever there is none, until `stop` is set."""
        self._leaving.clear()
        # What another process has begun under this identity ended with that process.
        policy = WorkflowIDConflictPolicy.TERMINATE_EXISTING
        try:
            while not stop.is_set():
                if not self._keeping and await self._ask(client, policy):
                    policy = WorkflowIDConflictPolicy.USE_EXISTING
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), ASK_AGAIN_SECONDS)
        finally:
            self._leaving.set()

    async def _ask(self, client: Client, policy: WorkflowIDConflictPolicy) -> bool:
        """Have the lease's workflow begin; return whether the engine took it."""
        try:
            await client.start_workflow(
                "WorkerLease",
                self.term(),
                id=lease_id(self._post.id),
                task_queue=CONDUCTOR_QUEUE,
                id_conflict_policy=policy,
                rpc_timeout=timedelta(seconds=ASK_AGAIN_SECONDS),
            )
        except (RPCError, TemporalError, OSError) as error:
            LOG.warning("this worker cannot ask for its lease now: %s", type(error).__name__)
            return False
        return True
