"""The agent's own threads: the chores when nudged, the repairs at start, when alarmed and every while.

The alarm is raised when a tap of an attachment is made again, so that a machine that was started again has its network
before it asks for an address, and not only after the next while.
"""

import logging
import threading
from collections.abc import Callable

from isthmus.networking.attaching.parts import Parts
from isthmus.networking.binding.arrivals import arrivals

log = logging.getLogger(__name__)

_CHORE_TICK = 5.0
_RETRY = 1.0


class Background:
    """Three threads, from `start` to `stop`."""

    def __init__(
        self, parts: Parts, do_chores: Callable[[], bool], repair: Callable[[], object], repair_interval: float
    ) -> None:
        self._parts = parts
        self._do_chores = do_chores
        self._repair = repair
        self._repair_interval = repair_interval
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._chores, name="chores", daemon=True),
            threading.Thread(target=self._repairs, name="repairs", daemon=True),
            threading.Thread(target=self._watch, name="arrivals", daemon=True),
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have both end after what they are at."""
        self._stopped.set()
        self._parts.nudge.set()
        self._parts.alarm.set()
        for thread in self._threads:
            thread.join()

    def _chores(self) -> None:
        done = True
        while not self._stopped.is_set():
            self._parts.nudge.wait(_CHORE_TICK if done else _RETRY)
            self._parts.nudge.clear()
            if not self._stopped.is_set():
                done = self._guard(self._do_chores, "the chores") is True
                if not done:
                    self._stopped.wait(_RETRY)

    def _repairs(self) -> None:
        while not self._stopped.is_set():
            self._parts.alarm.clear()
            self._guard(self._repair, "the repairs")
            self._parts.alarm.wait(self._repair_interval)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._guard(self._watch_links, "the watch for taps")
            self._stopped.wait(_RETRY)

    def _watch_links(self) -> None:
        for name in arrivals(self._stopped):
            if self._parts.attachments.is_tap(name):
                self._parts.alarm.set()

    def _guard(self, act: Callable[[], object], what: str) -> object:
        try:
            return act()
        except Exception:
            # A thread that ends would leave its work undone for ever, and nobody would see it.
            log.exception("%s failed in a way that nobody foresaw; they go on", what)
            return None
