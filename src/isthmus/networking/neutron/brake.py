"""Keeps an agent from burying a Neutron that is overloaded, and from waiting for one that is silent.

Three things, for all calls of one cloud together: so many calls are in flight at most; a call that may be sent again
is, after a pause that grows, or that Neutron names (`Retry-After`), if that fits into its time; and after some failures
in a row, or as long as `Retry-After` says, calls are refused at once, until one call, let through to see, is answered.
So a container's start is told within moments that Neutron is down, well inside a runtime's time limit.

A failure is no answer (of Neutron, or of Keystone before it), or one of 429, 502, 503, 504. A 500 is about one request,
so it is none.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from keystoneauth1 import exceptions

from isthmus.control.errors import Unavailable
from isthmus.networking.neutron.time_left import OutOfTime

_OVERLOADED = frozenset({429, 502, 503, 504})
_WORTH_ANOTHER_TRY = _OVERLOADED | {500}
_FAILURES = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries, and for which calls are refused; doubled each time."""
_LONGEST_BELIEVED = 300.0
"""Seconds: the most of a `Retry-After` that is honoured."""


class Brake:
    """For one cloud's Neutron; used by all threads. `most` calls are in flight at once."""

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._most = most
        self._slots = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._clock, self._sleep, self._wall_clock = clock, sleep, wall_clock
        self._failures = 0
        self._refused_until: float | None = None
        self._looking = False
        self._why = ""

    def run(self, what: str, send: Callable[[], Any], *, tries: int, limit: float) -> Any:
        """Return what `send` returns; keystoneauth's error of the last try.

        `limit` is the seconds that all tries may take together. Raises `Unavailable` without sending anything while
        Neutron is left alone, or if no slot comes free in time.
        """
        end, pause = self._clock() + limit, _FIRST_PAUSE
        for left in range(tries - 1, -1, -1):
            try:
                with self._slot(what, end):
                    return send()
            except exceptions.ClientException as error:
                wait = self._asked_to_wait(error) or pause
                if not left or not _may_pass(error) or self._clock() + wait >= end:
                    raise
                self._sleep(wait)
                pause *= 2
        raise AssertionError("a call has one try at least")

    def refusing(self) -> str | None:
        """Return why calls are refused now, in a sentence; None if they are not."""
        with self._lock:
            if self._refused_until is None:
                return None
            left = max(0.0, self._refused_until - self._clock())
            return f"{self._why}; it is asked again in {left:.0f} s"

    @contextmanager
    def _slot(self, what: str, end: float) -> Iterator[None]:
        looking = self._admit(what)
        try:
            if not self._slots.acquire(timeout=max(0.0, end - self._clock())):
                raise Unavailable(
                    f"Neutron was not asked to {what}: {self._most} calls are under way already; try again"
                )
            try:
                yield
            except exceptions.HttpError as error:
                self._note(error, failed=int(error.http_status or 500) in _OVERLOADED)
                raise
            except exceptions.ConnectionError as error:
                self._note(error, failed=True)
                raise
            except OutOfTime:
                raise
            except Unavailable:
                # Keystone is silent, without which nothing can be asked of Neutron.
                self._note(None, failed=True)
                raise
            else:
                self._note(None, failed=False)
            finally:
                self._slots.release()
        finally:
            if looking:
                with self._lock:
                    self._looking = False

    def _admit(self, what: str) -> bool:
        """Return whether this call is the one that sees whether Neutron answers again."""
        with self._lock:
            if self._refused_until is None:
                return False
            if self._looking or self._clock() < self._refused_until:
                left = max(0.0, self._refused_until - self._clock())
                raise Unavailable(
                    f"Neutron was not asked to {what}: {self._why}; it is asked again in {left:.0f} s, try then"
                )
            self._looking = True
            return True

    def _note(self, error: exceptions.ClientException | None, *, failed: bool) -> None:
        with self._lock:
            if not failed:
                self._failures, self._refused_until = 0, None
                return
            self._failures += 1
            named = None if error is None else self._named_wait(error)
            if named is None and self._failures < _FAILURES:
                return
            doubled = _FIRST_PAUSE * 2.0 ** min(self._failures, 16)
            self._refused_until = self._clock() + (named if named is not None else min(doubled, _LONGEST_PAUSE))
            status = getattr(error, "http_status", None)
            self._why = f"it answered {status} lately" if status else f"it did not answer {self._failures} calls"

    def _asked_to_wait(self, error: exceptions.ClientException) -> float | None:
        with self._lock:
            return self._named_wait(error)

    def _named_wait(self, error: exceptions.ClientException) -> float | None:
        """Return the seconds of an answer's `Retry-After` (RFC 9110: seconds, or a date); None without a good one."""
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        text = str(headers.get("Retry-After") or "").strip()
        if not text or int(getattr(error, "http_status", 0) or 0) not in _OVERLOADED:
            return None
        try:
            seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - self._wall_clock()
        except ValueError:
            return None
        return min(max(seconds, 0.0), _LONGEST_BELIEVED)


def _may_pass(error: exceptions.ClientException) -> bool:
    """Return whether the same call may well be answered a moment later."""
    if isinstance(error, exceptions.HttpError):
        return int(error.http_status or 500) in _WORTH_ANOTHER_TRY
    return isinstance(error, exceptions.ConnectionError)
