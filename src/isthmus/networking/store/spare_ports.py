"""Ports of this host that nothing is attached to: warm ones to be taken, doomed ones to be deleted or given back.

A port moves between this table and that of attachments in one transaction, so it is never in both, nor in none.
"""

import json
import sqlite3
from dataclasses import dataclass

from isthmus.networking.model import (
    Attachment,
    Fate,
    IpAddress,
    Key,
    Network,
    Port,
    Row,
    SparePort,
    State,
    Wish,
    addresses_of,
)
from isthmus.networking.store.attachments import DELETE, insert
from isthmus.networking.store.database import Database
from isthmus.networking.store.records import read, to_port, write


@dataclass(frozen=True)
class Pool:
    """The warm ports that wishes of one kind want; `used_at` is the wall clock's."""

    pool: str
    project: str
    network_id: str
    used_at: float


PUT = """INSERT OR REPLACE INTO spare_ports
    (port_id, fate, pool, project, network_id, binder, port, borrowed, labelled, prepared)
    VALUES (:port_id, :fate, :pool, :project, :network_id, :binder, :port, :borrowed, :labelled, :prepared)"""
NEXT_WARM = """SELECT * FROM spare_ports WHERE pool = :pool AND fate = 'warm' AND labelled = 0
    ORDER BY prepared DESC, rowid LIMIT 1"""
NEXT_USED = """SELECT * FROM spare_ports WHERE pool = :pool AND fate = 'warm' AND labelled = 1
    ORDER BY prepared DESC, rowid LIMIT 1"""
LIST = """SELECT * FROM spare_ports WHERE (:fate IS NULL OR fate = :fate)
    AND (:network_id IS NULL OR network_id = :network_id) ORDER BY rowid"""
TAKE = "DELETE FROM spare_ports WHERE port_id = :port_id AND fate = 'warm'"
DOOM = "UPDATE spare_ports SET fate = 'doomed' WHERE port_id = :port_id"
PREPARED = "UPDATE spare_ports SET prepared = 1 WHERE port_id = :port_id AND fate = 'warm'"
UNPREPARED = "UPDATE spare_ports SET prepared = 0 WHERE port_id = :port_id AND fate = 'warm'"
CLEANED = "UPDATE spare_ports SET labelled = 0, port = :port WHERE port_id = :port_id"
KEEP_RULES = "UPDATE pools SET rules = :rules WHERE pool = :pool"
RULES = "SELECT rules FROM pools WHERE pool = :pool"
GONE = "DELETE FROM spare_ports WHERE port_id = :port_id"
COUNT = "SELECT pool, count(*) FROM spare_ports WHERE fate = 'warm' GROUP BY pool"
USE_POOL = """INSERT INTO pools (pool, project, network_id, used_at) VALUES (:pool, :project, :network_id, :used_at)
    ON CONFLICT (pool) DO UPDATE SET used_at = max(used_at, excluded.used_at)"""
LIST_POOLS = "SELECT pool, project, network_id, used_at FROM pools"
FORGET_POOLS = "DELETE FROM pools WHERE network_id = :network_id"
FORGET_POOL = "DELETE FROM pools WHERE pool = :pool"
ALL_PORTS = """SELECT port_id FROM spare_ports UNION
    SELECT port_id FROM attachments WHERE port_id IS NOT NULL"""


class SparePortStore:
    """The tables of spare ports and of pools."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, spare: SparePort) -> None:
        """Write a spare port."""
        with self._database.transaction() as connection:
            _put(connection, spare)

    def take(self, pool: str, wish: Wish, network: Network) -> Row | None:
        """Reserve the pool's next warm port for a wish; None if there is none."""
        with self._database.transaction() as connection:
            found = connection.execute(NEXT_WARM, {"pool": pool}).fetchone()
            return None if found is None else _take(connection, _to_spare(found), wish, network)

    def take_used(self, pool: str, wish: Wish, network: Network) -> SparePort | None:
        """Begin to reserve a warm port that Neutron still has its last user's label of; None if there is none."""
        with self._database.transaction() as connection:
            found = connection.execute(NEXT_USED, {"pool": pool}).fetchone()
            if found is None:
                return None
            spare = _to_spare(found)
            return spare if _take(connection, spare, wish, network, State.RESERVING) else None

    def take_with_address(self, pool: str, wish: Wish, network: Network, address: IpAddress) -> Row | None:
        """Reserve the pool's warm port that has an address."""
        with self._database.transaction() as connection:
            rows = connection.execute(LIST, {"fate": Fate.WARM, "network_id": wish.network_id}).fetchall()
            for spare in map(_to_spare, rows):
                if spare.pool == pool and not spare.labelled and address in addresses_of(spare.port):
                    return _take(connection, spare, wish, network)
            return None

    def release(self, key: Key, spare: SparePort) -> bool:
        """Turn an attachment into a spare port."""
        with self._database.transaction() as connection:
            won = connection.execute(DELETE, {"owner": key.owner, "id": key.id}).rowcount > 0
            if won:
                _put(connection, spare)
            return won

    def list_all(self, fate: Fate | None = None, network_id: str | None = None) -> tuple[SparePort, ...]:
        """Return spare ports."""
        with self._database.transaction() as connection:
            return tuple(map(_to_spare, connection.execute(LIST, {"fate": fate, "network_id": network_id})))

    def doom(self, port_id: str) -> bool:
        """Have a spare port deleted."""
        return self._run(DOOM, port_id=port_id)

    def prepared(self, port_id: str) -> bool:
        """Write down that a warm port's interface is ready; False if it was taken meanwhile."""
        return self._run(PREPARED, port_id=port_id)

    def unprepared(self, port_id: str) -> bool:
        """Have a warm port's interface made again."""
        return self._run(UNPREPARED, port_id=port_id)

    def cleaned(self, port: Port) -> bool:
        """Write down that Neutron no longer has the label of the port's last user."""
        return self._run(CLEANED, port_id=port.id, port=write(port))

    def gone(self, port_id: str) -> None:
        """Forget a port that Neutron has not any more, or that is its owner's again."""
        self._run(GONE, port_id=port_id)

    def count_warm(self) -> dict[str, int]:
        """Return {pool: its warm ports}."""
        with self._database.transaction() as connection:
            return dict(connection.execute(COUNT).fetchall())

    def known_ports(self) -> frozenset[str]:
        """Return the ids of all ports that are attached or spare."""
        with self._database.transaction() as connection:
            return frozenset(row[0] for row in connection.execute(ALL_PORTS))

    def use_pool(self, pool: Pool) -> None:
        """Write down that a pool is in use."""
        self._run(USE_POOL, **vars(pool))

    def pools(self) -> tuple[Pool, ...]:
        """Return the pools in use."""
        with self._database.transaction() as connection:
            return tuple(Pool(*row) for row in connection.execute(LIST_POOLS))

    def keep_rules(self, pool: str, rules: str) -> None:
        """Write down what applies to a pool's ports as they are made (`planning.wishes.rules_of`)."""
        self._run(KEEP_RULES, pool=pool, rules=rules)

    def rules(self, pool: str) -> str | None:
        """Return what applies to a pool's ports; None if none was made yet, or the pool is forgotten."""
        with self._database.transaction() as connection:
            found = connection.execute(RULES, {"pool": pool}).fetchone()
        return None if found is None else found["rules"]

    def forget_pool(self, pool: str) -> None:
        """Fill a pool no more, and doom its ports."""
        with self._database.transaction() as connection:
            connection.execute(FORGET_POOL, {"pool": pool})
            connection.execute("UPDATE spare_ports SET fate = 'doomed' WHERE pool = ?", (pool,))

    def forget_pools(self, network_id: str) -> None:
        """Fill no pool of a network any more, and doom their ports."""
        with self._database.transaction() as connection:
            connection.execute(FORGET_POOLS, {"network_id": network_id})
            connection.execute("UPDATE spare_ports SET fate = 'doomed' WHERE network_id = ?", (network_id,))

    def _run(self, statement: str, **values: object) -> bool:
        with self._database.transaction() as connection:
            return connection.execute(statement, values).rowcount > 0


def _put(connection: sqlite3.Connection, spare: SparePort) -> None:
    values = {
        "port_id": spare.port.id,
        "fate": spare.fate,
        "pool": spare.pool,
        "project": spare.project,
        "network_id": spare.port.network_id,
        "binder": spare.binder,
        "port": write(spare.port),
        "borrowed": json.dumps(dict(spare.borrowed)) if spare.borrowed else None,
        "labelled": int(spare.labelled),
        "prepared": int(spare.prepared),
    }
    connection.execute(PUT, values)


def _take(
    connection: sqlite3.Connection, spare: SparePort, wish: Wish, network: Network, state: State = State.RESERVED
) -> Row | None:
    row = Row(Attachment(wish, state, spare.port, network), spare.project, spare.binder)
    connection.execute(TAKE, {"port_id": spare.port.id})
    if insert(connection, row):
        return row
    _put(connection, spare)
    return None


def _to_spare(found: sqlite3.Row) -> SparePort:
    port = read(to_port, found["port"])
    if port is None:
        raise ValueError("a spare port without its facts")  # the schema forbids it
    borrowed = json.loads(found["borrowed"]) if found["borrowed"] else None
    return SparePort(
        port, Fate(found["fate"]), found["pool"], found["project"], found["binder"], borrowed,
        bool(found["labelled"]), bool(found["prepared"]),
    )  # fmt: skip
