"""When a schedule is due: Coriolis' five fields, and beyond them ranges, lists, steps and a time zone. Pure.

All fields must match, also day of month and day of week together, as in Coriolis; Monday is day of week 0.
A schedule means wall clocks of its time zone (UTC unless it names one):

- With given hours, a time that a zone's change to summer time leaves out is due when that hour would have begun to
  pass (02:30 is due at 03:30), and one that the change back repeats is due the first time only. So a nightly run
  happens each night, once.
- With every hour, it follows the clock through both changes without a gap and without a repetition in UTC.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from isthmus.control.errors import InvalidInput

RANGES: Mapping[str, tuple[int, int]] = {
    "minute": (0, 59),
    "hour": (0, 23),
    "dom": (1, 31),
    "month": (1, 12),
    "dow": (0, 6),
}

HORIZON_DAYS = 29 * 366
"""29 February on a given day of the week can be this far away; what is not due until then never is."""

_PART = re.compile(r"(?:\*|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?")


@dataclass(frozen=True)
class Recurrence:
    """The minutes, hours, days and months at which something is due, in one time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    zone: ZoneInfo
    every_hour: bool

    @classmethod
    def of(cls, schedule: Mapping[str, Any]) -> "Recurrence":
        """Read a schedule; `InvalidInput` names the field that is wrong."""
        unknown = sorted(set(schedule) - {*RANGES, "time_zone"})
        if unknown:
            raise InvalidInput(
                f"schedule has unknown fields: {', '.join(unknown)}; there are {', '.join(RANGES)}, time_zone"
            )
        values = {name: _values(name, schedule.get(name)) for name in RANGES}
        return cls(
            minutes=tuple(sorted(values["minute"])),
            hours=tuple(sorted(values["hour"])),
            days=values["dom"],
            months=values["month"],
            weekdays=values["dow"],
            zone=_zone(schedule.get("time_zone")),
            every_hour=len(values["hour"]) == 24,
        )

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first due time after `moment`, both UTC without a zone; None if there is none within 29 years."""
        moment = moment.replace(tzinfo=UTC)
        first = moment.astimezone(self.zone).date() - timedelta(days=1)
        for offset in range(HORIZON_DAYS):
            day = first + timedelta(days=offset)
            if day.month in self.months and day.day in self.days and day.weekday() in self.weekdays:
                due = min((each for each in self._times(day) if each > moment), default=None)
                if due is not None:
                    return due.replace(tzinfo=None)
        return None

    def _times(self, day: date) -> Iterator[datetime]:
        if not self.every_hour:
            for hour in self.hours:
                for minute in self.minutes:
                    yield datetime.combine(day, time(hour, minute), self.zone).astimezone(UTC)
            return
        # The hours as they really pass: 23 or 25 of them when the zone's offset changes.
        start, end = (
            datetime.combine(each, time(), self.zone).astimezone(UTC) for each in (day, day + timedelta(days=1))
        )
        passed = start
        while passed < end:
            if passed.astimezone(self.zone).minute in self.minutes:
                yield passed
            passed += timedelta(minutes=1)


def _values(name: str, given: object) -> frozenset[int]:
    low, high = RANGES[name]
    if given is None or given == "*":
        return frozenset(range(low, high + 1))
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise _wrong(name)
    found: set[int] = set()
    for part in str(given).replace(" ", "").split(","):
        match = _PART.fullmatch(part) if part.isascii() else None
        if match is None:
            raise _wrong(name)
        first = int(match["first"]) if match["first"] else low
        # As in cron, "5/10" goes on from 5 to the end.
        last = int(match["last"]) if match["last"] else (first if match["first"] and not match["step"] else high)
        step = int(match["step"]) if match["step"] else 1
        if not low <= first <= last <= high or step < 1:
            raise _wrong(name)
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _wrong(name: str) -> InvalidInput:
    low, high = RANGES[name]
    return InvalidInput(
        f"schedule.{name} must be a number from {low} to {high}, a range like {low}-{high}, a step like */2, or a list "
        f"of those like {low},{low + 1}; leave it out for every {name}"
    )


def _zone(name: object) -> ZoneInfo:
    if name is None:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(name if isinstance(name, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            "schedule.time_zone must be a name of the time zone database like Europe/Bucharest; leave it out for UTC"
        ) from None
