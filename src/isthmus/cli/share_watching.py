"""Wait until a share, a snapshot or a rule has come to rest, with one line that says how far it is."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from isthmus.cli.client import JSON
from isthmus.cli.share_api import SharesApi
from isthmus.control.errors import NotFound, StepFailed

INTERVAL_SECONDS = 0.5
AT_REST = frozenset({"available", "active"})
CLEAR_LINE = "\r\x1b[K"


class StatusLine:
    """One line on a terminal that is written over; nothing elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_shown = self._stream.isatty()

    def show(self, text: str) -> None:
        """Write over what stood there."""
        if self._is_shown:
            self._stream.write(f"{CLEAR_LINE}{text}")
            self._stream.flush()

    def clear(self) -> None:
        """Leave nothing."""
        self.show("")


def settled(
    api: SharesApi,
    what: str,
    fetch: Callable[[], JSON],
    *,
    line: StatusLine | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> JSON:
    """Return an object when it is at rest. StepFailed says why it came to an error, as far as users are told.

    The work goes on if this is ended early.
    """
    line = line or StatusLine()
    begun = time.monotonic()
    try:
        while True:
            shown = fetch()
            status = str(shown.get("state") or shown["status"])
            if status in AT_REST:
                return shown
            if "error" in status:
                raise StepFailed(f"{what} is in status {status}: {api.why(shown['id']) or 'no reason was told'}")
            progress = shown.get("progress")
            line.show(f"{what}: {status}{f' {progress}' if progress else ''}, {time.monotonic() - begun:.0f} s")
            sleep(INTERVAL_SECONDS)
    finally:
        line.clear()


def gone(
    api: SharesApi,
    what: str,
    fetch: Callable[[], JSON],
    *,
    line: StatusLine | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when an object is not there any more; StepFailed if it cannot be deleted."""
    line = line or StatusLine()
    begun = time.monotonic()
    try:
        while True:
            shown = fetch()
            status = str(shown.get("state") or shown["status"])
            if "error" in status:
                raise StepFailed(f"{what} is in status {status}: {api.why(shown['id']) or 'no reason was told'}")
            line.show(f"{what}: {status}, {time.monotonic() - begun:.0f} s")
            sleep(INTERVAL_SECONDS)
    except NotFound:
        return
    finally:
        line.clear()
