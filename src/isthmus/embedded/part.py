"""What a part is: a program to keep alive, as data."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.embedded.credentials import Credentials
from isthmus.embedded.layout import Layout
from isthmus.embedded.ports import Ports

Check = Callable[[], None]
"""A readiness check: returns when the part answers, raises NotReady (or OSError) when it does not yet."""


class NotReady(Exception):
    """The part runs but does not answer yet."""


@dataclass(frozen=True)
class Site:
    """All that the parts of one control plane share."""

    layout: Layout
    ports: Ports
    credentials: Credentials


@dataclass(frozen=True)
class Preparation:
    """A program that must have succeeded before the part can start: making its schema, its first users.

    `stamp_text` says for what it was done (versions, ports); it is run again when that changes, so it must be
    idempotent. `stdin` carries what may not stand in argv or the environment.
    """

    command: tuple[str, ...]
    stamp: Path
    stamp_text: str
    stdin: str = field(default="", repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)

    def is_done(self) -> bool:
        """Say whether the preparation was done for these very versions and ports."""
        return self.stamp.exists() and self.stamp.read_text() == self.stamp_text


@dataclass(frozen=True)
class Part:
    """One program of the control plane. Times are in seconds."""

    name: str
    command: tuple[str, ...]
    check: Check
    address: str
    depends_on: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    preparation: Preparation | None = None
    ready_file: Path | None = None
    start_limit: float = 120.0
    stop_limit: float = 20.0


def program(name: str) -> str:
    """Return the path of a program installed beside this Python (the virtual environment need not be activated)."""
    return str(Path(sys.executable).parent / name)
