"""A client of a network agent's own socket: what `isthmus port` and the migration's worker ask of their host's agent.

Only root can open the socket, so there is no other authentication.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from isthmus.control.errors import (
    Conflict,
    InvalidInput,
    IsthmusError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotSupported,
    StepFailed,
    Unavailable,
)

DEFAULT_SOCKET = Path("/var/lib/isthmus/network-agent.sock")
_LONGEST = 120.0
"""Seconds to wait for the agent, which has limits of its own."""

_BY_STATUS: dict[int, type[IsthmusError]] = {
    kind.status: kind
    for kind in (InvalidInput, NotAuthenticated, NotAllowed, NotFound, Conflict, NotSupported, Unavailable)
}


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_LONGEST)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_LONGEST)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, target: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the agent's answer.

    Raises `Unavailable` if there is no agent, else the error that the agent answered with, in its own words.
    """
    connection = _Connection(path)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, target, text, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(
            f"no network agent answers at {path} ({error}); start `isthmus network-agent`, or correct the socket's path"
        ) from error
    finally:
        connection.close()
    if response.status >= 400:
        said = str(answer.get("error", {}).get("message") or answer)
        raise _BY_STATUS.get(response.status, StepFailed)(said)
    return answer
