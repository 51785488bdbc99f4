"""The schema that the revisions make is the one that the tables' classes declare."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from lab.control_plane import ControlPlane
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from isthmus.control import configuration, migrations, outbox, trusts
from isthmus.control.database import Base
from isthmus.migration import tables

DECLARED = {outbox.OutboxRow.__table__, trusts.TrustRow.__table__, tables.TransferRow.__table__}


def _differences(url: str) -> list[object]:
    assert set(Base.metadata.tables.values()) >= DECLARED
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        found: list[object] = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    return found


def test_revisions_and_tables_agree_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/isthmus.sqlite"
    migrations.upgrade(url)
    migrations.upgrade(url)
    assert [each for each in _differences(url) if "alembic_version" not in str(each)] == []


def test_revisions_and_tables_agree_on_mariadb(control_plane: ControlPlane) -> None:
    url = configuration.load(["--config-file", str(control_plane.configuration)]).database.connection
    migrations.upgrade(url)
    assert [each for each in _differences(url) if "alembic_version" not in str(each)] == []


def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        migrations.upgrade(f"sqlite:///{tmp_path}/missing/isthmus.sqlite")
