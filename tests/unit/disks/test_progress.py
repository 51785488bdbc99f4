"""Progress of one disk with a fake clock."""

from isthmus.migration.disks.progress import Meter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_seconds_left_follow_a_steady_copy() -> None:
    clock = Clock()
    meter = Meter("disk vda", 1000, clock)
    assert meter.progress().seconds_left is None
    for _ in range(5):
        clock.now += 1
        meter.add(100)
        seen = meter.progress()
    assert (seen.subject, seen.done, seen.total, seen.unit) == ("disk vda", 500, 1000, "bytes")
    assert abs(seen.rate - 100) < 1e-6
    assert seen.seconds_left is not None
    assert abs(seen.seconds_left - 5) < 1e-6


def test_one_slow_second_does_not_throw_the_rate_about() -> None:
    clock = Clock()
    meter = Meter("disk vda", 10_000, clock)
    for size in (100, 100, 100, 0):
        clock.now += 1
        meter.add(size)
        seen = meter.progress()
    assert 70 < seen.rate < 100


def test_nothing_to_do_is_done() -> None:
    assert Meter("disk vda", 0, Clock()).progress().seconds_left == 0
