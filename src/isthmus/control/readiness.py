"""How a service tells whoever started it that it is ready.

It touches the file that ISTHMUS_READY_FILE names, for `isthmus up`, and tells systemd (sd_notify(3), Type=notify).
"""

import os
import socket
from pathlib import Path

READY_FILE = "ISTHMUS_READY_FILE"
NOTIFY_SOCKET = "NOTIFY_SOCKET"

_systemd: str | None = None


def claim() -> None:
    """Keep systemd's socket to ourselves: gunicorn would speak too early, and our children have nothing to say."""
    global _systemd  # noqa: PLW0603 - as the environment, which it is taken from
    _systemd = os.environ.pop(NOTIFY_SOCKET, None)


def say_ready() -> None:
    """Tell those who asked; nobody need have. A service that is not heard goes on: systemd's time limit tells."""
    if name := os.environ.get(READY_FILE):
        Path(name).touch()
    if _systemd:
        # A name that begins with @ is in the abstract namespace.
        address = _systemd.replace("@", "\0", 1) if _systemd.startswith("@") else _systemd
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifying:
            notifying.sendto(b"READY=1", address)
