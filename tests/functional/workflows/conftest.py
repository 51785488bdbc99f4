"""One engine room for all tests of this folder."""

from collections.abc import Iterator

import pytest
from lab.engine_room import EngineRoom


@pytest.fixture(scope="package")
def room() -> Iterator[EngineRoom]:
    with EngineRoom() as made:
        yield made
