import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.functional.shares.api.parts import MemoryVault, Shares

from isthmus.control import configuration, migrations
from isthmus.control.database import Database
from isthmus.control.policy import Policy
from isthmus.shares.api.application import create_application
from isthmus.shares.api.call import Service
from isthmus.shares.api.policies import shares_rules
from isthmus.shares.api.routes import all_routes


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite file with the schema; each test takes a copy, which is quicker than making it again."""
    file = tmp_path_factory.mktemp("schema") / "isthmus.sqlite"
    migrations.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def database_url(empty_database: Path, tmp_path: Path) -> str:
    """Return the database that `shares` works on; a module with a fixture of this name gives another one."""
    shutil.copy(empty_database, tmp_path / "isthmus.sqlite")
    return f"sqlite:///{tmp_path}/isthmus.sqlite"


@pytest.fixture
def configuration_text() -> str:
    """Return more lines of the configuration; a module with a fixture of this name gives others."""
    return "[shares]\ndefault_share_type = gold\ndefault_share_group_type = gold-group\n"


@pytest.fixture
def shares(database_url: str, configuration_text: str, tmp_path: Path) -> Iterator[Shares]:
    """Return the API. Who calls is told by headers, as after Keystone's middleware."""
    file = tmp_path / "isthmus.conf"
    file.write_text(f"[api]\nauth_strategy = keystone\n[database]\nconnection = {database_url}\n{configuration_text}")
    conf = configuration.load(["--config-file", str(file)])
    database, vault = Database(conf.database.connection), MemoryVault()
    service = Service(
        conf=conf,
        database=database,
        policy=Policy(conf, shares_rules()),
        vault=vault,
        trusts=lambda caller: None,
    )
    yield Shares(conf, database, vault, create_application(service, all_routes()))
    database.close()
