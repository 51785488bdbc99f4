"""What drivers keep beside their back ends, in the service's database; see `isthmus.shares.drivers.private_data`."""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, select

from isthmus.control.database import Database
from isthmus.shares.store import results
from isthmus.shares.tables import PrivateRow


class PrivateDataTable:
    """A `PrivateData` in the table `share_driver_private`; each call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, entity_id: str) -> Mapping[str, str]:
        """Return all that is kept for the entity."""
        with self._database.transaction() as session:
            rows = session.execute(select(PrivateRow.key, PrivateRow.value).where(PrivateRow.entity_id == entity_id))
            return {row.key: row.value for row in rows}

    def write(self, entity_id: str, values: Mapping[str, str]) -> None:
        """Add these values in place of those of the same keys. Two calls about one entity never run at once."""
        if not values:
            return
        with self._database.transaction() as session:
            results.keep_private(session, entity_id, values)

    def remove(self, entity_id: str, keys: Collection[str]) -> None:
        """Forget these keys."""
        with self._database.transaction() as session:
            session.execute(delete(PrivateRow).where(PrivateRow.entity_id == entity_id, PrivateRow.key.in_(keys)))
