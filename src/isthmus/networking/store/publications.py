"""Published ports: what should be reachable from outside, and by what it is."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from isthmus.networking.model import Key, Owner, Protocol, PublishedPort
from isthmus.networking.store.database import Database

INSERT = """INSERT OR REPLACE INTO publications
    (owner, id, protocol, container_port, host_port, host_address, far)
    VALUES (:owner, :id, :protocol, :container_port, :host_port, :host_address, :far)"""
LIST = "SELECT * FROM publications ORDER BY owner, id, protocol, host_port, host_address"
DELETE = "DELETE FROM publications WHERE owner = :owner AND id = :id"


@dataclass(frozen=True)
class Publication:
    """A published port of a key; `far` says what carries it: a floating IP's id, or empty for the host itself."""

    key: Key
    port: PublishedPort
    far: str = ""


class PublicationStore:
    """The table of published ports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(self, key: Key, publications: Iterable[Publication]) -> None:
        """Make a key's publications exactly these."""
        with self._database.transaction() as connection:
            connection.execute(DELETE, {"owner": key.owner, "id": key.id})
            for each in publications:
                address = str(each.port.host_address) if each.port.host_address else ""
                values = {**vars(each.port), "host_address": address, "owner": key.owner, "id": key.id, "far": each.far}
                connection.execute(INSERT, values)

    def list_all(self, key: Key | None = None) -> tuple[Publication, ...]:
        """Return a key's publications, or all."""
        with self._database.transaction() as connection:
            found = tuple(map(_to_publication, connection.execute(LIST)))
        return found if key is None else tuple(each for each in found if each.key == key)


def _to_publication(found: sqlite3.Row) -> Publication:
    address = ip_address(found["host_address"]) if found["host_address"] else None
    port = PublishedPort(Protocol(found["protocol"]), found["container_port"], found["host_port"], address)
    return Publication(Key(Owner(found["owner"]), found["id"]), port, found["far"])
