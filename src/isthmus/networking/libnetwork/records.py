"""What Docker's networks and pools are in Neutron, as this host learnt it: a small SQLite file.

Neutron's tags say the same and are the truth; this file saves asking, also when Neutron is silent, and keeps what tags
cannot: the options of a network and what is under way. It can be deleted; then Neutron is asked again.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from isthmus.networking.libnetwork.options import EndpointOptions

_SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (
    docker_id TEXT PRIMARY KEY, project TEXT, network_id TEXT NOT NULL, state TEXT NOT NULL, how TEXT NOT NULL,
    internal INTEGER NOT NULL, own_ipam INTEGER NOT NULL, options TEXT NOT NULL,
    subnets TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pools (
    pool_id TEXT PRIMARY KEY, project TEXT, network_id TEXT NOT NULL, subnet_id TEXT NOT NULL,
    prefix_length INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS exposed (
    endpoint_id TEXT PRIMARY KEY, project TEXT, port_id TEXT NOT NULL, group_id TEXT NOT NULL, others TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unanswered (tag TEXT PRIMARY KEY, project TEXT);
"""

_KEEP_NETWORK = """
INSERT INTO networks VALUES (:docker_id, :project, :network_id, :state, :how, :internal, :own_ipam, :options,
    :subnets)
ON CONFLICT (docker_id) DO UPDATE SET project = :project, network_id = :network_id, state = :state, how = :how,
    internal = :internal, own_ipam = :own_ipam, options = :options, subnets = :subnets
"""
_FIND_NETWORK = "SELECT * FROM networks WHERE docker_id = ?"
_LIST_NETWORKS = "SELECT * FROM networks"
_NETWORKS_ON = "SELECT * FROM networks WHERE network_id = ? AND state = 'ready' ORDER BY rowid DESC"
_FORGET_NETWORK = "DELETE FROM networks WHERE docker_id = ?"
_KEEP_POOL = "INSERT OR REPLACE INTO pools VALUES (:pool_id, :project, :network_id, :subnet_id, :prefix_length)"
_FIND_POOL = "SELECT * FROM pools WHERE pool_id = ?"
_FORGET_POOL = "DELETE FROM pools WHERE pool_id = ?"
_FORGET_POOLS_OF = "DELETE FROM pools WHERE network_id = ?"
_KEEP_EXPOSED = "INSERT OR REPLACE INTO exposed VALUES (:endpoint_id, :project, :port_id, :group_id, :others)"
_FIND_EXPOSED = "SELECT * FROM exposed WHERE endpoint_id = ?"
_LIST_EXPOSED = "SELECT endpoint_id FROM exposed"
_FORGET_EXPOSED = "DELETE FROM exposed WHERE endpoint_id = ?"
_BEGIN_ANSWER = "INSERT INTO unanswered VALUES (?, ?)"
_UNANSWERED = "SELECT * FROM unanswered"
_ANSWERED = "DELETE FROM unanswered WHERE tag = ?"


class How(StrEnum):
    """How a Docker network came to its Neutron network, which says who deletes it."""

    MADE = "made"
    ADOPTED = "adopted"
    SWARM = "swarm"


class Progress(StrEnum):
    """Whether a network's making was ended: MAKING after a crash is undone, DELETING tried until it succeeds."""

    MAKING = "making"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True)
class NetworkRecord:
    """A Docker network. `own_ipam`: its addresses are asked of us, so they are also given back to us.

    `subnets`: its first of each family, where the Neutron network has others too; empty: a port is of all subnets.
    """

    docker_id: str
    project: str | None
    network_id: str
    state: Progress
    how: How
    internal: bool = False
    own_ipam: bool = True
    endpoint: EndpointOptions = field(default_factory=EndpointOptions)
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True)
class PoolRecord:
    """The subnet of a pool, by the id that Docker has."""

    pool_id: str
    project: str | None
    network_id: str
    subnet_id: str
    prefix_length: int


@dataclass(frozen=True)
class ExposedRecord:
    """The security group that opens an endpoint's exposed ports; `others` are the port's own groups.

    `group_id` is empty while it is being made.
    """

    endpoint_id: str
    project: str | None
    port_id: str
    group_id: str
    others: tuple[str, ...]


class Records:
    """The file. Safe to be used by several threads."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A row lost with the machine's power is asked of Neutron again.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def keep_network(self, record: NetworkRecord) -> None:
        """Write a network down, over what is written."""
        row = {
            "docker_id": record.docker_id,
            "project": record.project,
            "network_id": record.network_id,
            "state": record.state,
            "how": record.how,
            "internal": record.internal,
            "own_ipam": record.own_ipam,
            "options": json.dumps(asdict(record.endpoint)),
            "subnets": json.dumps(record.subnets),
        }
        self._run(_KEEP_NETWORK, row)

    def begin_network(self, docker_id: str, project: str | None) -> None:
        """Write down that a network is about to be made: after a crash it is found by its tags, and undone."""
        self.keep_network(NetworkRecord(docker_id, project, "", Progress.MAKING, How.MADE))

    def network(self, docker_id: str) -> NetworkRecord | None:
        """Return the record of Docker's network."""
        return next((_network(row) for row in self._rows(_FIND_NETWORK, docker_id)), None)

    def networks(self) -> tuple[NetworkRecord, ...]:
        """Return all."""
        return tuple(_network(row) for row in self._rows(_LIST_NETWORKS))

    def networks_on(self, network_id: str) -> tuple[NetworkRecord, ...]:
        """Return the records of Docker networks on a Neutron network, the newest first."""
        return tuple(_network(row) for row in self._rows(_NETWORKS_ON, network_id))

    def forget_network(self, docker_id: str) -> None:
        """Remove a network. Gone: success."""
        self._run(_FORGET_NETWORK, (docker_id,))

    def keep_pool(self, record: PoolRecord) -> None:
        """Write a pool's subnet down."""
        self._run(_KEEP_POOL, asdict(record))

    def pool(self, pool_id: str) -> PoolRecord | None:
        """Return the subnet of a pool."""
        return next((PoolRecord(**row) for row in self._rows(_FIND_POOL, pool_id)), None)

    def forget_pool(self, pool_id: str) -> None:
        """Remove a pool. Gone: success."""
        self._run(_FORGET_POOL, (pool_id,))

    def forget_pools_of(self, network_id: str) -> None:
        """Remove the pools of a Neutron network."""
        self._run(_FORGET_POOLS_OF, (network_id,))

    def keep_exposed(self, record: ExposedRecord) -> None:
        """Write down that an endpoint's ports are opened."""
        self._run(_KEEP_EXPOSED, {**asdict(record), "others": json.dumps(record.others)})

    def exposed(self, endpoint_id: str) -> ExposedRecord | None:
        """Return what opens an endpoint's ports."""
        rows = self._rows(_FIND_EXPOSED, endpoint_id)
        return next((ExposedRecord(**{**row, "others": tuple(json.loads(row["others"]))}) for row in rows), None)

    def exposed_endpoints(self) -> tuple[str, ...]:
        """Return the endpoints whose ports are opened, or were about to be."""
        return tuple(row["endpoint_id"] for row in self._rows(_LIST_EXPOSED))

    def forget_exposed(self, endpoint_id: str) -> None:
        """Remove it. Gone: success."""
        self._run(_FORGET_EXPOSED, (endpoint_id,))

    def begin_answer(self, tag: str, project: str | None) -> None:
        """Write down that a port so tagged is about to be made for a swarm, which is then told its address."""
        self._run(_BEGIN_ANSWER, (tag, project))

    def unanswered(self) -> Mapping[str, str | None]:
        """Return {tag: project} of the ports whose address nobody was told: they are being made, or were cut off."""
        return {row["tag"]: row["project"] for row in self._rows(_UNANSWERED)}

    def answered(self, tag: str) -> None:
        """Forget a tag: its port's address is told, or the port is gone."""
        self._run(_ANSWERED, (tag,))

    def _run(self, statement: str, values: Any) -> None:
        with self._open() as connection:
            connection.execute(statement, values)

    def _rows(self, statement: str, *values: str) -> list[dict[str, Any]]:
        with self._open() as connection:
            return [dict(row) for row in connection.execute(statement, values)]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._connection


def _network(row: dict[str, Any]) -> NetworkRecord:
    options = json.loads(row["options"])
    groups = options["security_groups"]
    return NetworkRecord(
        docker_id=row["docker_id"],
        project=row["project"],
        network_id=row["network_id"],
        state=Progress(row["state"]),
        how=How(row["how"]),
        internal=bool(row["internal"]),
        own_ipam=bool(row["own_ipam"]),
        endpoint=EndpointOptions(None if groups is None else tuple(groups), options["qos_policy"], options["expose"]),
        subnets=tuple(json.loads(row["subnets"])),
    )
