"""Temporary directories of services: gone with their maker, and with the next one of the same purpose if it was killed.

The maker holds a lock on its directory; so do processes that it forks. Where nobody holds one, the maker is dead.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_SECONDS_TO_LOCK = 60


def make(purpose: str) -> Path:
    """Make a directory for this process and its children, and remove those that dead processes of ours have left.

    It is removed when this process ends, whatever its children do.
    """
    prefix = f"isthmus-{purpose}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            _remove_if_left(left)
    made = Path(tempfile.mkdtemp(prefix=prefix))
    fcntl.flock(os.open(made, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)
    atexit.register(_remove, made, os.getpid())
    return made


def _remove_if_left(place: Path) -> None:
    """Raises OSError if somebody has it, or it is none of ours."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        # One that is as new as that may not have been locked yet.
        if facts.st_uid != os.geteuid() or time.time() - facts.st_mtime < _SECONDS_TO_LOCK:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(place)
    finally:
        os.close(descriptor)


def _remove(place: Path, maker: int) -> None:
    if os.getpid() == maker:
        shutil.rmtree(place, ignore_errors=True)
