"""One lock for each key, kept while somebody holds or waits for it."""

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from isthmus.control.errors import Unavailable


@dataclass
class _Lock:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class KeyLocks:
    """Locks by key."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, _Lock] = {}

    @contextmanager
    def hold(self, key: Hashable, deadline: float) -> Iterator[None]:
        """Hold a key's lock; `Unavailable` if it is not free by the deadline (monotonic)."""
        with self._guard:
            entry = self._locks.setdefault(key, _Lock())
            entry.users += 1
        try:
            if not entry.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise Unavailable(f"another call about {key} has not ended in time; try again")
            try:
                yield
            finally:
                entry.lock.release()
        finally:
            with self._guard:
                entry.users -= 1
                if not entry.users:
                    del self._locks[key]

    def held(self) -> frozenset[Hashable]:
        """Return the keys that somebody holds or waits for."""
        with self._guard:
            return frozenset(self._locks)
