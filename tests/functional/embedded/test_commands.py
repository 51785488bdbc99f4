"""`isthmus up` in the foreground, and the commands where there is nothing yet."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.control_plane import ISTHMUS, ControlPlane, free_ports

from isthmus.embedded import processes

LIMIT_SECONDS = 90


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path / "s", only=("temporal",))
    yield made
    made.close()


def test_up_in_the_foreground_tells_each_part_and_ends_all_at_ctrl_c(plane: ControlPlane) -> None:
    port = str(plane.ports["temporal"])
    command = [ISTHMUS, "up", "--state-dir", str(plane.state_dir), "--only", "temporal", "--temporal-port", port]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as up:
        try:
            assert up.stderr
            said = []
            for line in up.stderr:
                said.append(line)
                if "All parts are ready" in line:
                    up.send_signal(signal.SIGINT)
            assert up.wait(LIMIT_SECONDS) == 0
        finally:
            up.kill()
    assert f"127.0.0.1:{port} after" in "".join(said)
    assert re.search(r"^temporal +stopped$", "".join(said), re.MULTILINE)
    assert not processes.marked(plane.state_dir)


def test_down_where_nothing_runs_is_no_error(plane: ControlPlane) -> None:
    plane.stop()


@pytest.mark.parametrize("command", ["status", "env"])
def test_before_the_first_start_a_command_names_the_next_step(plane: ControlPlane, command: str) -> None:
    with pytest.raises(RuntimeError, match="isthmus up"):
        plane.run(command)


def test_an_unknown_part_is_refused_before_anything_starts(plane: ControlPlane) -> None:
    plane.only = ("nova",)
    with pytest.raises(RuntimeError, match="there is no part nova"):
        plane.start()
    assert not processes.marked(plane.state_dir)


def test_two_planes_do_not_meet(tmp_path: Path, plane: ControlPlane) -> None:
    other = ControlPlane(tmp_path / "o", only=("temporal",))
    other.ports = free_ports()
    try:
        plane.start()
        other.start()
        other.stop()
        plane.wait_ready(5)
    finally:
        other.close()


def test_a_killed_test_run_leaves_no_control_plane(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from lab.control_plane import ControlPlane\n"
        "ControlPlane(pathlib.Path(sys.argv[1]), only=('temporal',)).start(); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + LIMIT_SECONDS
    while processes.marked(tmp_path / "s") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes.marked(tmp_path / "s")
