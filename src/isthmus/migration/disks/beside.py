"""Threads beside a disk's copy, for what blocks: reading files. The answers come in the copy's own thread.

A disk's copy has one thread of Python. Reading and hashing let go of Python's lock, so these really run beside it.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from isthmus.migration.disks.connection import Waiting, Wheel

T = TypeVar("T")


class Beside:
    """Carries out calls in threads of its own, at once or a little later."""

    def __init__(self, wheel: Wheel, name: str, *, threads: int) -> None:
        self.name = name
        self.in_flight = 0
        self._wheel = wheel
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._answered: deque[Callable[[], None]] = deque()
        self._closing = False
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()
        wheel.turned.append(self)

    def run(self, call: Callable[[], T], done: Callable[[T], None]) -> None:
        """Have `call` made in a thread; `done` gets its result, or what it raised is raised, in the wheel's turn."""
        self.in_flight += 1
        self._asked.put(partial(self._make, call, done))

    def waiting(self) -> Iterable[Waiting]:
        """What the threads have answered."""
        yield Waiting(self._told, select.POLLIN, self._collect)

    def close(self) -> None:
        """End the threads when they have done what they are at; the rest is dropped."""
        self._closing = True
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()
        self._wheel.turned.remove(self)
        os.close(self._told)

    def _collect(self, _events: int) -> None:
        with suppress(BlockingIOError):  # that answer was collected with the one before it
            os.eventfd_read(self._told)
        while self._answered:
            self.in_flight -= 1
            self._wheel.later(self._answered.popleft())

    def _work(self) -> None:
        while (asked := self._asked.get()) and not self._closing:
            asked()
            os.eventfd_write(self._told, 1)

    def _make(self, call: Callable[[], T], done: Callable[[T], None]) -> None:
        try:
            answer = partial(done, call())
        except Exception as error:  # noqa: BLE001 - raised where the copy can see it
            answer = partial(_raise, error)
        self._answered.append(answer)


def _raise(error: Exception) -> None:
    raise error
