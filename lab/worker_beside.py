"""One more worker on a control plane, for a region of its own, with `[worker]` options of its own."""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.control.readiness import READY_FILE
from lab.control_plane import ISTHMUS, ControlPlane

READY_SECONDS = 120
_STOP_SECONDS = 90
_POLL_SECONDS = 0.1


class WorkerBeside:
    """A context manager. Its files are in `place`; `options` are lines of `[worker]`."""

    def __init__(self, plane: ControlPlane, place: Path, region: str, options: str) -> None:
        self._plane = plane
        self._place = place
        self._text = (
            f"[worker]\nqueues = {region}\nstaging_dir = {place}/staging\nruntime_dir = {place}/open\n{options}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it takes steps."""
        own, ready, log = (self._place / f"worker.{ending}" for ending in ("conf", "ready", "log"))
        own.write_text(self._text)
        ready.unlink(missing_ok=True)
        files = ["--config-file", str(self._plane.configuration), "--config-file", str(own)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [ISTHMUS, "worker", *files], env={**os.environ, READY_FILE: str(ready)}, stdout=output, stderr=output
            )
        for _ in range(int(READY_SECONDS / _POLL_SECONDS)):
            try:
                code = self._process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if ready.exists():
                    return self
            else:
                raise RuntimeError(f"the worker ended with {code}:\n{log.read_text()[-3000:]}")
        self._end()
        raise TimeoutError(f"the worker is not ready after {READY_SECONDS} s:\n{log.read_text()[-3000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
