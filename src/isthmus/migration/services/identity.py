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

from isthmus.control.errors import InvalidInput


class Identity:
    """The first identity of a staging directory that no living process has; kept until `release`.

    The files lie in `state_dir`: all that is in a staging directory belongs to transfers.
    """

    def __init__(self, state_dir: Path, staging_dir: Path) -> None:
        """Raises `InvalidInput` if `state_dir` cannot be written."""
        try:
            self._descriptor, self.id = _first_free(state_dir, staging_dir)
        except OSError as error:
            raise InvalidInput(
                f"this worker cannot keep its identity in {state_dir}: {error.strerror}; correct state_dir in [DEFAULT]"
            ) from error

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


def _first_free(state_dir: Path, staging_dir: Path) -> tuple[int, str]:
    """Return the locked file of the first identity that is free, and the identity."""
    state_dir.mkdir(parents=True, exist_ok=True)
    place = hashlib.blake2s(str(staging_dir.resolve()).encode(), digest_size=6).hexdigest()
    for number in count():
        descriptor = os.open(state_dir / f"worker-{place}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return descriptor, _read_or_write(descriptor)
    raise AssertionError


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
