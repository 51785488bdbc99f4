"""When schedules are due."""

from datetime import datetime
from typing import Any

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.migration.recurrence import Recurrence


def due_after(schedule: dict[str, Any], moment: str, count: int = 1) -> list[str]:
    recurrence, at = Recurrence.of(schedule), datetime.fromisoformat(moment)
    found = []
    for _ in range(count):
        following = recurrence.next_after(at)
        if following is None:
            break
        found.append(following.isoformat(timespec="minutes"))
        at = following
    return found


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ({}, "2030-01-01T00:00:30", ["2030-01-01T00:01", "2030-01-01T00:02"]),
        ({"minute": None, "hour": 3}, "2030-01-01T04:00", ["2030-01-02T03:00", "2030-01-02T03:01"]),
        ({"minute": 30, "hour": 2}, "2030-01-01T02:30", ["2030-01-02T02:30", "2030-01-03T02:30"]),
        ({"minute": "0", "hour": "0", "dom": 29, "month": 2}, "2030-01-01T00:00", ["2032-02-29T00:00"]),
        # Monday is 0, as in Coriolis; 2030-01-07 is a Monday.
        ({"minute": 0, "hour": 0, "dow": 0}, "2030-01-01T00:00", ["2030-01-07T00:00", "2030-01-14T00:00"]),
        # Both days must match, as in Coriolis: the thirteenth that is a Friday.
        ({"minute": 0, "hour": 0, "dom": 13, "dow": 4}, "2030-01-01T00:00", ["2030-09-13T00:00"]),
        ({"minute": "*/20", "hour": 1}, "2030-01-01T01:10", ["2030-01-01T01:20", "2030-01-01T01:40"]),
        ({"minute": "5,10-12", "hour": 0}, "2030-01-01T00:06", ["2030-01-01T00:10", "2030-01-01T00:11"]),
        ({"minute": "50/5", "hour": 0}, "2030-01-01T00:00", ["2030-01-01T00:50", "2030-01-01T00:55"]),
        ({"minute": 0, "hour": "8-18/10", "dow": "0-4"}, "2030-01-04T08:00", ["2030-01-04T18:00", "2030-01-07T08:00"]),
    ],
)
def test_due_times(schedule: dict[str, Any], after: str, expected: list[str]) -> None:
    assert due_after(schedule, after, len(expected)) == expected


def test_a_time_zone_moves_with_its_summer() -> None:
    nightly = {"minute": 30, "hour": 4, "time_zone": "Europe/Bucharest"}
    assert due_after(nightly, "2030-01-10T00:00") == ["2030-01-10T02:30"]
    assert due_after(nightly, "2030-07-10T00:00") == ["2030-07-10T01:30"]


def test_a_nightly_time_happens_once_in_the_nights_when_the_clock_changes() -> None:
    nightly = {"minute": 30, "hour": 2, "time_zone": "Europe/Berlin"}
    # 2030-03-31 has no 02:30, 2030-10-27 has it twice.
    assert due_after(nightly, "2030-03-30T01:00", 3) == ["2030-03-30T01:30", "2030-03-31T01:30", "2030-04-01T00:30"]
    assert due_after(nightly, "2030-10-26T00:00", 3) == ["2030-10-26T00:30", "2030-10-27T00:30", "2030-10-28T01:30"]


def test_an_hourly_time_follows_the_clock_through_its_changes() -> None:
    hourly = {"minute": 0, "time_zone": "Europe/Berlin"}
    for night in ("2030-03-31", "2030-10-27"):
        assert due_after(hourly, f"{night}T00:00", 3) == [f"{night}T0{hour}:00" for hour in (1, 2, 3)]


@pytest.mark.parametrize("schedule", [{"dom": 31, "month": 2}, {"dom": "30-31", "month": "2"}, {"dom": 31, "month": 4}])
def test_what_no_day_matches_is_never_due(schedule: dict[str, Any]) -> None:
    assert Recurrence.of(schedule).next_after(datetime.fromisoformat("2030-01-01")) is None


@pytest.mark.parametrize(
    ("schedule", "word"),
    [
        ({"minute": 60}, "schedule.minute"),
        ({"minute": -1}, "schedule.minute"),
        ({"minute": 1.5}, "schedule.minute"),
        ({"minute": True}, "schedule.minute"),
        ({"hour": "24"}, "schedule.hour"),
        ({"hour": "5-3"}, "schedule.hour"),
        ({"hour": "*/0"}, "schedule.hour"),
        ({"hour": ""}, "schedule.hour"),
        ({"hour": "1,,2"}, "schedule.hour"),
        ({"hour": "٣"}, "schedule.hour"),
        ({"dom": 0}, "schedule.dom"),
        ({"month": "JAN"}, "schedule.month"),
        ({"dow": 7}, "schedule.dow"),
        ({"dow": [1]}, "schedule.dow"),
        ({"hours": 1}, "hours"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
        ({"time_zone": 7}, "time_zone"),
    ],
)
def test_a_wrong_field_is_named(schedule: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        Recurrence.of(schedule)
