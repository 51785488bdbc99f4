"""The bandwidth limit with a fake clock."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.migration.disks.limiter import Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_no_limit_never_waits() -> None:
    limiter = Limiter(0, Clock())
    limiter.take(1 << 40)
    assert limiter.wait() == 0


@given(st.integers(1000, 10**9), st.lists(st.integers(1, 1 << 20), min_size=1, max_size=60))
def test_the_rate_is_kept_over_time(rate: int, sizes: list[int]) -> None:
    clock = Clock()
    limiter = Limiter(rate, clock)
    for size in sizes:
        clock.now += limiter.wait()
        limiter.take(size)
    clock.now += limiter.wait()
    assert sum(sizes) <= rate * (clock.now - 100.0) + rate / 4 + 1


@given(st.integers(1000, 10**9), st.lists(st.integers(1, 1 << 20), min_size=1, max_size=60))
def test_no_more_is_waited_than_the_rate_asks_for(rate: int, sizes: list[int]) -> None:
    clock = Clock()
    limiter = Limiter(rate, clock)
    for size in sizes:
        clock.now += limiter.wait()
        limiter.take(size)
    assert clock.now - 100.0 <= sum(sizes) / rate + 1e-3


def test_a_pause_does_not_become_a_burst() -> None:
    clock = Clock()
    limiter = Limiter(1000, clock)
    clock.now += 3600
    limiter.take(250)
    assert limiter.wait() == 0
    limiter.take(1000)
    assert abs(limiter.wait() - 1.0) < 1e-9
