"""A report that also stops the other disks of a copy once one has failed."""

import threading

from isthmus.control.errors import Cancelled
from isthmus.migration.reporting import Level, Progress, Report


class Stopping:
    """Passes all on to `report`; `check` also raises once `stop` is set."""

    def __init__(self, report: Report, stop: threading.Event) -> None:
        self._report = report
        self._stop = stop

    def event(self, level: Level, message: str) -> None:
        """Pass it on."""
        self._report.event(level, message)

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._report.progress(progress)

    def check(self) -> None:
        """Raise what the report has, or Cancelled once stopped."""
        self._report.check()
        if self._stop.is_set():
            raise Cancelled("another disk of this copy failed")
