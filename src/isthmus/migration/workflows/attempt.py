"""One attempt at a blocking step inside an activity: a thread does it, the activity beats and tells it when to stop.

The thread is always waited for, also after a cancel: nothing of an old attempt may touch a cloud while the undo or
the next attempt does.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from temporalio import activity

from isthmus.control.errors import Cancelled, IsthmusError, Unavailable
from isthmus.migration.reporting import Level, Progress
from isthmus.migration.workflows.calls import EVENTS_OF_AN_ATTEMPT, Notes, NumberedEvent
from isthmus.migration.workflows.policies import HEARTBEAT_INTERVAL_SECONDS, HEARTBEAT_TIMEOUT

FIRST_HEARTBEAT_SECONDS = 0.2
"""A step that takes less is over before anybody could read of its progress, and costs the engine no heartbeat."""

EVENTS_IN_A_HEARTBEAT = 50
"""Heartbeats carry the newest events only; the outcome carries all of them."""

Result = TypeVar("Result")


class ActivityReport:
    """A `Report` that remembers for heartbeats. Safe to call from any thread."""

    def __init__(self, attempt: int, number: int | None = None) -> None:
        """`number` counts all attempts of the step's life, also those before it was retried by hand."""
        self._lock = threading.Lock()
        self._first = ((number or attempt) - 1) * EVENTS_OF_AN_ATTEMPT
        self._events: list[NumberedEvent] = []
        self._progress: dict[str, Progress] = {}
        self._stop: IsthmusError | None = None
        if attempt > 1:
            self.event(Level.WARNING, f"attempt {attempt}: the one before ended early, going on from where it was")

    def go_on_from(self, earlier: Notes) -> None:
        """Tell with what follows also what was told before it, by another worker."""
        with self._lock:
            self._events[:0] = earlier.events
            self._first -= len(earlier.events)
            self._progress = {**{each.subject: each for each in earlier.progress}, **self._progress}

    def event(self, level: Level, message: str) -> None:
        """Remember an event; what does not fit into an attempt's numbers is dropped."""
        with self._lock:
            if len(self._events) < EVENTS_OF_AN_ATTEMPT - 1:
                self._events.append(NumberedEvent(self._first + len(self._events), level, message))

    def progress(self, progress: Progress) -> None:
        """Replace what is known of the subject."""
        with self._lock:
            self._progress[progress.subject] = progress

    def check(self) -> None:
        """Raise what `stop` was given."""
        if self._stop is not None:
            raise self._stop

    def stop(self, reason: IsthmusError) -> None:
        """Have `check` raise from now on; the first reason counts."""
        if self._stop is None:
            self._stop = reason

    @property
    def stopped(self) -> IsthmusError | None:
        """Why the attempt was told to stop, if it was."""
        return self._stop

    def notes(self, *, newest: int | None = None) -> Notes:
        """Return what was told so far, of events only the `newest`."""
        with self._lock:
            events = self._events if newest is None else self._events[-newest:]
            return Notes(tuple(events), tuple(self._progress.values()), socket.gethostname(), os.getpid())


async def beat_while(pool: Executor, work: Callable[[], Result], report: ActivityReport) -> Result:
    """Run blocking `work` in the pool, with a heartbeat soon and then every second, and return its result.

    When the engine cancels the activity, refuses its heartbeats, or the worker shuts down, `report.check` raises in
    the work; its end is awaited all the same.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, work)
    clock, wait = Clock(), FIRST_HEARTBEAT_SECONDS
    while not future.done():
        try:
            await asyncio.wait({future}, timeout=wait)
            if not future.done():
                activity.heartbeat(report.notes(newest=EVENTS_IN_A_HEARTBEAT))
            wait = HEARTBEAT_INTERVAL_SECONDS
        except asyncio.CancelledError:
            report.stop(_reason())
        if clock.stood_still():
            report.stop(Unavailable("this worker stood still so long that another may have taken the step over"))
    return future.result()


class Clock:
    """Notices that the whole process was stopped for longer than the engine waits for a heartbeat."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def stood_still(self) -> bool:
        """Return whether nearly the heartbeat timeout went by since the last call."""
        now = time.monotonic()
        gap, self._last = now - self._last, now
        return gap > HEARTBEAT_TIMEOUT.total_seconds() - 2 * HEARTBEAT_INTERVAL_SECONDS


def _reason() -> IsthmusError:
    """Say why the engine cancelled the running activity; only a real cancel is final."""
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        return Cancelled("the execution was cancelled")
    if details is not None and details.worker_shutdown:
        return Unavailable("this worker shuts down; another takes the step over")
    return Unavailable("the engine gave the step to another worker")
