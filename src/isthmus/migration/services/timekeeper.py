"""What happens by the clock: schedules fire, idle machines of minion pools are given up.

Any number of conductors may do this at once, and one that was away does at its next look what is still worth doing.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from temporalio.client import Client

from isthmus.control.database import Database
from isthmus.control.errors import IsthmusError
from isthmus.migration.model import PoolStatus
from isthmus.migration.store import pools, schedules

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Timekeeper:
    """Looks each `interval` seconds. `now` tells UTC without a zone; `new_id` makes ids of new rows."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        interval: float = LOOK_SECONDS,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._database = database
        self._now = now
        self._interval = interval
        self._new_id = new_id

    async def run(self, client: Client, stop: asyncio.Event) -> None:
        """Look until `stop` is set; what the database does not take now is done at the next look."""
        del client
        while not stop.is_set():
            for look in (self.fire_schedules, self.care_for_pools):
                try:
                    await asyncio.to_thread(look)
                except SQLAlchemyError as error:
                    LOG.warning("%s waits for the database: %s", look.__name__, type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)

    def fire_schedules(self) -> int:
        """Fire all due times; return how many schedules this conductor has dealt with."""
        with self._database.transaction() as session:
            found = schedules.due(session, self._now())
        done = 0
        for each in found:
            try:
                with self._database.transaction() as session:
                    outcome = schedules.fire(session, each, self._now(), self._new_id)
            except IntegrityError:
                # Another conductor was in the same transaction; it has won.
                continue
            except IsthmusError as error:
                LOG.warning("schedule %s of transfer %s cannot fire: %s", each.id, each.transfer_id, error.message)
                continue
            if outcome is not None:
                LOG.info("schedule %s of transfer %s: %s", each.id, each.transfer_id, outcome)
                done += 1
        return done

    def care_for_pools(self) -> None:
        """Bring the machines of all allocated pools to what their limits and idle times say."""
        with self._database.transaction() as session:
            found = pools.needing_care(session, self._now())
        for pool_id in found:
            with self._database.transaction() as session, suppress(IsthmusError):
                pool = pools.claim(session, pool_id)
                if pool.status == PoolStatus.ALLOCATED:
                    pools.settle(pool, self._now(), self._new_id)
