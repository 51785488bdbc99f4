"""The database's schema, made and changed by Alembic on MariaDB, PostgreSQL and SQLite.

A revision is a file in `versions/`; a test holds the revisions and the tables' classes to the same schema.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from isthmus.control.database import engine_of

_FOLDER = Path(__file__).parent


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at the SQLAlchemy URL to `revision`. Already done: nothing happens.

    Raises SQLAlchemy's OperationalError if the database does not answer or refuses the credentials.
    """
    engine = engine_of(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            command.upgrade(alembic_config(connection), revision)
    finally:
        engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """Return what Alembic's commands need in order to work on an open connection, without any file of settings."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
