"""How many bytes a pass has sent twice, measured from outside.

What the destination was given is counted by the kernel: all that the QEMUs that serve the replica's disks have
written to files, dead ones included (`wchar` of /proc/PID/io). What had to be given follows from the state files: the
chunks that the pass has written. The difference was sent again; it holds qcow2's own tables too, so it is never too
small, and it is of all disks together, so it bounds each.
"""

import contextlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.migration.disks.extents import CHUNK
from isthmus.migration.disks.state import HASH_BYTES, RECORD_BYTES, Kind
from lab.clouds import LibvirtCloud

WRITER = "-name guest=isthmus-writer-"
_SAMPLE_SECONDS = 0.03
_SEARCH_SECONDS = 0.3
_GENERATION_AT, _RECORDS_AT = 24, 8192  # see disks/state.py; for disks below 4 TiB


class Written:
    """Counts what a cloud's writers write, from `with` on; `total` in bytes."""

    def __init__(self, cloud: LibvirtCloud) -> None:
        self._cloud = cloud
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._seen: dict[int, int] = {}
        self._thread = threading.Thread(target=self._watch, name="written", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def total(self) -> int:
        """Return the bytes written by all writers so far."""
        with self._lock:
            return sum(self._seen.values())

    def kill(self) -> int:
        """SIGKILL the writers, stopped first so that their last count is exact; return how many there were."""
        victims = [pid for pid, line in self._cloud.processes() if WRITER in line]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._sample(pid)
                os.kill(pid, signal.SIGKILL)
        return len(victims)

    def _watch(self) -> None:
        writers: list[int] = []
        searched_at = 0.0
        while not self._stop.wait(_SAMPLE_SECONDS):
            if time.monotonic() - searched_at > _SEARCH_SECONDS:
                writers = [pid for pid, line in self._cloud.processes() if WRITER in line]
                searched_at = time.monotonic()
            for pid in writers:
                self._sample(pid)

    def _sample(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
            fields = dict(line.split(": ") for line in text.splitlines())
            with self._lock:
                self._seen[pid] = max(self._seen.get(pid, 0), int(fields["wchar"]))


def keep_states(staging: Path, kept: Path) -> None:
    """Copy the state files aside, to know later what the pass has changed."""
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(staging, kept)


def needed(staging: Path, before: Path, *, compared: bool) -> int:
    """Return the bytes that the pass had to send.

    These are the chunks recorded as data by it; when all was `compared`, those with another hash than `before`.
    """
    return sum(_needed(path, before / path.relative_to(staging), compared) for path in staging.rglob("*.map"))


def _needed(path: Path, earlier: Path, compared: bool) -> int:
    state = path.read_bytes()
    old = earlier.read_bytes() if compared and earlier.exists() else b""
    count = 0
    for at in range(_RECORDS_AT, len(state), RECORD_BYTES):
        status = state[at + HASH_BYTES]
        if status & 3 != Kind.DATA or status >> 2 != state[_GENERATION_AT]:
            continue
        known = old[at : at + RECORD_BYTES]
        same = known and known[HASH_BYTES] & 3 == Kind.DATA and known[:HASH_BYTES] == state[at : at + HASH_BYTES]
        count += not same
    return count * CHUNK
