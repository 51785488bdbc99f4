"""The agent's own threads: the chores when nudged, the repairs at start and every while."""

import logging
import threading
from collections.abc import Callable

from isthmus.networking.attaching.parts import Parts

log = logging.getLogger(__name__)

_CHORE_TICK = 5.0
_RETRY = 1.0


class Background:
    """Two threads, from `start` to `stop`."""

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
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have both end after what they are at."""
        self._stopped.set()
        self._parts.nudge.set()
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
            self._guard(self._repair, "the repairs")
            self._stopped.wait(self._repair_interval)

    def _guard(self, act: Callable[[], object], what: str) -> object:
        try:
            return act()
        except Exception:
            # A thread that ends would leave its work undone for ever, and nobody would see it.
            log.exception("%s failed in a way that nobody foresaw; they go on", what)
            return None
