"""Replicas through a Manila driver, in the forms of `manila.share.manager`.

Drivers get what Manila gives them: rows of all replicas, and of a replica's snapshots pairs with the active replica's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from isthmus.shares.drivers.contract import ShareDriver
from isthmus.shares.drivers.facts import (
    AccessRule,
    ReplicaChange,
    ReplicaMade,
    ReplicaSnapshot,
    RuleOutcome,
    ShareFacts,
    SnapshotFacts,
    SnapshotOutcome,
    SnapshotState,
)
from isthmus.shares.drivers.manila import answers, journal, library
from isthmus.shares.drivers.manila.faults import Faults, gone_is_fine
from isthmus.shares.drivers.manila.journal import Journal
from isthmus.shares.drivers.manila.rows import Row, rule_rows
from isthmus.shares.model import ReplicaState

_REFUSED = RuleOutcome(error="the back end could not apply this rule to the replica")


class ManilaReplication(ShareDriver):
    """The part of `ManilaDriver` that is about replicas."""

    _faults: Faults

    @property
    def _driver(self) -> Any:
        raise NotImplementedError

    @property
    def _journal(self) -> Journal:
        raise NotImplementedError

    def _share_row(self, share: ShareFacts, **changes: Any) -> Row:
        raise NotImplementedError

    def _snapshot_row(self, snapshot: SnapshotFacts) -> Row:
        raise NotImplementedError

    def create_replica(
        self,
        replicas: Sequence[ShareFacts],
        new: ShareFacts,
        rules: Sequence[AccessRule],
        snapshots: Sequence[ReplicaSnapshot],
    ) -> ReplicaMade:
        """As the contract says."""
        identity = new.instance_id
        known = journal.replica_made(self._journal.answer(identity))
        if known is not None:
            return known
        with self._faults.translated(f"create replica {identity}"):
            if self._journal.was_begun(identity):
                self._delete_replica(replicas, new, [each.own for each in snapshots])
            self._journal.begin(identity)
            told = self._driver.create_replica(
                library.admin_context(),
                self._rows(replicas),
                self._share_row(new),
                rule_rows(rules, new),
                self._pairs(snapshots),
                share_server=None,
            )
            made = _made(told or {}, rules)
        self._journal.end(identity, asdict(made))
        return made

    def delete_replica(
        self, replicas: Sequence[ShareFacts], replica: ShareFacts, snapshots: Sequence[SnapshotFacts]
    ) -> None:
        """As the contract says."""
        with self._faults.translated(f"delete replica {replica.instance_id}"):
            self._delete_replica(replicas, replica, snapshots)
        for identity in (replica.instance_id, *(each.instance_id for each in snapshots)):
            self._journal.forget(identity)

    def promote_replica(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        rules: Sequence[AccessRule],
        quiesce_wait_seconds: int | None,
    ) -> Mapping[str, ReplicaChange]:
        """As the contract says; a driver that answers nothing leaves the old active replica behind."""
        with self._faults.translated(f"promote replica {replica.instance_id}"):
            told = self._driver.promote_replica(
                library.admin_context(),
                self._rows(replicas),
                self._share_row(replica),
                rule_rows(rules, replica),
                share_server=None,
                quiesce_wait_time=quiesce_wait_seconds,
            )
        return {str(each["id"]): _change(each) for each in told or ()}

    def state_of_replica(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        rules: Sequence[AccessRule],
        snapshots: Sequence[ReplicaSnapshot],
    ) -> ReplicaState | None:
        """As the contract says."""
        with self._faults.translated(f"tell how replica {replica.instance_id} stands"):
            told = self._driver.update_replica_state(
                library.admin_context(),
                self._rows(replicas),
                self._share_row(replica),
                rule_rows(rules, replica),
                self._pairs(snapshots),
                share_server=None,
            )
        return _state(told)

    def create_replicated_snapshot(
        self, replicas: Sequence[ShareFacts], snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotOutcome]:
        """As the contract says; a crash between the driver's act and its record has the snapshot made anew."""
        (identity,) = {each.snapshot_id for each in snapshots}
        known = journal.outcomes(self._journal.answer(identity))
        if known is not None:
            return known
        with self._faults.translated(f"create snapshot {identity} of all replicas"):
            rows = (self._rows(replicas), self._snapshot_rows(snapshots))
            if self._journal.was_begun(identity):
                with gone_is_fine():
                    self._driver.delete_replicated_snapshot(library.admin_context(), *rows, share_server=None)
            self._journal.begin(identity)
            told = self._driver.create_replicated_snapshot(library.admin_context(), *rows, share_server=None)
        made = _outcomes(told)
        self._journal.end(identity, {each: asdict(outcome) for each, outcome in made.items()})
        return made

    def delete_replicated_snapshot(
        self, replicas: Sequence[ShareFacts], snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotOutcome]:
        """As the contract says."""
        (identity,) = {each.snapshot_id for each in snapshots}
        gone = {each.instance_id: SnapshotOutcome(SnapshotState.DELETED) for each in snapshots}
        with self._faults.translated(f"delete snapshot {identity} of all replicas"):
            told: Any = None
            with gone_is_fine():
                told = self._driver.delete_replicated_snapshot(
                    library.admin_context(), self._rows(replicas), self._snapshot_rows(snapshots), share_server=None
                )
        self._journal.forget(identity)
        return gone if told is None else _outcomes(told)

    def state_of_replicated_snapshot(
        self,
        replicas: Sequence[ShareFacts],
        replica: ShareFacts,
        snapshots: Sequence[SnapshotFacts],
        snapshot: SnapshotFacts,
    ) -> SnapshotOutcome | None:
        """As the contract says."""
        with self._faults.translated(f"tell how snapshot instance {snapshot.instance_id} stands"):
            told = self._driver.update_replicated_snapshot(
                library.admin_context(),
                self._rows(replicas),
                self._share_row(replica),
                self._snapshot_rows(snapshots),
                self._snapshot_row(snapshot),
                share_server=None,
            )
        return _outcome(told) if told else None

    def revert_replicated_share(
        self,
        replicas: Sequence[ShareFacts],
        active: ShareFacts,
        snapshots: Sequence[SnapshotFacts],
        snapshot: SnapshotFacts,
    ) -> None:
        """As the contract says."""
        with self._faults.translated(f"revert share instance {active.instance_id} and its replicas to a snapshot"):
            self._driver.revert_to_replicated_snapshot(
                library.admin_context(),
                self._share_row(active),
                self._rows(replicas),
                self._snapshot_row(snapshot),
                self._snapshot_rows(snapshots),
                rule_rows(active.rules, active),
                rule_rows(snapshot.rules, active),
                share_server=None,
            )

    def _delete_replica(
        self, replicas: Sequence[ShareFacts], replica: ShareFacts, snapshots: Sequence[SnapshotFacts]
    ) -> None:
        with gone_is_fine():
            self._driver.delete_replica(
                library.admin_context(),
                self._rows(replicas),
                self._snapshot_rows(snapshots),
                self._share_row(replica),
                share_server=None,
            )

    def _rows(self, replicas: Sequence[ShareFacts]) -> list[Row]:
        return [self._share_row(each) for each in replicas]

    def _snapshot_rows(self, snapshots: Sequence[SnapshotFacts]) -> list[Row]:
        return [self._snapshot_row(each) for each in snapshots]

    def _pairs(self, snapshots: Sequence[ReplicaSnapshot]) -> list[dict[str, Row]]:
        return [
            {
                "active_replica_snapshot": self._snapshot_row(each.active),
                "share_replica_snapshot": self._snapshot_row(each.own),
            }
            for each in snapshots
        ]


def _made(told: Mapping[str, Any], rules: Sequence[AccessRule]) -> ReplicaMade:
    """Return a replica as a driver tells of it; one that tells no state is not in sync yet."""
    single = {str(each["id"]): each.get("state") for each in told.get("share_access_rules") or ()}
    refused = {rule_id for rule_id, state in single.items() if state == "error"}
    if told.get("access_rules_status") == "error" and not single:
        refused = {rule.rule_id for rule in rules}
    return ReplicaMade(
        exports=answers.exports(told.get("export_locations")),
        state=_state(told.get("replica_state")) or ReplicaState.OUT_OF_SYNC,
        rules=dict.fromkeys(sorted(refused), _REFUSED),
    )


def _change(told: Mapping[str, Any]) -> ReplicaChange:
    exports = told.get("export_locations")
    return ReplicaChange(_state(told.get("replica_state")), None if exports is None else answers.exports(exports))


def _state(told: Any) -> ReplicaState | None:
    return ReplicaState(told) if told in tuple(ReplicaState) else None


def _outcomes(told: Sequence[Mapping[str, Any]] | None) -> dict[str, SnapshotOutcome]:
    found = {str(each["id"]): _outcome(each) for each in told or ()}
    return {identity: outcome for identity, outcome in found.items() if outcome is not None}


def _outcome(told: Mapping[str, Any]) -> SnapshotOutcome | None:
    status = told.get("status")
    if status not in tuple(SnapshotState):
        return None
    exports = told.get("export_locations")
    return SnapshotOutcome(
        SnapshotState(status), told.get("provider_location"), None if exports is None else answers.exports(exports)
    )
