"""One part's life: prepared, started, found ready, started again when it dies, ended.

    waiting -> preparing -> starting -> running
                  |            |           |
                  +------------+-----------+--> restarting (or failed, after several deaths in a row) -> waiting

Nothing here waits: `step` looks once and moves on, so one loop carries all parts.
"""

import subprocess
import time
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from isthmus.embedded import processes
from isthmus.embedded.layout import Layout, write_private
from isthmus.embedded.part import NotReady, Part, Preparation

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
STABLE_SECONDS = 10.0  # a part that ran this long does not die of what killed it before
DEATHS_TO_FAIL = 4
CHECK_PAUSE = 0.2
LAST_LINES = 8


class State(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Report:
    """What is known of a part, as published for `status`. `seconds` is how long it took to be ready the last time."""

    name: str
    state: State
    pid: int | None
    address: str
    restarts: int
    seconds: float | None
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Watch:
    """Watches one part. Call `step` often and from the main thread only (see `processes.spawn`)."""

    def __init__(self, part: Part, layout: Layout, checks: Executor) -> None:
        self.part = part
        self.state = State.WAITING
        self.message = ""
        self.restarts = 0
        self._layout = layout
        self._checks = checks
        self._process: subprocess.Popen[bytes] | None = None
        self._check: Future[None] | None = None
        self._deaths_in_row = 0
        self._began = time.monotonic()
        self._since = 0.0  # when the present state began
        self._not_before = 0.0  # when the next start or check may be
        self._seconds: float | None = None

    def report(self) -> Report:
        """Return what is known of the part now."""
        pid = self._process.pid if self._process else None
        return Report(self.part.name, self.state, pid, self.part.address, self.restarts, self._seconds, self.message)

    def step(self, *, dependencies_ready: bool) -> None:
        """Look at the part once and move it on."""
        now = time.monotonic()
        match self.state:
            case State.WAITING | State.RESTARTING | State.FAILED:
                if dependencies_ready and now >= self._not_before:
                    self._begin()
            case State.PREPARING:
                self._see_preparation()
            case State.STARTING:
                self._see_start(now)
            case State.RUNNING:
                if self._process and self._process.poll() is not None:
                    self._died(f"ended with {_how(self._process.returncode)}")
                elif now - self._since > STABLE_SECONDS:
                    self._deaths_in_row = 0

    def stop(self) -> None:
        """Ask the part to end; `finish` sees that it does."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
        self._enter(State.STOPPING)

    def finish(self) -> None:
        """Wait for the part to end, kill it if it does not, and with it all it has left behind."""
        if self._process and not processes.wait_until_gone(self._process, self.part.stop_limit):
            self._process.kill()
            self._process.wait()
        self._process = None
        self._kill_remains()
        if self.part.ready_file:
            self.part.ready_file.unlink(missing_ok=True)
        self._enter(State.STOPPED)

    def _begin(self) -> None:
        self._began = time.monotonic()
        preparation = self.part.preparation
        if preparation and not preparation.is_done():
            self._process = self._spawn(preparation.command, preparation)
            self._enter(State.PREPARING)
        else:
            self._start()

    def _start(self) -> None:
        if self.part.ready_file:
            self.part.ready_file.unlink(missing_ok=True)
        self._process = self._spawn(self.part.command, None)
        self._check = None
        self._enter(State.STARTING)

    def _spawn(self, command: tuple[str, ...], preparation: Preparation | None) -> subprocess.Popen[bytes]:
        return processes.spawn(
            command,
            state_dir=self._layout.state_dir,
            part=self.part.name,
            log=self._layout.log(self.part.name),
            environment=preparation.environment if preparation else self.part.environment,
            stdin=preparation.stdin if preparation else "",
        )

    def _see_preparation(self) -> None:
        preparation, process = self.part.preparation, self._process
        if not preparation or not process or process.poll() is None:
            return
        if process.returncode != 0:
            self._died(f"its preparation ended with {_how(process.returncode)}")
            return
        write_private(preparation.stamp, preparation.stamp_text)
        self._start()

    def _see_start(self, now: float) -> None:
        if self._process and self._process.poll() is not None:
            self._died(f"ended with {_how(self._process.returncode)} before it was ready")
        elif self._check is None:
            if now >= self._not_before:
                self._check = self._checks.submit(self.part.check)
        elif self._check.done():
            self._see_check(self._check, now)

    def _see_check(self, check: Future[None], now: float) -> None:
        self._check = None
        try:
            check.result()
        except (NotReady, OSError) as reason:
            self._not_before = now + CHECK_PAUSE
            if now - self._since > self.part.start_limit:
                self._died(f"did not answer within {self.part.start_limit:.0f} s ({reason})")
            return
        self._seconds = round(now - self._began, 2)
        self.message = ""
        self._enter(State.RUNNING)

    def _died(self, how: str) -> None:
        """Clear what the part left behind and plan its next start: soon at first, later after each death in a row."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._kill_remains()
        self._deaths_in_row += 1
        self.restarts += 1
        pause = min(FIRST_PAUSE * 2 ** (self._deaths_in_row - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + pause
        self.message = (
            f"{how}; last lines of {self._layout.log(self.part.name)}:\n{last_lines(self._layout, self.part.name)}"
        )
        self._enter(State.FAILED if self._deaths_in_row >= DEATHS_TO_FAIL else State.RESTARTING)

    def _kill_remains(self) -> None:
        processes.kill(processes.marked(self._layout.state_dir, self.part.name))

    def _enter(self, state: State) -> None:
        self.state = state
        self._since = time.monotonic()


def last_lines(layout: Layout, name: str, count: int = LAST_LINES) -> str:
    """Return the last lines of a part's log."""
    log = layout.log(name)
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def _how(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
