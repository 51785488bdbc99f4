"""A command for a remote shell that answers one text: its output's end, and its status in the last line. Pure."""

import base64
import shlex
from collections.abc import Sequence

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing.contract import CommandResult
from isthmus.migration.morphing.programs import TIMED_OUT

_MARK = "isthmus-status="
_KEPT_OUTPUT = 200_000
# timeout(1) of coreutils says 124 or, after the second signal, 137; busybox gives what the signal gave.
_STOPPED = frozenset({124, 137, 143})
# One argument of execve(2) may be 128 KiB long, and base64 adds a third.
_LARGEST_STDIN = 80_000


def wrap(command: Sequence[str], timeout_seconds: int, stdin: str) -> str:
    """Return a script that always succeeds; `timeout` ends the command, and kills it two seconds later.

    Raises `StepFailed` for a `stdin` of more than 80,000 bytes.
    """
    data = stdin.encode(errors="surrogateescape")
    if len(data) > _LARGEST_STDIN:
        raise StepFailed(
            f"a script of more than {_LARGEST_STDIN} bytes cannot be handed to the appliance: make it shorter"
        )
    encoded = base64.b64encode(data).decode()
    limited = shlex.join(["timeout", "-k", "2", str(timeout_seconds), *command])
    return (
        f"{{ printf %s {shlex.quote(encoded)} | base64 -d | {limited}; status=$?; "
        f"echo; echo {_MARK}$status; }} 2>&1 | tail -c {_KEPT_OUTPUT}"
    )


def unwrap(output: str, *, time_is_over: bool) -> CommandResult:
    """Return the status and output that `wrap`'s script gave; `time_is_over` if it took all the time it had."""
    text, _, status = output.rpartition(f"\n{_MARK}")
    number = int(status.strip() or 1)
    return CommandResult(TIMED_OUT if time_is_over and number in _STOPPED else number, text)
