"""Attachments: what should be plugged on this host. Every move is guarded and says whether it won."""

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import replace

from isthmus.networking.model import (
    Attachment,
    IpAddress,
    Key,
    Network,
    Owner,
    Port,
    Row,
    State,
    Target,
    Wish,
    addresses_of,
)
from isthmus.networking.store.database import Database
from isthmus.networking.store.records import read, to_network, to_port, to_target, to_wish, write

INSERT = """INSERT INTO attachments
    (owner, id, state, project, network_id, port_id, wish, port, network, binder, borrowed, labelled)
    VALUES (:owner, :id, :state, :project, :network_id, :port_id, :wish, :port, :network, :binder, :borrowed, :labelled)
    ON CONFLICT DO NOTHING"""
FIND = "SELECT * FROM attachments WHERE owner = :owner AND id = :id"
LIST = "SELECT * FROM attachments WHERE :owner IS NULL OR owner = :owner ORDER BY owner, id"
LIST_OF_NETWORK = "SELECT * FROM attachments WHERE owner = :owner AND network_id = :network_id AND port IS NOT NULL"
IS_TAP = "SELECT 1 FROM attachments WHERE far = :far AND near = far AND state = 'plugged'"
LIST_UNLABELLED = "SELECT * FROM attachments WHERE labelled = 0 AND port_id IS NOT NULL AND state != 'reserving'"
MOVE = """UPDATE attachments SET state = :new WHERE owner = :owner AND id = :id
    AND state IN (SELECT value FROM json_each(:old))"""
SET_PORT = """UPDATE attachments SET port_id = :port_id, port = :port, network = :network, labelled = :labelled,
    state = 'reserved' WHERE owner = :owner AND id = :id AND state = 'reserving'"""
NOTE_PORT = "UPDATE attachments SET port = :port WHERE port_id = :port_id"
BORROW = "UPDATE attachments SET borrowed = :borrowed, port_id = :port_id WHERE owner = :owner AND id = :id"
AIM = """UPDATE attachments SET target = :target, far = NULL, near = NULL, state = 'plugging'
    WHERE owner = :owner AND id = :id AND state IN ('reserved', 'plugging', 'plugged')"""
PLUGGED = """UPDATE attachments SET far = :far, near = :near, state = 'plugged', problem = NULL
    WHERE owner = :owner AND id = :id AND state = 'plugging'"""
UNPLUGGED = """UPDATE attachments SET far = NULL, near = NULL, target = NULL, state = 'reserved', problem = NULL
    WHERE owner = :owner AND id = :id AND state = 'unplugging'"""
LABELLED = "UPDATE attachments SET labelled = 1, port = :port WHERE port_id = :port_id AND wish = :wish"
RENAME = """UPDATE attachments SET owner = :new_owner, id = :new_id, wish = :wish, labelled = 0
    WHERE owner = :owner AND id = :id AND state = 'reserved'"""
PROBLEM = "UPDATE attachments SET problem = :problem WHERE owner = :owner AND id = :id"
DELETE = "DELETE FROM attachments WHERE owner = :owner AND id = :id"


class AttachmentStore:
    """The table of attachments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, row: Row) -> bool:
        """Write a new attachment; False if its key is there already."""
        with self._database.transaction() as connection:
            return insert(connection, row)

    def find(self, key: Key) -> Row | None:
        """Return the row of a key."""
        with self._database.transaction() as connection:
            return find(connection, key)

    def list_all(self, owner: Owner | None = None) -> tuple[Row, ...]:
        """Return all rows, or an owner's."""
        with self._database.transaction() as connection:
            return tuple(map(to_row, connection.execute(LIST, {"owner": owner})))

    def find_by_address(self, owner: Owner, network_id: str, address: IpAddress) -> Row | None:
        """Return the owner's row whose port has an address on a network."""
        with self._database.transaction() as connection:
            rows = connection.execute(LIST_OF_NETWORK, {"owner": owner, "network_id": network_id}).fetchall()
        return next((row for row in map(to_row, rows) if address in addresses_of(row.attachment.port)), None)

    def list_unlabelled(self) -> tuple[Row, ...]:
        """Return the rows whose port does not carry their label in Neutron yet."""
        with self._database.transaction() as connection:
            return tuple(map(to_row, connection.execute(LIST_UNLABELLED)))

    def is_tap(self, interface: str) -> bool:
        """Return whether an interface of this host is the tap of a plugged attachment."""
        with self._database.transaction() as connection:
            return connection.execute(IS_TAP, {"far": interface}).fetchone() is not None

    def move(self, key: Key, old: Collection[State], new: State) -> bool:
        """Move from one of the old states to the new one."""
        return self._run(MOVE, key, old=json.dumps(sorted(old)), new=new)

    def set_port(self, key: Key, port: Port, network: Network, *, labelled: bool) -> bool:
        """Give a reserving attachment its port: it is reserved."""
        return self._run(
            SET_PORT, key, port_id=port.id, port=write(port), network=write(network), labelled=int(labelled)
        )

    def note_port(self, port: Port) -> None:
        """Remember a port as it was read from Neutron."""
        with self._database.transaction() as connection:
            connection.execute(NOTE_PORT, {"port_id": port.id, "port": write(port)})

    def borrow(self, key: Key, port_id: str, borrowed: Mapping[str, str]) -> None:
        """Write down what somebody's port was like, before it is changed. sqlite3.IntegrityError: it is attached."""
        self._run(BORROW, key, port_id=port_id, borrowed=json.dumps(dict(borrowed)))

    def aim(self, key: Key, target: Target) -> bool:
        """Write down where the attachment is about to be plugged: it is plugging."""
        return self._run(AIM, key, target=write(target))

    def plugged(self, key: Key, far: str, near: str) -> bool:
        """Write down that it is plugged."""
        return self._run(PLUGGED, key, far=far, near=near)

    def unplugged(self, key: Key) -> bool:
        """Write down that it is unplugged: it is reserved."""
        return self._run(UNPLUGGED, key)

    def labelled(self, row: Row, port: Port) -> None:
        """Write down that Neutron has the label of this row's wish, unless the wish is another by now."""
        with self._database.transaction() as connection:
            wish = write(row.attachment.wish)
            connection.execute(LABELLED, {"port_id": port.id, "wish": wish, "port": write(port)})

    def rename(self, old: Key, wish: Wish) -> bool:
        """Put a reserved attachment under the key of another wish."""
        new = wish.key
        return self._run(RENAME, old, new_owner=new.owner, new_id=new.id, wish=write(wish))

    def set_problem(self, key: Key, problem: str | None) -> None:
        """Write down what could not be mended."""
        self._run(PROBLEM, key, problem=problem)

    def delete(self, key: Key) -> bool:
        """Forget an attachment that has no port."""
        return self._run(DELETE, key)

    def _run(self, statement: str, key: Key, **values: object) -> bool:
        with self._database.transaction() as connection:
            return connection.execute(statement, {"owner": key.owner, "id": key.id, **values}).rowcount > 0


def insert(connection: sqlite3.Connection, row: Row) -> bool:
    """Write a new attachment inside a transaction; False if its key, or its port, is there already."""
    found = row.attachment
    values = {
        "owner": row.key.owner,
        "id": row.key.id,
        "state": found.state,
        "project": row.project,
        "network_id": found.wish.network_id,
        "port_id": found.port.id if found.port else None,
        "wish": write(found.wish),
        "port": write(found.port),
        "network": write(found.network),
        "binder": row.binder,
        "borrowed": json.dumps(dict(row.borrowed)) if row.borrowed else None,
        "labelled": int(row.labelled),
    }
    return connection.execute(INSERT, values).rowcount > 0


def find(connection: sqlite3.Connection, key: Key) -> Row | None:
    """Return the row of a key, inside a transaction."""
    found = connection.execute(FIND, {"owner": key.owner, "id": key.id}).fetchone()
    return to_row(found) if found else None


def to_row(found: sqlite3.Row) -> Row:
    """Return a row of the table as facts."""
    wish = read(to_wish, found["wish"])
    if wish is None:
        raise ValueError("an attachment without a wish")  # the schema forbids it
    attachment = Attachment(
        wish=replace(wish, key=Key(Owner(found["owner"]), found["id"])),
        state=State(found["state"]),
        port=read(to_port, found["port"]),
        network=read(to_network, found["network"]),
        target=read(to_target, found["target"]),
        far_interface=found["far"],
        near_interface=found["near"],
        problem=found["problem"],
    )
    borrowed = json.loads(found["borrowed"]) if found["borrowed"] else None
    return Row(attachment, found["project"], found["binder"], bool(found["labelled"]), borrowed)
