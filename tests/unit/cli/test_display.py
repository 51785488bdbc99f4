import io

from rich.console import Console

from isthmus.cli.answers import Event, ProgressUpdate, Task
from isthmus.cli.display import LiveBars, PlainLines, Quiet, choose, rows_of


def copying(done: int, status: str = "RUNNING") -> list[Task]:
    update = ProgressUpdate(id="p1", current_step=done, total_steps=100, message="disk vda: 12 MiB/s, 40 s left")
    event = Event(id="ev1", level="WARNING", message="no bitmap [vda]")
    return [
        Task(id="t1", instance="vm", task_type="GET_INSTANCE_INFO", status="COMPLETED"),
        Task(
            id="t2",
            instance="vm",
            task_type="REPLICATE_DISKS",
            status=status,
            events=[event],
            progress_updates=[update],
        ),
        Task(id="t3", instance="vm", task_type="DELETE_TRANSFER_DISKS", status="UNSCHEDULED"),
    ]


def test_plain_lines_tell_each_change_once() -> None:
    now = 0.0
    stream = io.StringIO()
    lines = PlainLines(stream, clock=lambda: now)
    lines.show("execution 1", copying(10))
    lines.show("execution 1", copying(20))
    now = 11.0
    lines.show("execution 1", copying(30))
    lines.show("execution 1", copying(100, "COMPLETED"))
    assert stream.getvalue().splitlines() == [
        "execution 1: get instance info: completed",
        "execution 1: replicate disks: running",
        "  WARNING: no bitmap [vda]",
        "  10 % disk vda: 12 MiB/s, 40 s left",
        "  30 % disk vda: 12 MiB/s, 40 s left",
        "  100 % disk vda: 12 MiB/s, 40 s left",
        "execution 1: replicate disks: completed",
    ]


def test_live_bars_show_steps_disks_and_events() -> None:
    stream = io.StringIO()
    bars = LiveBars(Console(file=stream, force_terminal=True, width=100))
    bars.show("execution 1", copying(10))
    bars.show("execution 1", copying(100, "COMPLETED"))
    bars.finish()
    bars.finish()
    shown = stream.getvalue()
    assert "✓ replicate disks" in shown
    assert "disk vda" in shown
    assert "12 MiB/s, 40 s left" in shown
    assert "no bitmap [vda]" in shown
    assert "delete transfer disks" not in shown


def test_a_second_piece_of_work_gets_bars_of_its_own() -> None:
    stream = io.StringIO()
    bars = LiveBars(Console(file=stream, force_terminal=True, width=100))
    for title in ("execution 1", "execution 2"):
        bars.show(title, copying(100, "COMPLETED"))
        bars.finish()
    assert "execution 2" in stream.getvalue()


def test_without_terminal_nothing_is_shown_unless_asked_for() -> None:
    assert isinstance(choose(None, io.StringIO()), Quiet)
    assert isinstance(choose(False, io.StringIO()), Quiet)
    assert isinstance(choose(True, io.StringIO()), PlainLines)


def test_a_bar_stands_below_its_step_and_is_full_when_the_step_is_complete() -> None:
    rows = rows_of(copying(10))
    assert [row.text for row in rows] == ["✓ get instance info", "▸ replicate disks", "    disk vda"]
    assert (rows[2].done, rows[2].total, rows[2].note) == (10, 100, "12 MiB/s, 40 s left")
    assert rows[1].total is None
    assert rows_of(copying(10, "COMPLETED"))[2].done == 100
    assert rows_of(copying(10, "ERROR"))[2].done == 10
