"""What several system tests share."""

from collections.abc import Iterator

import pytest
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from tests.bad_input_world import World, world_of


@pytest.fixture(scope="session")
def world(control_plane: ControlPlane) -> Iterator[World]:
    """Return the bad-input tests' control plane, clouds and machines."""
    with world_of(control_plane, RestUser.of(control_plane.demo_environment)) as made:
        yield made
