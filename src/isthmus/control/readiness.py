"""How a service tells whoever started it that it is ready: it touches the file that ISTHMUS_READY_FILE names."""

import os
from pathlib import Path

READY_FILE = "ISTHMUS_READY_FILE"


def say_ready() -> None:
    """Touch the ready file, if one was asked for."""
    if name := os.environ.get(READY_FILE):
        Path(name).touch()
