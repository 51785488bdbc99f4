"""Two ledgers that replicate to each other, and one whose storage has another domain."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tests.functional.shares.api.ledger import OWNER, LedgerDriver
from tests.functional.shares.api.parts import HOST, Shares

from isthmus.control.database import utc_now
from isthmus.shares.drivers.facts import (
    AccessRule,
    ExportLocation,
    ReplicaChange,
    ReplicaMade,
    ReplicaSnapshot,
    ShareFacts,
    SnapshotFacts,
    SnapshotOutcome,
    SnapshotState,
)
from isthmus.shares.model import ReplicaState
from isthmus.shares.services.running import carry_out
from isthmus.shares.services.work import Work
from isthmus.shares.store import jobs

BETA, GAMMA = "node@beta", "node@gamma"
HOSTS = (HOST, BETA, GAMMA)


class ReplicaLedger(LedgerDriver):
    """The ledger of all back ends. `late` has replicas' snapshots follow only when they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self.says: ReplicaState | None = ReplicaState.IN_SYNC
        self.active: dict[str, str] = {}
        self.reverted: list[str] = []
        self.waited: int | None = None

    def create_replica(
        self,
        replicas: Sequence[ShareFacts],
        new: ShareFacts,
        rules: Sequence[AccessRule],
        snapshots: Sequence[ReplicaSnapshot],
    ) -> ReplicaMade:
        self._ask("create_replica")
        assert new.instance_id in {each.instance_id for each in replicas}
        self.shares.add(new.instance_id)
        self.rules[new.instance_id] = {f"{rule.to} {rule.level}" for rule in rules}
        return ReplicaMade((ExportLocation(f"ledger:/{new.instance_id}"),), self.says or ReplicaState.OUT_OF_SYNC)

    def delete_replica(
        self, replicas: Sequence[ShareFacts], replica: ShareFacts, snapshots: Sequence[SnapshotFacts]
    ) -> None:
        self._ask("delete_replica")
        self.shares.discard(replica.instance_id)
        self.rules.pop(replica.instance_id, None)
        self.snapshots -= {each.instance_id for each in snapshots}

    def promote_replica(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        rules: Sequence[AccessRule],
        quiesce_wait_seconds: int | None,
    ) -> Mapping[str, ReplicaChange]:
        self._ask("promote_replica")
        self.waited = quiesce_wait_seconds
        self.active[replica.share_id] = replica.instance_id
        others = [each.instance_id for each in replicas if each.instance_id != replica.instance_id]
        moved = (ExportLocation(f"ledger:/active/{replica.instance_id}"),)
        return {
            replica.instance_id: ReplicaChange(ReplicaState.ACTIVE, moved),
            **dict.fromkeys(others, ReplicaChange(ReplicaState.IN_SYNC)),
        }

    def state_of_replica(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        rules: Sequence[AccessRule],
        snapshots: Sequence[ReplicaSnapshot],
    ) -> ReplicaState | None:
        self._ask("state_of_replica")
        return self.says

    def create_replicated_snapshot(
        self, replicas: Sequence[ShareFacts], snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotOutcome]:
        self._ask("create_replicated_snapshot")
        told = {}
        for each in snapshots:
            late = self.late and each.share.replica_state != ReplicaState.ACTIVE
            told[each.instance_id] = SnapshotOutcome(SnapshotState.CREATING if late else SnapshotState.AVAILABLE)
            self.snapshots.add(each.instance_id)
        return told

    def delete_replicated_snapshot(
        self, replicas: Sequence[ShareFacts], snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotOutcome]:
        self._ask("delete_replicated_snapshot")
        self.snapshots -= {each.instance_id for each in snapshots}
        return {each.instance_id: SnapshotOutcome(SnapshotState.DELETED) for each in snapshots}

    def state_of_replicated_snapshot(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        snapshots: Sequence[SnapshotFacts],
        snapshot: SnapshotFacts,
    ) -> SnapshotOutcome | None:
        self._ask("state_of_replicated_snapshot")
        return SnapshotOutcome(SnapshotState.AVAILABLE)

    def revert_replicated_share(
        self,
        replicas: Sequence[ShareFacts],
        active: ShareFacts,
        snapshots: Sequence[SnapshotFacts],
        snapshot: SnapshotFacts,
    ) -> None:
        self._ask("revert_replicated_share")
        self.reverted.append(active.instance_id)


def make_back_ends(shares: Shares) -> None:
    """Make alpha and beta, of one domain and two zones, and gamma of another domain."""
    facts: dict[str, Any] = {"replication_type": "readable", "revert_to_snapshot_support": True}
    shares.back_end(replication_domain="one", zone="north", **facts)
    shares.back_end(BETA, replication_domain="one", zone="south", **facts)
    shares.back_end(GAMMA, replication_domain="two", zone="west", **facts)


def work_off_all(shares: Shares, driver: ReplicaLedger, *, but: str | None = None) -> None:
    """Do all that the API asked of all back ends, or of all but one, until nothing is left to do."""
    hosts = [host for host in HOSTS if host != but]
    works = {host: Work(shares.conf, shares.database, driver, host, utc_now) for host in hosts}
    for _ in range(100):
        due = utc_now() + timedelta(minutes=1)
        with shares.database.transaction() as session:
            found = jobs.claim(session, backends=hosts, owner=OWNER, now=due, lease=timedelta(minutes=1), limit=10)
        if not found:
            return
        for job in found:
            carry_out(works[job.backend], job, OWNER)
    raise AssertionError("the back ends are never done")
