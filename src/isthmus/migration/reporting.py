"""How a step tells what it is doing, and learns that it should stop.

Disks, morphers and providers get a `Report` and know nothing of the engine behind it: in a worker it becomes
heartbeats, in a test a list.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Level(StrEnum):
    """Levels of an event, as in the Coriolis API."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Progress:
    """How far one measurable thing has come.

    `subject` is stable during the step ("disk vda"); `done` and `total` are in `unit` ("bytes" or "steps");
    `rate` is in units per second over the last seconds; `seconds_left` is None while unknown.
    """

    subject: str
    done: int
    total: int
    unit: str = "bytes"
    rate: float = 0.0
    seconds_left: float | None = None


@dataclass(frozen=True)
class Event:
    """One line for people: what happened and, where something is wrong, what to do."""

    level: Level
    message: str


class Report(Protocol):
    """What a long step is given. All methods are cheap, may be called from any thread and never block."""

    def event(self, level: Level, message: str) -> None:
        """Record an event. `message` holds no secret."""

    def progress(self, progress: Progress) -> None:
        """Replace what is known of `progress.subject`."""

    def check(self) -> None:
        """Raise `isthmus.control.errors.Cancelled` if the work should stop. Call at least every second."""


class Silence:
    """A `Report` for work that nobody watches and nobody may stop."""

    def event(self, level: Level, message: str) -> None:
        """Drop the event."""

    def progress(self, progress: Progress) -> None:
        """Drop the progress."""

    def check(self) -> None:
        """Never stop."""
