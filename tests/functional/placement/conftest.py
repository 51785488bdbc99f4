"""Real databases for the tests of the line and its places."""

from collections.abc import Iterator

import pytest
from lab.control_plane import ControlPlane
from tests.postgresql import postgresql

from isthmus.control import migrations
from isthmus.control.configuration import load
from isthmus.control.database import Database


@pytest.fixture(scope="package")
def mariadb_url() -> Iterator[str]:
    with ControlPlane(only=("mariadb",)) as plane:
        url = str(load(["--config-file", str(plane.configuration)]).database.connection)
        migrations.upgrade(url)
        yield url


@pytest.fixture(scope="package")
def postgresql_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["mariadb_url", "postgresql_url"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made = Database(request.getfixturevalue(request.param))
    yield made
    made.close()
