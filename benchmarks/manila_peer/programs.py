"""Programs of the peer: started in sessions of their own, ended in the reverse order."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

STOP_SECONDS = 20.0


class Programs:
    """What was started, by name; each one's output is in `directory`/NAME.log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Start a program; its environment is this one's with `environment` over it."""
        with (self._directory / f"{name}.log").open("ab") as log:
            self._started[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return each program's processes, children included."""
        found = {}
        for name, program in self._started.items():
            first = psutil.Process(program.pid)
            found[name] = [first, *first.children(recursive=True)]
        return found

    def check(self) -> None:
        """Raise RuntimeError naming a program that ended, with the end of what it said."""
        for name, program in self._started.items():
            if program.poll() is not None:
                said = (self._directory / f"{name}.log").read_text(errors="replace")
                raise RuntimeError(f"{name} ended with {program.returncode}:\n{said[-2000:]}")

    def await_port(self, port: int, seconds: float) -> None:
        """Wait until something listens on the loopback port; TimeoutError, or RuntimeError as `check`."""
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing listens on port {port} after {seconds:.0f} s")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all, the last started first; their whole sessions."""
        for program in reversed(self._started.values()):
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)
            # What does not end in time gets the signal that cannot be refused, as do its children.
            with suppress(subprocess.TimeoutExpired):
                program.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        self._started.clear()
