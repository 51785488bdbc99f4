"""Alembic's entry: runs the revisions on the connection that `isthmus.control.migrations` opened."""

from alembic import context

from isthmus.control.database import Base

connection = context.config.attributes["connection"]
# SQLite cannot alter most of a table in place: batches copy it instead.
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
