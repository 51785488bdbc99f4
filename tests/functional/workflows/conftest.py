"""One engine room for all tests of this folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import histories
from lab.engine_room import EngineRoom

from isthmus.control.engine import EngineAddress


@pytest.fixture(scope="package")
def room() -> Iterator[EngineRoom]:
    with EngineRoom() as made:
        yield made
        if archive := os.environ.get("ISTHMUS_RECORD_HISTORIES"):
            histories.record(histories.ended(EngineAddress.of(made.conf)), Path(archive))
