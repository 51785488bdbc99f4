"""The supervisor with small real programs as its parts: deaths, failures, order."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isthmus.embedded import processes
from isthmus.embedded.layout import Layout, make_directories
from isthmus.embedded.part import NotReady, Part, Preparation
from isthmus.embedded.readiness import file_exists
from isthmus.embedded.supervisor import Supervisor, read_reports
from isthmus.embedded.watch import Report, State

LIMIT_SECONDS = 30.0


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    made = Layout(tmp_path)
    make_directories(made)
    yield made
    processes.kill(processes.marked(tmp_path))


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def at_once() -> None:
    """Answer that a part is ready as soon as it runs."""


def supervise(layout: Layout, parts: list[Part], until: Callable[[list[Report]], bool]) -> list[list[Report]]:
    """Run the supervisor until its reports say so, then tell it to stop; return all it announced."""
    told: list[list[Report]] = []

    def announce(reports: list[Report]) -> None:
        told.append(reports)
        if until(reports):
            signal.raise_signal(signal.SIGTERM)

    # A part that never gets there must fail this test, not hang it.
    alarm = threading.Timer(LIMIT_SECONDS, signal.raise_signal, [signal.SIGTERM])
    alarm.start()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        Supervisor(layout, parts, announce).run()
    finally:
        alarm.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    return told


def states(told: list[list[Report]], name: str) -> list[State]:
    """Return the states a part went through, each once in a row."""
    seen = [report.state for reports in told for report in reports if report.name == name]
    return [state for index, state in enumerate(seen) if index == 0 or seen[index - 1] is not state]


def test_a_part_that_keeps_dying_is_failed_with_its_last_lines_and_tried_again(layout: Layout) -> None:
    bad = Part("bad", python("raise SystemExit('no such tune')"), file_exists(layout.run / "never"), "nowhere")

    def failed(reports: list[Report]) -> bool:
        return reports[0].restarts >= 5

    told = supervise(layout, [bad], failed)
    last = next(reports[0] for reports in told if reports[0].state is State.FAILED)
    assert "exit code 1" in last.message
    assert "no such tune" in last.message
    after = states(told, "bad")
    assert State.STARTING in after[after.index(State.FAILED) :]


def test_a_part_waits_for_those_it_needs_and_ends_before_them(layout: Layout) -> None:
    sleep = python("import time; time.sleep(60)")
    parts = [Part("upper", sleep, at_once, "", depends_on=("lower",)), Part("lower", sleep, at_once, "")]
    told = supervise(layout, parts, lambda reports: all(report.state is State.RUNNING for report in reports))
    by_time = [{report.name: report.state for report in reports} for reports in told]
    assert all(now["lower"] is State.RUNNING for now in by_time if now["upper"] in (State.STARTING, State.RUNNING))
    assert all(now["upper"] is State.STOPPED for now in by_time if now["lower"] in (State.STOPPING, State.STOPPED))
    assert not processes.marked(layout.state_dir)


def test_what_a_dead_part_left_behind_is_killed_before_it_starts_again(layout: Layout) -> None:
    orphan = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); raise SystemExit(3)"
    part = Part("parent", python(orphan), file_exists(layout.run / "never"), "")
    supervise(layout, [part], lambda reports: reports[0].restarts >= 2)
    assert not processes.marked(layout.state_dir)


def test_a_part_that_ignores_sigterm_is_killed(layout: Layout) -> None:
    ready = layout.run / "deaf.ready"
    deaf = "import signal, time, sys; signal.signal(15, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)"
    part = Part("deaf", (*python(deaf), str(ready)), file_exists(ready), "", ready_file=ready, stop_limit=0.5)
    began = time.monotonic()
    supervise(layout, [part], lambda reports: reports[0].state is State.RUNNING)
    assert time.monotonic() - began < LIMIT_SECONDS
    assert not processes.marked(layout.state_dir)


def test_a_part_that_never_answers_is_started_again(layout: Layout) -> None:
    def never() -> None:
        raise NotReady("the line is busy")

    part = Part("mute", python("import time; time.sleep(600)"), never, "", start_limit=0.5, stop_limit=1)
    told = supervise(layout, [part], lambda reports: reports[0].restarts >= 1)
    assert "did not answer" in told[-1][0].message
    assert "the line is busy" in told[-1][0].message


def test_a_preparation_is_done_once_for_the_same_stamp_and_gets_its_secrets_by_stdin(layout: Layout) -> None:
    def part(stamp_text: str) -> Part:
        write = python("import sys; open(sys.argv[1], 'a').write(sys.stdin.read())")
        preparation = Preparation(
            (*write, str(layout.state_dir / "done")), layout.stamp("isthmus"), stamp_text, stdin="secret;"
        )
        return Part("one", python("import time; time.sleep(60)"), at_once, "", preparation=preparation)

    for stamp_text in ("1", "1", "2"):
        supervise(layout, [part(stamp_text)], lambda reports: reports[0].state is State.RUNNING)
    assert (layout.state_dir / "done").read_text() == "secret;secret;"


def test_the_last_reports_can_be_read_when_all_has_stopped(layout: Layout) -> None:
    part = Part("one", python("import time; time.sleep(60)"), at_once, "here")
    supervise(layout, [part], lambda reports: reports[0].state is State.RUNNING)
    assert [(report.name, report.state, report.pid) for report in read_reports(layout)] == [
        ("one", State.STOPPED, None)
    ]
