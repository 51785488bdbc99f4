"""The bandwidth limit: one token bucket over all disks of a copy."""

import threading
import time
from collections.abc import Callable


class Limiter:
    """Gives out the right to move bytes, at most `rate` bytes per second over time; 0 means no limit.

    A bucket may go into debt: whoever takes is told how long to wait before taking again, so a request larger than
    the bucket passes too. The bucket holds a quarter of a second's worth: a pause does not become a burst.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = rate / 4
        self._filled_at = clock()

    def wait(self) -> float:
        """Seconds until bytes may be taken; 0 means now."""
        if not self._rate:
            return 0.0
        with self._lock:
            self._fill()
            return max(0.0, -self._tokens / self._rate)

    def take(self, size: int) -> None:
        """Count `size` bytes as moved."""
        if not self._rate:
            return
        with self._lock:
            self._fill()
            self._tokens -= size

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._rate / 4, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
