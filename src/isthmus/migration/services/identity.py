"""The identity of a worker: it stays with its staging directory, so a worker that starts again finds its own journals.

Two workers that share a directory have one each. Who has one holds a lock on its file, which the kernel lets go of
however the process ends.
"""

import fcntl
import hashlib
import os
import uuid
from itertools import count
from pathlib import Path


class Identity:
    """The first identity of a staging directory that no living process has; kept until `release`.

    The files lie in `state_dir`: all that is in a staging directory belongs to transfers.
    """

    def __init__(self, state_dir: Path, staging_dir: Path) -> None:
        """Raises OSError if `state_dir` cannot be written."""
        state_dir.mkdir(parents=True, exist_ok=True)
        place = hashlib.blake2s(str(staging_dir.resolve()).encode(), digest_size=6).hexdigest()
        for number in count():
            descriptor = os.open(state_dir / f"worker-{place}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            self._descriptor = descriptor
            self.id = _read_or_write(descriptor)
            return

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


def _read_or_write(descriptor: int) -> str:
    """Return the identity that a locked file holds; one that is new or torn gets another."""
    try:
        return str(uuid.UUID(os.pread(descriptor, 64, 0).decode().strip()))
    except ValueError:
        made = str(uuid.uuid4())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{made}\n".encode(), 0)
        os.fsync(descriptor)
        return made
