"""Networks as they were last read, so that a restarted agent plugs while Neutron is silent."""

from isthmus.networking.model import Network
from isthmus.networking.store.database import Database
from isthmus.networking.store.records import read, to_network, write

REMEMBER = "INSERT OR REPLACE INTO networks (project, id, network, read_at) VALUES (:project, :id, :network, :read_at)"
RECALL = "SELECT network, read_at FROM networks WHERE project = :project AND id = :id"
RECALL_ALL = "SELECT network, read_at FROM networks WHERE project = :project"
FORGET = "DELETE FROM networks WHERE id = :id"


class NetworkStore:
    """The table of networks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, project: str, network: Network, read_at: float) -> None:
        """Keep a network as a project sees it; `read_at` is the wall clock's."""
        with self._database.transaction() as connection:
            values = {"project": project, "id": network.id, "network": write(network), "read_at": read_at}
            connection.execute(REMEMBER, values)

    def recall(self, project: str, name_or_id: str) -> tuple[Network, float] | None:
        """Return a network and when it was read, by its id or by a name that only one has."""
        with self._database.transaction() as connection:
            rows = connection.execute(RECALL, {"project": project, "id": name_or_id}).fetchall()
            rows = rows or connection.execute(RECALL_ALL, {"project": project}).fetchall()
        found = [(network, row["read_at"]) for row in rows if (network := read(to_network, row["network"]))]
        matching = [each for each in found if name_or_id in (each[0].id, each[0].name)]
        return matching[0] if len(matching) == 1 else None

    def forget(self, network_id: str) -> None:
        """Forget what every project saw of a network."""
        with self._database.transaction() as connection:
            connection.execute(FORGET, {"id": network_id})
