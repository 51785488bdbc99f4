"""The schema that the revisions make is the one that the tables' classes declare."""

from pathlib import Path

import pytest
from lab.control_plane import ControlPlane
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from tests.functional.api.parts import schema_differences

from isthmus.control import configuration, migrations


def _differences(url: str) -> list[object]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return schema_differences(connection)


def test_revisions_and_tables_agree_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/isthmus.sqlite"
    migrations.upgrade(url)
    migrations.upgrade(url)
    assert _differences(url) == []


def test_revisions_and_tables_agree_on_mariadb(control_plane: ControlPlane) -> None:
    url = configuration.load(["--config-file", str(control_plane.configuration)]).database.connection
    migrations.upgrade(url)
    assert _differences(url) == []


def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        migrations.upgrade(f"sqlite:///{tmp_path}/missing/isthmus.sqlite")
