"""How a database says that it gave a transaction up, so that another could go on: it may be tried again, whole."""

from collections.abc import Callable

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from isthmus.control.database import Database

TRIES = 5
_CODES = frozenset((1205, 1213, "40001", "40P01"))  # MariaDB's lock wait and deadlock; PostgreSQL's SQLSTATEs


def is_deadlock(error: DBAPIError) -> bool:
    """Say whether an error means that the transaction was the victim of a deadlock or of a long wait for a lock.

    Within a savepoint the database takes that away too, and the last error is that it cannot be gone back to.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OperationalError) and not _CODES.isdisjoint(_codes(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _codes(error: OperationalError) -> tuple[object, ...]:
    """Return the SQLSTATE, which MariaDB gives many errors in common, and the driver's first word."""
    original = error.orig
    return (getattr(original, "sqlstate", None), *(original.args[:1] if original is not None else ()))


def was_dead(error: DBAPIError) -> bool:
    """Say whether the connection was lost at a statement, so before the commit: nothing of the transaction holds."""
    return error.connection_invalidated and error.statement is not None


def in_transaction(database: Database, act: Callable[[Session], None]) -> None:
    """Do it in one transaction, a few times if the database gives it up; it must do nothing outside the database."""
    for tries_left in reversed(range(TRIES)):
        try:
            with database.transaction() as session:
                act(session)
        except DBAPIError as error:
            if tries_left and (is_deadlock(error) or was_dead(error)):
                continue
            raise
        else:
            return
