"""The conductor's activity about workers: who has begun a lease is written down."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from temporalio import activity

from isthmus.control.database import Database
from isthmus.migration.store import recording, workers
from isthmus.migration.workflows.calls import RECORD_WORKER, LeaseTerm, Stray
from isthmus.migration.workflows.control import recorded


class LeaseActivities:
    """What the conductor offers to leases. `now` tells UTC without a zone."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (self.record_worker,)

    @activity.defn(name=RECORD_WORKER)
    @recorded
    def record_worker(self, term: LeaseTerm) -> list[Stray]:
        """Write down a worker that begins a term of its lease; return what it may forget of what it keeps."""
        with self._database.transaction() as session:
            workers.record(session, recording.json_of(term.facts), self._now())
            maps = [Stray(*each) for each in workers.strays(session, term.facts.id, term.staged)]
            return maps + [Stray(area=each) for each in workers.areas_left(session, term.areas)]
