"""How long Neutron is waited for by somebody who has a deadline.

An attachment takes several calls, each of which may be answered only just in time. So whoever has a deadline says so
once, around all that it does, and each call inside gets the time that is left, if that is less than its own limit.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from isthmus.control.errors import Unavailable

_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)


class OutOfTime(Unavailable):
    """Whoever waited has no time left. It says nothing of Neutron, which is still within its own limit."""


@contextmanager
def within(deadline: float) -> Iterator[None]:
    """Have this thread's calls inside end by a deadline (monotonic clock), or by the one around it if that is earlier.

    What must be undone after a failure belongs outside.
    """
    around = _DEADLINE.get()
    token = _DEADLINE.set(deadline if around is None else min(deadline, around))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def seconds_left(limit: float, what: str) -> float:
    """Return the seconds that a call of this limit may take now; `OutOfTime` if there are none."""
    deadline = _DEADLINE.get()
    if deadline is None:
        return limit
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime(f"there was no time left to {what}; try again, or raise [network_agent] attach_timeout")
    return min(limit, left)
