"""The supervisor: one process, one loop, that keeps all parts alive until it is told to stop."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from isthmus.embedded import processes
from isthmus.embedded.layout import Layout, write_private
from isthmus.embedded.part import Part
from isthmus.embedded.watch import Report, State, Watch

TICK_SECONDS = 0.05
ROTATION_SECONDS = 60.0

Announce = Callable[[list[Report]], None]


class Supervisor:
    """Starts the parts, each as soon as those it depends on are ready; starts those again that die."""

    def __init__(self, layout: Layout, parts: Sequence[Part], announce: Announce) -> None:
        self._layout = layout
        self._announce = announce
        self._checks = ThreadPoolExecutor(max_workers=len(parts), thread_name_prefix="check")
        self._watches = {part.name: Watch(part, layout, self._checks) for part in parts}
        self._stopping = False
        self._next_rotation = 0.0
        self._published: list[Report] = []

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP, then stop all parts in order and return."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        try:
            while not self._stopping:
                for watch in self._watches.values():
                    watch.step(dependencies_ready=self._are_ready(watch.part.depends_on))
                self._publish()
                self._rotate_logs()
                time.sleep(TICK_SECONDS)
        finally:
            self._stop_all()
            self._checks.shutdown(cancel_futures=True)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _are_ready(self, names: Sequence[str]) -> bool:
        return all(self._watches[name].state is State.RUNNING for name in names)

    def _stop_all(self) -> None:
        """End first the parts that no other needs, and so on down to MariaDB."""
        remaining = dict(self._watches)
        while remaining:
            needed = {name for watch in remaining.values() for name in watch.part.depends_on}
            layer = [watch for name, watch in remaining.items() if name not in needed]
            for watch in layer:
                watch.stop()
            self._publish()
            for watch in layer:
                watch.finish()
                del remaining[watch.part.name]
            self._publish()

    def _rotate_logs(self) -> None:
        if time.monotonic() < self._next_rotation:
            return
        self._next_rotation = time.monotonic() + ROTATION_SECONDS
        for name in (*self._watches, "supervisor"):
            processes.rotate_open(self._layout.log(name))

    def _publish(self) -> None:
        reports = [watch.report() for watch in self._watches.values()]
        if reports == self._published:
            return
        self._published = reports
        published = {"supervisor": os.getpid(), "parts": [report.as_json() for report in reports]}
        write_private(self._layout.parts, json.dumps(published, indent=2) + "\n")
        self._announce(reports)


def read_reports(layout: Layout) -> list[Report]:
    """Return what the supervisor of this state directory published last; nothing if none ever ran."""
    if not layout.parts.exists():
        return []
    parts = json.loads(layout.parts.read_text())["parts"]
    return [Report(**{**part, "state": State(part["state"])}) for part in parts]
