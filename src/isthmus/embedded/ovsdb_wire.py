"""One question to an ovsdb-server or to a program of Open vSwitch: JSON-RPC on a unix socket (RFC 7047, section 4).

The supervisor asks so whether they are ready: a library would be a dozen times its size.
"""

import json
import socket
from pathlib import Path
from typing import Any

from isthmus.embedded.part import Check, NotReady

_ANSWER_SECONDS = 5.0


def ask(path: Path, method: str, *parameters: object) -> Any:
    """Return the answer's result. Raises NotReady with the answer's error, OSError if nobody answers."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(_ANSWER_SECONDS)
        wire.connect(str(path))
        wire.sendall(json.dumps({"id": 0, "method": method, "params": parameters}).encode())
        answer = _read_answer(wire)
    if answer.get("error"):
        raise NotReady(f"{path.name}: {method}: {answer['error']}")
    return answer["result"]


def ovsdb_answers(path: Path) -> Check:
    """Return a check that an ovsdb-server has opened its database."""

    def check() -> None:
        if len(ask(path, "list_dbs")) < 2:  # its own, `_Server`, is always there
            raise NotReady(f"{path.name} serves no database yet")

    return check


def _read_answer(wire: socket.socket) -> dict[str, Any]:
    """Read one JSON object, which ends when it is whole: there is no length and no line's end."""
    text = b""
    while chunk := wire.recv(65536):
        text += chunk
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        return found
    raise NotReady("the connection ended before the answer")
