"""How a service without a port says that it is at work: it touches the file that $ISTHMUS_READY_FILE names."""

import os
from pathlib import Path

READY_FILE_VARIABLE = "ISTHMUS_READY_FILE"


def announce_ready() -> None:
    """Touch the ready file, if whoever started this service asked for one. Call it once task queues are polled."""
    if name := os.environ.get(READY_FILE_VARIABLE):
        Path(name).touch(mode=0o600)
