"""Starting a part's process so that it can never be lost, and ending it with all it started.

Three things keep a process from being left behind: it is told to end when the supervisor dies (`setpriv
--pdeathsig`), it leads a session of its own, and it and all its descendants carry the state directory and the part's
name in their environment, by which whoever comes next finds them. Unlike a pid file, that mark cannot point at a
stranger who got a dead process's pid.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PLANE_VARIABLE = "ISTHMUS_CONTROL_PLANE"
PART_VARIABLE = "ISTHMUS_PART"
LARGEST_LOG = 10 * 1024 * 1024
_POLL_SECONDS = 0.05
# gunicorn names its processes with setproctitle, which would write the name over the environment that others see.
_KEEP_MARKS = {"SPT_NOENV": "1"}


def spawn(
    command: Sequence[str], *, state_dir: Path, part: str, log: Path, environment: Mapping[str, str], stdin: str = ""
) -> subprocess.Popen[bytes]:
    """Start a part's program, its output appended to `log`. Call it from the main thread: the kernel sends the
    death signal when the thread that started the process ends.
    """
    rotate(log)
    marks = {PLANE_VARIABLE: str(state_dir), PART_VARIABLE: part, **_KEEP_MARKS, "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=state_dir,
            env={**clean_environment(), **environment, **marks},
            start_new_session=True,
        )
    if process.stdin:
        # Smaller than a pipe's buffer, so this does not wait for the program to read it.
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(stdin.encode())
    return process


def clean_environment() -> dict[str, str]:
    """Return our environment without what would point a part at another cloud or another configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON", "UWSGI_"))}


def rotate(log: Path) -> None:
    """Move a log that has grown beyond 10 MiB to `.1`, over the older one."""
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_name(log.name + ".1"))


def rotate_open(log: Path) -> None:
    """Move what stands in a grown log to `.1` while its part goes on writing to it.

    The part appends to the same file, so it is copied and emptied; lines written in between, milliseconds, are lost.
    """
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def marked(state_dir: Path, part: str | None = None) -> list[psutil.Process]:
    """Return every process of this control plane, or of one part of it, whoever its parent is now."""
    found = []
    for process in psutil.process_iter():
        # A process may end, or belong to somebody else, while we look.
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            ours = environment.get(PLANE_VARIABLE) == str(state_dir) and process.pid != os.getpid()
            if ours and (part is None or environment.get(PART_VARIABLE) == part):
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], limit: float) -> None:
    """Ask processes to end, wait `limit` seconds, then kill those that did not."""
    waited_for = list(processes)
    for process in waited_for:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(waited_for, timeout=limit)
    kill(stubborn)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes and wait until they are gone."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(killed, timeout=10)


def end_leftovers(state_dir: Path, limit: float) -> int:
    """End all processes of a control plane whose supervisor is dead; return how many there were.

    Everybody else before MariaDB, which the others write to until they end.
    """
    found = marked(state_dir)
    databases = marked(state_dir, "mariadb")
    end([process for process in found if process not in databases], limit)
    end(databases, limit)
    kill(marked(state_dir))
    return len(found)


def wait_until_gone(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait for a child to end; say whether it did within `limit` seconds."""
    deadline = time.monotonic() + limit
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
