import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.functional.api.parts import AnsweringEngine, Api, MemoryVault

from isthmus.control import configuration, migrations
from isthmus.control.database import Database
from isthmus.control.policy import Policy
from isthmus.control.server import wrap
from isthmus.control.signing import Signer
from isthmus.migration.api.application import create_application
from isthmus.migration.api.policies import migration_rules
from isthmus.migration.api.service import Service


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite file with the schema; each test takes a copy, which is quicker than making it again."""
    file = tmp_path_factory.mktemp("schema") / "isthmus.sqlite"
    migrations.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def database_url(empty_database: Path, tmp_path: Path) -> str:
    """Return the database that `api` works on; the PostgreSQL tests give another one."""
    shutil.copy(empty_database, tmp_path / "isthmus.sqlite")
    return f"sqlite:///{tmp_path}/isthmus.sqlite"


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """Return the API, every caller an administrator (noauth)."""
    file = tmp_path / "isthmus.conf"
    file.write_text(f"[api]\nauth_strategy = noauth\n[database]\nconnection = {database_url}\n")
    conf = configuration.load(["--config-file", str(file)])
    database, vault, engine = Database(conf.database.connection), MemoryVault(), AnsweringEngine()
    service = Service(
        database=database,
        engine=engine,
        vault=vault,
        trusts=lambda caller: None,
        policy=Policy(conf, migration_rules()),
        max_body_bytes=conf.api.max_body_bytes,
        ask_timeout=conf.api.ask_timeout,
        signer=Signer(tmp_path / "report.key"),
    )
    yield Api(database, vault, engine, wrap(conf, create_application(conf, service)))
    database.close()
