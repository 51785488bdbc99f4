"""What several system tests share."""

from collections.abc import Iterator
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from lab.share_user import ShareUser
from tests.bad_input_world import World, world_of
from tests.share_victim import Victim, victim_of
from tests.share_wire import ShareWire, wire_of


@pytest.fixture(scope="session")
def world(control_plane: ControlPlane) -> Iterator[World]:
    """Return the bad-input tests' control plane, clouds and machines."""
    with world_of(control_plane, RestUser.of(control_plane.demo_environment)) as made:
        yield made


@pytest.fixture(scope="session")
def share_administrator(control_plane: ControlPlane) -> ShareUser:
    """Return the administrator as a user of the shares API."""
    return ShareUser.of(control_plane.admin_environment)


@pytest.fixture(scope="session")
def victim(share_administrator: ShareUser) -> Iterator[Victim]:
    """Return the project that bad input to the shares API must not harm."""
    with victim_of(share_administrator) as made:
        yield made


@pytest.fixture(scope="session")
def _everything_before(victim: Victim) -> list[Any]:
    return victim.everything()


@pytest.fixture
def unchanged(victim: Victim, _everything_before: list[Any]) -> Iterator[None]:
    """Fail a test after which the victim's project is not as it was."""
    yield
    assert victim.everything() == _everything_before


@pytest.fixture(scope="session")
def stranger(share_administrator: ShareUser) -> ShareUser:
    """Return a user of a project that has nothing."""
    return share_administrator.stranger()


@pytest.fixture(scope="session")
def wire(control_plane: ControlPlane) -> Iterator[ShareWire]:
    """Return a user of shares and two kernel clients."""
    with wire_of(control_plane) as made:
        yield made
