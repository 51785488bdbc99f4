"""The `isthmus` command as one user runs it."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from lab.control_plane import ISTHMUS

LIMIT_SECONDS = 300


class CommandLine:
    """`environment` has the user's OS_* variables."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command and return how it ended and what it said."""
        command = [ISTHMUS, *words]
        return subprocess.run(
            command, env=self._environment, text=True, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )

    def made(self, *words: str) -> dict[str, Any]:
        """Return the object that a command shows; AssertionError if it failed."""
        shown: dict[str, Any] = self._json(*words)
        return shown

    def listed(self, *words: str) -> list[dict[str, Any]]:
        """Return the lines that a command lists; AssertionError if it failed."""
        lines: list[dict[str, Any]] = self._json(*words)
        return lines

    def _json(self, *words: str) -> Any:
        done = self.run(*words, "-f", "json")
        assert done.returncode == 0, f"isthmus {' '.join(words)}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)
