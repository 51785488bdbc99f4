"""How work is shown while it goes on: live bars on a terminal, plain lines elsewhere, or nothing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from isthmus.cli.answers import ProgressUpdate, Task

PLAIN_PROGRESS_SECONDS = 10
MARKS = {"COMPLETED": "✓", "ERROR": "✗", "CANCELED": "✗", "RUNNING": "▸", "CANCELLING": "▸"}
FINAL = frozenset({"COMPLETED", "ERROR", "CANCELED"})
NEVER_RUN = frozenset({"UNSCHEDULED", "EXECUTE_ON_ERROR_ONLY"})


class Display(Protocol):
    """Shows the steps of one piece of work after another."""

    def show(self, title: str, tasks: Sequence[Task]) -> None:
        """Show the present state; called about once a second."""

    def say(self, text: str) -> None:
        """Show one line that is not about a step."""

    def finish(self) -> None:
        """The present piece of work has ended: leave its last state visible. Calling it twice is fine."""


def choose(watch: bool | None, stream: TextIO) -> Display:
    """Return live bars on a terminal, plain lines elsewhere if `watch` asks for them, else nothing."""
    if watch is False or (watch is None and not stream.isatty()):
        return Quiet()
    return LiveBars(Console(file=stream)) if stream.isatty() else PlainLines(stream)


class Quiet:
    """Shows nothing; the exit code and the report tell all."""

    def show(self, title: str, tasks: Sequence[Task]) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Nothing to leave."""


class PlainLines:
    """One line for each change of a step's status, each event, and measured progress every some seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._statuses: dict[str, str] = {}
        self._events: set[str] = set()
        self._progress: dict[str, tuple[int, float]] = {}

    def show(self, title: str, tasks: Sequence[Task]) -> None:
        """Print what is new."""
        for task in visible(tasks):
            changed = self._statuses.get(task.id) != task.status and task.status != "SCHEDULED"
            self._statuses[task.id] = task.status
            line = f"{title}: {label(task, tasks)}: {task.status.lower()}"
            if changed and task.status not in FINAL:
                self.say(line)
            for event in unseen(task, self._events):
                self.say(f"  {event}")
            for update in task.progress_updates:
                self._show_progress(update)
            if changed and task.status in FINAL:
                self.say(line)
        self._stream.flush()

    def _show_progress(self, update: ProgressUpdate) -> None:
        now = self._clock()
        done, at = self._progress.get(update.id, (-1, -1.0e9))
        complete = update.total_steps is not None and update.current_step >= update.total_steps
        if update.current_step != done and (complete or now - at >= PLAIN_PROGRESS_SECONDS):
            self._progress[update.id] = (update.current_step, now)
            self.say(f"  {percent(update)}{update.message}")

    def say(self, text: str) -> None:
        """Print one line."""
        self._stream.write(text + "\n")

    def finish(self) -> None:
        """Lines stay by themselves."""


class LiveBars:
    """A line for each step, below it a bar for each thing that is measured; events scroll by above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._events: set[str] = set()
        self._bars: Progress | None = None
        self._rows: dict[str, TaskID] = {}

    def show(self, title: str, tasks: Sequence[Task]) -> None:
        """Draw the present state."""
        bars = self._bars or self._begin(title)
        for task in visible(tasks):
            for event in unseen(task, self._events):
                self._console.print(f"  {event}", markup=False, highlight=False)
        rows = {row.key: row for row in rows_of(tasks)}
        if list(rows) != list(self._rows):
            # A bar belongs below its step, and new ones come up in the middle: draw all anew, in order.
            for known in self._rows.values():
                bars.remove_task(known)
            self._rows = {key: bars.add_task(row.text, note=row.note) for key, row in rows.items()}
        for key, row in rows.items():
            bars.update(self._rows[key], description=row.text, total=row.total, completed=row.done, note=row.note)
        bars.refresh()

    def _begin(self, title: str) -> Progress:
        self._console.print(title, style="bold", markup=False, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
        )
        self._rows = {}
        self._bars.start()
        return self._bars

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self._console.print(text, markup=False, highlight=False)

    def finish(self) -> None:
        """Stop drawing and leave the last state."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@dataclass(frozen=True)
class Row:
    """One line of the live display: a step, or a thing that a step measures. `total` None is not known yet."""

    key: str
    text: str
    total: int | None
    done: int
    note: str = ""


def rows_of(tasks: Sequence[Task]) -> list[Row]:
    """Return the lines of the live display in their order."""
    rows: list[Row] = []
    for task in visible(tasks):
        active = task.status in {"RUNNING", "CANCELLING"}
        begun = int(task.status != "SCHEDULED")
        text = f"{MARKS.get(task.status, '·')} {label(task, tasks)}"
        rows.append(Row(task.id, text, None if active else 1, 0 if active else begun))
        for update in task.progress_updates:
            name, _, note = update.message.partition(":")
            completed = task.status == "COMPLETED" and update.total_steps is not None
            done = update.total_steps if completed and update.total_steps else update.current_step
            rows.append(Row(update.id, f"    {name}", update.total_steps, done, "" if completed else note.strip()))
    return rows


def visible(tasks: Sequence[Task]) -> list[Task]:
    """Return the steps that run or may still run."""
    return [task for task in tasks if task.status not in NEVER_RUN]


def label(task: Task, tasks: Sequence[Task]) -> str:
    """Return a step's name for people, with its machine if there are several."""
    name = task.task_type.lower().replace("_", " ")
    several = len({other.instance for other in tasks}) > 1
    return f"{name} ({task.instance})" if several else name


def unseen(task: Task, seen: set[str]) -> list[str]:
    """Return the step's events that were not shown yet, and remember them."""
    fresh = [event for event in task.events if event.id not in seen]
    seen.update(event.id for event in fresh)
    return [event.message if event.level == "INFO" else f"{event.level}: {event.message}" for event in fresh]


def percent(update: ProgressUpdate) -> str:
    """Return "42 % " or nothing while the total is unknown."""
    return f"{100 * update.current_step // update.total_steps} % " if update.total_steps else ""
