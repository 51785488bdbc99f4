"""Temporary directories of services whose makers end well, are killed, or fork."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from isthmus.control import scratch

_MAKE = """
import os, sys
from isthmus.control import scratch
made = scratch.make("test")
(made / "file").write_text("x")
if sys.argv[1] == "fork" and os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print(made, flush=True)
if sys.argv[1] in ("wait", "fork"):
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def maker(how: str) -> "tuple[subprocess.Popen[str], Path]":
    words = [sys.executable, "-c", _MAKE, how]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate()


def grown_old(place: Path) -> None:
    os.utime(place, (0, 0))


def test_it_goes_with_its_maker() -> None:
    process, made = maker("end")
    end(process)
    assert process.returncode == 0
    assert made.name.startswith("isthmus-test-")
    assert not made.exists()


def test_what_a_killed_maker_has_left_goes_with_the_next(temporary: Path) -> None:
    process, made = maker("wait")
    process.send_signal(signal.SIGKILL)
    end(process)
    assert made.is_dir()
    grown_old(made)
    following, other = maker("wait")
    assert not made.exists()
    assert other.is_dir()
    end(following)
    assert list(temporary.iterdir()) == []


def test_that_of_a_maker_or_its_child_that_lives_stays() -> None:
    living, ones = maker("wait")
    forking, others = maker("fork")
    forking.send_signal(signal.SIGKILL)
    forking.wait()
    grown_old(ones)
    grown_old(others)
    end(maker("end")[0])
    assert ones.is_dir()
    assert others.is_dir()
    end(living)
    end(forking)  # its child, too, reads the end of its input
    deadline = time.monotonic() + 60
    while others.exists():
        assert time.monotonic() < deadline
        end(maker("end")[0])


def test_what_is_new_or_none_of_ours_stays(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    link, new, file = (temporary / f"isthmus-test-{name}" for name in ("link", "new", "file"))
    link.symlink_to(elsewhere)
    new.mkdir()
    file.write_text("x")
    foreign = temporary / "isthmus-test-foreign"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    grown_old(foreign)
    grown_old(elsewhere)
    end(maker("end")[0])
    assert {each.name for each in temporary.iterdir()} == {"elsewhere", link.name, new.name, file.name, foreign.name}


def test_purposes_do_not_disturb_each_other(temporary: Path) -> None:
    other = temporary / "isthmus-metrics-x"
    other.mkdir()
    grown_old(other)
    made = scratch.make("unit")
    assert made.parent == temporary
    assert other.is_dir()
