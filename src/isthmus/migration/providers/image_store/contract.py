"""What a place of images that is no directory must do. Images are staged on the worker: QEMU reads files.

Errors: `Unavailable` if it does not answer, `NotAuthenticated`, `NotAllowed`, `NotFound` for an object that is gone,
`StepFailed` for one that was not carried whole. All name the object.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import requests

from isthmus.control.errors import Unavailable
from isthmus.migration.machine import Firmware

PIECE = 1 << 20
HIDDEN = ".isthmus"
"""What the names of objects that belong to no machine begin with."""
FILE_NAME = re.compile(r"^(?:[^/\0]+/)?[^/\0]+$")
"""An object's name as that of a file at the top of a place, or one directory below."""
MOST_OBJECTS = 100_000


@dataclass(frozen=True)
class Stored:
    """One object that is there, whole: `size` in bytes.

    `file` is the path that it is staged under; its ending says the format. `digest` and `algorithm` (as hashlib names
    it) are of its content, empty where the place does not know them.
    """

    key: str
    file: str
    size: int
    algorithm: str = ""
    digest: str = ""
    facts: "ImageFacts | None" = None


@dataclass(frozen=True)
class ImageFacts:
    """What a place says about a lone image beside its bytes. Memory in MiB; None is not said."""

    name: str
    memory_mb: int | None = None
    firmware: Firmware | None = None
    os_type: str | None = None


@dataclass(frozen=True)
class Part:
    """A file that is to become an object; `facts` are the place's own words about it."""

    file: Path
    key: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Watch = Callable[[int], None]
"""Told how many bytes more have gone by, at least once a second's worth; it may raise to stop."""


class Store(ABC):
    """One place of images. Keys are its own names of objects."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def label(self) -> str:
        """How messages name the place."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection. Calling it twice is fine."""

    @abstractmethod
    def check(self) -> None:
        """Return if the place answers, knows the credentials and is there."""

    @abstractmethod
    def listing(self) -> Sequence[Stored]:
        """Return all objects that can be machines or belong to one, ordered by key."""

    @abstractmethod
    def read(self, key: str, offset: int, length: int) -> bytes:
        """Return a part of an object; less than `length` bytes only at its end."""

    @abstractmethod
    def pieces(self, key: str) -> Iterator[bytes]:
        """Yield an object's content in order."""

    @abstractmethod
    def put(self, part: Part, watch: Watch) -> None:
        """Make an object of a file, or replace it; it is not seen, or not usable, until it is whole."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete an object, and what an upload of it that was cut short has left. Already done: it is gone."""


class Sending:
    """A file's content, or a part of it, as the body of a request; each iteration begins anew, so it can be sent again.

    `digest` is that of what was sent last, in hexadecimal. Each piece is told of before it is sent.
    """

    def __init__(self, file: Path, watch: Watch, algorithm: str, offset: int = 0, length: int | None = None) -> None:
        self._file, self._watch, self._algorithm, self._offset = file, watch, algorithm, offset
        self.length = file.stat().st_size - offset if length is None else length
        self.digest = ""

    def __iter__(self) -> Iterator[bytes]:
        digest, left = hashlib.new(self._algorithm, usedforsecurity=False), self.length
        with self._file.open("rb") as reading:
            reading.seek(self._offset)
            while left > 0 and (piece := reading.read(min(PIECE, left))):
                self._watch(len(piece))
                digest.update(piece)
                left -= len(piece)
                yield piece
        self.digest = digest.hexdigest()


def streamed(answer: Any, subject: str) -> Generator[bytes, None, None]:
    """Yield the content of an answer. Raises `Unavailable` if the connection breaks."""
    try:
        with answer:
            yield from answer.iter_content(PIECE)
    except requests.RequestException as error:
        raise Unavailable(
            f"{subject}: the connection broke ({type(error).__name__}); it will be tried again"
        ) from error
