"""A back end that is a ledger: shares, snapshots, rules and groups are entries, and it can be told to refuse."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tests.functional.shares.api.parts import HOST, Shares

from isthmus.control.database import utc_now
from isthmus.control.errors import NotFound
from isthmus.shares.drivers.contract import DriverFailed, NotAdoptable, ShareDriver
from isthmus.shares.drivers.facts import (
    AccessChange,
    Adopted,
    BackendReport,
    Creation,
    ExportLocation,
    RuleOutcome,
    ShareFacts,
    SnapshotFacts,
    SnapshotMade,
)
from isthmus.shares.services.operations import OPERATIONS
from isthmus.shares.services.running import carry_out
from isthmus.shares.services.work import Work
from isthmus.shares.store import jobs

OWNER = "test"


class LedgerDriver(ShareDriver):
    """`refused` are the methods that fail, `asked` those that were called; `rules` are those that hold, by instance."""

    kind = "ledger"

    def __init__(self, name: str = "alpha", options: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, options or {})
        self.shares: set[str] = set()
        self.snapshots: set[str] = set()
        self.groups: set[str] = set()
        self.rules: dict[str, set[str]] = {}
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.given: list[tuple[str, str, bool, int]] = []

    def start(self) -> None:
        """Nothing has to be made."""

    def report(self) -> BackendReport:
        return BackendReport(protocols=("NFS",), pools=())

    def _ask(self, method: str) -> None:
        self.asked.append(method)
        if method in self.refused:
            raise DriverFailed(f"the ledger refuses {method}; allow it")

    def create_share(self, share: ShareFacts) -> Creation:
        self._ask("create_share")
        self.shares.add(share.instance_id)
        return Creation((ExportLocation(f"ledger:/{share.instance_id}"),))

    def create_share_from_snapshot(self, share: ShareFacts, snapshot: SnapshotFacts) -> Creation:
        assert snapshot.instance_id in self.snapshots
        return self.create_share(share)

    def delete_share(self, share: ShareFacts) -> None:
        self._ask("delete_share")
        self.shares.discard(share.instance_id)
        self.rules.pop(share.instance_id, None)

    def accept_transfer(self, share: ShareFacts, new_project: str, new_user: str, clear_rules: bool) -> None:
        self._ask("accept_transfer")
        self.given.append((new_project, new_user, clear_rules, len(share.rules)))

    def extend_share(self, share: ShareFacts, size_gib: int) -> None:
        """A ledger has room."""

    def update_access(self, share: ShareFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        return self._set_rules(share.instance_id, change)

    def _set_rules(self, identity: str, change: AccessChange) -> Mapping[str, RuleOutcome]:
        self._ask("update_access")
        if identity not in self.shares | self.snapshots:
            raise NotFound(f"the ledger has no {identity}")
        wrong = {rule.rule_id: RuleOutcome(error="unknown client") for rule in change.wanted if rule.to == "10.9.9.9"}
        self.rules[identity] = {rule.to for rule in change.wanted if rule.rule_id not in wrong}
        return wrong

    def create_snapshot(self, snapshot: SnapshotFacts) -> SnapshotMade:
        self._ask("create_snapshot")
        self.snapshots.add(snapshot.instance_id)
        path = f"ledger:/snapshots/{snapshot.instance_id}"
        return SnapshotMade(snapshot.instance_id, (ExportLocation(path),), {"seen": "yes"})

    def delete_snapshot(self, snapshot: SnapshotFacts) -> None:
        self._ask("delete_snapshot")
        self.snapshots.discard(snapshot.instance_id)
        self.rules.pop(snapshot.instance_id, None)

    def update_snapshot_access(self, snapshot: SnapshotFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        return self._set_rules(snapshot.instance_id, change)

    def manage_snapshot(self, snapshot: SnapshotFacts, driver_options: Mapping[str, str]) -> Adopted:
        if snapshot.provider_location not in self.snapshots:
            raise NotAdoptable(f"the ledger has no snapshot {snapshot.provider_location}; name one")
        return Adopted(int(driver_options.get("size", 1)), provider_location=snapshot.provider_location)

    def unmanage_snapshot(self, snapshot: SnapshotFacts) -> None:
        self._ask("unmanage_snapshot")

    def create_group(self, group_id: str, host: str) -> None:
        self._ask("create_group")
        self.groups.add(group_id)

    def delete_group(self, group_id: str, host: str) -> None:
        self._ask("delete_group")
        self.groups.discard(group_id)

    def create_group_snapshot(
        self, group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotMade]:
        self._ask("create_group_snapshot")
        return super().create_group_snapshot(group_snapshot_id, snapshots)


def crash_at_the_next(shares: Shares, driver: ShareDriver, host: str = HOST) -> None:
    """Do the oldest job at the back end, as a manager that is killed before it can record what came of it."""
    work = Work(shares.conf, shares.database, driver, host, utc_now)
    with shares.database.transaction() as session:
        (job,) = jobs.claim(session, backends=[host], owner=OWNER, now=utc_now(), lease=timedelta(minutes=1), limit=1)
    OPERATIONS[job.kind].perform(work, job)
    with shares.database.transaction() as session:
        jobs.release(session, OWNER)


def work_off(shares: Shares, driver: ShareDriver) -> None:
    """Do all that the API asked of the back end, as its manager does, until nothing is left to do."""
    work = Work(shares.conf, shares.database, driver, HOST, utc_now)
    for _ in range(100):
        # Jobs that wait for a while are due by this time.
        due = utc_now() + timedelta(minutes=1)
        with shares.database.transaction() as session:
            found = jobs.claim(session, backends=[HOST], owner=OWNER, now=due, lease=timedelta(minutes=1), limit=10)
        if not found:
            return
        for job in found:
            carry_out(work, job, OWNER)
    raise AssertionError("the back end is never done")
