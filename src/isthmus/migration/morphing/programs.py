"""Run a program with a limit on its time and on how much of its output is kept."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.migration.morphing.contract import CommandResult

TIMED_OUT = 124  # as timeout(1) has it
GUEST_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C",
    "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
}
_KEPT_OUTPUT = 256 << 10


@dataclass(frozen=True)
class Finished:
    """A program's status (124: its time was over) and the last 256 KiB that it wrote to either stream."""

    status: int
    output: str

    def tail(self, length: int = 400) -> str:
        """Return the output's end, for a message."""
        return tail_of(self.output, length)

    def answer(self) -> CommandResult:
        """Return this as the contract has it."""
        return CommandResult(self.status, self.output)


def tail_of(output: str, length: int = 400) -> str:
    """Return the last non-empty lines of a program's output, at most `length` characters."""
    return " | ".join(line.strip() for line in output.splitlines() if line.strip())[-length:]


def run_limited(command: Sequence[str], timeout_seconds: float, stdin: str = "") -> Finished:
    """Run a program to its end, or kill it and its process group when time is over. OSError if it is missing."""
    deadline = time.monotonic() + timeout_seconds
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    output, over = _converse(process, stdin.encode(errors="surrogateescape"), deadline)
    if over:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
    text = output.decode(errors="replace")
    return (
        Finished(TIMED_OUT, f"{text}\nstopped after {timeout_seconds} s")
        if over
        else Finished(process.returncode, text)
    )


def _converse(process: "subprocess.Popen[bytes]", stdin: bytes, deadline: float) -> tuple[bytes, bool]:
    """Feed and read a process until it closes its output; return the output's end and whether time was over."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                process.stdin.close()
                return bytes(output), True
            for key, _ in ready:
                if key.fileobj is process.stdout:
                    piece = os.read(process.stdout.fileno(), 65536)
                    output += piece
                    del output[:-_KEPT_OUTPUT]
                    if not piece:
                        selector.unregister(process.stdout)
                        if not process.stdin.closed:
                            selector.unregister(process.stdin)
                            process.stdin.close()
                else:
                    stdin = _feed(process.stdin.fileno(), stdin)
                    if not stdin:
                        selector.unregister(process.stdin)
                        process.stdin.close()
    return bytes(output), False


def _feed(descriptor: int, stdin: bytes) -> bytes:
    """Write what fits; return what is left, nothing if the reader has gone."""
    try:
        return stdin[os.write(descriptor, stdin[:65536]) :] if stdin else b""
    except BrokenPipeError:
        return b""
