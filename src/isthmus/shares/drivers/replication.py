"""What a share driver must do that keeps replicas of shares; a part of the contract, with its rules.

A replica is a share instance. `replicas` are all of a share's, the one in question among them; of them one (of writable
replicas: each) is `active`, which clients write to. Back ends that replicate to each other report the same
`replication_domain`, and a `replication_type`: `readable` (clients may read the others), `dr` (nobody reaches them) or
`writable`. A method is called at the back end of the replica that it names, one about snapshots or without a replica at
the active one's. No two calls about replicas of one share run at once, at whatever back ends.
"""

from abc import ABC
from collections.abc import Mapping, Sequence

from isthmus.control.errors import NotSupported
from isthmus.shares.drivers.facts import (
    AccessRule,
    ReplicaChange,
    ReplicaMade,
    ReplicaSnapshot,
    ShareFacts,
    SnapshotFacts,
    SnapshotOutcome,
)
from isthmus.shares.model import ReplicaState


class Replication(ABC):
    """The methods; by default a back end has no replicas."""

    name: str

    def create_replica(
        self,
        replicas: Sequence[ShareFacts],
        new: ShareFacts,
        rules: Sequence[AccessRule],
        snapshots: Sequence[ReplicaSnapshot],
    ) -> ReplicaMade:
        """Make a replica, and have it follow the active one. Already there: returns it.

        `rules` are those that shall hold for it, `snapshots` what it shall have; both may come true later: the replica
        is `OUT_OF_SYNC` until it holds all. Raises `BackendFull`.
        """
        raise NotSupported(f"back end {self.name} cannot make replicas of shares")

    def delete_replica(
        self, replicas: Sequence[ShareFacts], replica: ShareFacts, snapshots: Sequence[SnapshotFacts]
    ) -> None:
        """Remove a replica with its `snapshots`; also one that was never, or only half, made. The others stay whole."""
        raise NotSupported(f"back end {self.name} cannot delete a replica")

    def promote_replica(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        rules: Sequence[AccessRule],
        quiesce_wait_seconds: int | None,
    ) -> Mapping[str, ReplicaChange]:
        """Make this replica the active one; return changes by instance id. Done already: the same.

        The active one so far may be unreachable. `rules` are those that shall hold for the promoted replica. Clients of
        the old one get `quiesce_wait_seconds` to end, if the driver can wait.
        """
        raise NotSupported(f"back end {self.name} cannot promote a replica")

    def state_of_replica(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        rules: Sequence[AccessRule],
        snapshots: Sequence[ReplicaSnapshot],
    ) -> ReplicaState | None:
        """Return how a replica stands, None for as before; mend what keeps it from following the active one."""
        raise NotSupported(f"back end {self.name} cannot tell how a replica stands")

    def create_replicated_snapshot(
        self, replicas: Sequence[ShareFacts], snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotOutcome]:
        """Take a snapshot of the active replica, which the others get; `snapshots` has an instance for each replica.

        Returns what became of them, by instance id. Already there: the same.
        """
        raise NotSupported(f"back end {self.name} cannot take a snapshot of replicas")

    def delete_replicated_snapshot(
        self, replicas: Sequence[ShareFacts], snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotOutcome]:
        """Remove a snapshot from all replicas; return what became of its instances. Already gone: `DELETED`."""
        raise NotSupported(f"back end {self.name} cannot delete a snapshot of replicas")

    def state_of_replicated_snapshot(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        snapshots: Sequence[SnapshotFacts],
        snapshot: SnapshotFacts,
    ) -> SnapshotOutcome | None:
        """Return how far the snapshot's instance with this replica is, None for as before."""
        raise NotSupported(f"back end {self.name} cannot tell how a replica's snapshot stands")

    def revert_replicated_share(
        self,
        replicas: Sequence[ShareFacts],
        active: ShareFacts,
        snapshots: Sequence[SnapshotFacts],
        snapshot: SnapshotFacts,
    ) -> None:
        """Put the active replica back to its newest snapshot; the others follow. Done twice: the same."""
        raise NotSupported(f"back end {self.name} cannot revert a replicated share")
