"""Progress of one disk: bytes done and to do, a smoothed rate, seconds left."""

import math
import time
from collections.abc import Callable

from isthmus.migration.reporting import Progress

_SMOOTH_SECONDS = 5.0


class Meter:
    """Counts bytes of one subject; the rate is an exponential mean over about five seconds."""

    def __init__(self, subject: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._subject = subject
        self._total = total
        self._clock = clock
        self._done = 0
        self._rate: float | None = None
        self._seen_at = clock()
        self._seen_done = 0

    def add(self, size: int) -> None:
        """`size` bytes more are done."""
        self._done += size

    def progress(self) -> Progress:
        """How far it is now."""
        now = self._clock()
        passed = now - self._seen_at
        if passed > 0:
            newest = (self._done - self._seen_done) / passed
            weight = 1 - math.exp(-passed / _SMOOTH_SECONDS)
            self._rate = newest if self._rate is None else self._rate + weight * (newest - self._rate)
            self._seen_at, self._seen_done = now, self._done
        rate = self._rate or 0.0
        left = max(0, self._total - self._done)
        seconds_left = 0.0 if left == 0 else left / rate if rate > 0 else None
        return Progress(self._subject, min(self._done, self._total), self._total, "bytes", rate, seconds_left)
