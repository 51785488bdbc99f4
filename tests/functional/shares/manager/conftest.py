from collections.abc import Iterator

import pytest
from lab.control_plane import ControlPlane
from sqlalchemy import delete

from isthmus.control import configuration, migrations
from isthmus.control.database import Database
from isthmus.shares.tables import JobRow


@pytest.fixture
def database(control_plane: ControlPlane) -> Iterator[Database]:
    """Return the control plane's MariaDB, where transactions of several threads really meet."""
    url = configuration.load(["--config-file", str(control_plane.configuration)]).database.connection
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        session.execute(delete(JobRow).where(JobRow.backend == "machine@queue"))
    yield database
    database.close()
