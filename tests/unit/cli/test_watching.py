import io

import pytest

from isthmus.cli.answers import Event, Task
from isthmus.cli.display import PlainLines, Quiet
from isthmus.cli.watching import OUTAGE_SECONDS, Work, follow, reason_of, require_completed
from isthmus.control.errors import StepFailed, Unavailable

DONE = Work("execution 1", "COMPLETED", ())
RUNNING = Work("execution 1", "RUNNING", ())


def test_it_asks_until_the_work_has_ended() -> None:
    answers = iter([RUNNING, RUNNING, DONE])
    slept: list[float] = []
    assert follow(lambda: next(answers), Quiet(), sleep=slept.append) is DONE
    assert len(slept) == 2


def test_an_api_that_is_away_for_a_while_is_said_once_and_waited_for() -> None:
    answers = iter([RUNNING, None, None, DONE])

    def fetch() -> Work:
        answer = next(answers)
        if answer is None:
            raise Unavailable("no answer")
        return answer

    stream = io.StringIO()
    assert follow(fetch, PlainLines(stream), sleep=lambda _: None) is DONE
    assert stream.getvalue().count("no answer; the work goes on") == 1


def test_an_api_that_stays_away_ends_the_watch() -> None:
    def fetch() -> Work:
        raise Unavailable("no answer")

    slept: list[float] = []
    with pytest.raises(Unavailable):
        follow(fetch, Quiet(), sleep=slept.append)
    assert sum(slept) == OUTAGE_SECONDS


def test_a_failure_tells_the_first_line_of_each_failed_step_and_where_to_look() -> None:
    failed = Task(id="1", instance="vm", task_type="OS_MORPHING", status="ERROR", exception_details="no grub\nline 2")
    skipped = Task(id="2", instance="vm", task_type="VERIFY_INSTANCE_BOOT", status="UNSCHEDULED")
    with pytest.raises(StepFailed) as raised:
        require_completed(Work("deployment", "ERROR", (failed, skipped)), "deployment d", "isthmus deployment show d")
    assert raised.value.message == (
        "deployment d ended ERROR: os morphing of vm: no grub (`isthmus deployment show d` tells more)"
    )


def test_a_reason_comes_from_events_where_the_step_has_none() -> None:
    event = Event(id="e", level="ERROR", message="disk full")
    assert reason_of(Task(id="1", instance="vm", task_type="X", status="ERROR", events=[event])) == "disk full"
    assert reason_of(Task(id="1", instance="vm", task_type="X", status="ERROR")) == "no reason was recorded"
