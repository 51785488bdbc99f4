"""`driver = manila`: a back end that is served by one of Manila's drivers, which the option `share_driver` names.

All other options of the section are Manila's own and the driver's. What drivers promise Manila is less than our
contract asks: they need not bear being called twice. So creations are journalled (`journal`); a crash in the moment
between a driver's act and the note of it has the half-made object removed and made again.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from isthmus.control.errors import InvalidInput, IsthmusError
from isthmus.shares.drivers.contract import BackendUnavailable, DriverFailed, NotAdoptable
from isthmus.shares.drivers.facts import (
    AccessChange,
    Adopted,
    BackendReport,
    Creation,
    ExportLocation,
    Progress,
    RuleOutcome,
    ShareFacts,
    SnapshotFacts,
    SnapshotMade,
)
from isthmus.shares.drivers.manila import access, answers, journal, library, stats
from isthmus.shares.drivers.manila.faults import Faults, gone_is_fine, kind_of
from isthmus.shares.drivers.manila.journal import Journal
from isthmus.shares.drivers.manila.replication import ManilaReplication
from isthmus.shares.drivers.manila.rows import (
    Row,
    group_row,
    group_snapshot_row,
    rule_rows,
    share_row,
    snapshot_row,
)
from isthmus.shares.drivers.private_data import PrivateData

REVERT_POLL_SECONDS = 2.0

log = logging.getLogger(__name__)


class ManilaDriver(ManilaReplication):
    """One back end of Manila's kind. Needs a store for private data before it is started."""

    kind = "manila"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._faults = Faults(name, options)
        self._store: PrivateData | None = None
        self._made: Any = None
        self._started = False

    def keep_private_data_in(self, store: PrivateData) -> None:
        """Take the store for the driver's private data and the adapter's journal."""
        self._store = store

    def start(self) -> None:
        """Load the driver, set it up and let it check its set-up."""
        if self._store is None:
            raise InvalidInput(f"back end {self.name}: Manila's drivers need a store for their private data")
        with self._faults.translated("load its driver", InvalidInput):
            if self._made is None:
                self._made = library.new_driver(self.name, self.options, self._store)
        with self._faults.translated("start", BackendUnavailable):
            self._made.do_setup(library.admin_context())
            self._made.check_for_setup_error()
            self._made.initialized = True
            # Drivers look into their own report, as to whether they have snapshots.
            self._made.get_share_stats(refresh=True)
        self._started = True

    def close(self) -> None:
        """Let the driver go: Manila's have no word for it, so their connections end with them."""
        self._made = None
        self._started = False

    def report(self) -> BackendReport:
        """Return the driver's report, or one that says why it has none."""
        try:
            with self._faults.translated("report"):
                return stats.report(self._driver.get_share_stats(refresh=True), self.name)
        except IsthmusError as error:
            return BackendReport(protocols=(), pools=(), answers=False, trouble=error.message)

    # Shares

    def create_share(self, share: ShareFacts) -> Creation:
        """As the contract says."""

        def make(row: Row) -> Creation:
            return answers.creation(self._driver.create_share(library.admin_context(), row, share_server=None))

        return self._create(share, make)

    def create_share_from_snapshot(self, share: ShareFacts, snapshot: SnapshotFacts) -> Creation:
        """As the contract says. A driver that answers `creating_from_snapshot` is asked on by `creation_of`."""

        def make(row: Row) -> Creation:
            row["snapshot_id"] = snapshot.instance_id
            source, parent = self._snapshot_row(snapshot), self._share_row(snapshot.share)
            return answers.creation(
                self._driver.create_share_from_snapshot(
                    library.admin_context(), row, source, share_server=None, parent_share=parent
                )
            )

        return self._create(share, make)

    def creation_of(self, share: ShareFacts) -> Creation:
        """As the contract says."""
        made = journal.creation(self._journal.answer(share.instance_id))
        if made is not None and made.progress is Progress.DONE:
            return made
        with self._faults.translated(f"tell how far share instance {share.instance_id} is"):
            row = self._share_row(share, status=answers.CREATING_FROM_SNAPSHOT)
            # No answer means no change.
            told = self._driver.get_share_status(row, None) or {"status": answers.CREATING_FROM_SNAPSHOT}
            made = answers.creation(told)
            return self._note_creation(row, made)

    def delete_share(self, share: ShareFacts) -> None:
        """As the contract says."""
        with self._faults.translated(f"delete share instance {share.instance_id}"):
            self._delete_share(self._share_row(share))
        self._journal.forget(share.instance_id)

    def extend_share(self, share: ShareFacts, size_gib: int) -> None:
        """As the contract says."""
        with self._faults.translated(f"extend share instance {share.instance_id} to {size_gib} GiB"):
            self._driver.extend_share(self._share_row(share), size_gib, share_server=None)

    def shrink_share(self, share: ShareFacts, size_gib: int) -> None:
        """As the contract says."""
        with self._faults.translated(f"shrink share instance {share.instance_id} to {size_gib} GiB"):
            self._driver.shrink_share(self._share_row(share), size_gib, share_server=None)

    def revert_share(self, share: ShareFacts, snapshot: SnapshotFacts) -> None:
        """As the contract says; waits for a driver that works on after it answered."""
        with self._faults.translated(f"revert share instance {share.instance_id} to a snapshot"):
            answer = self._driver.revert_to_snapshot(
                library.admin_context(),
                self._snapshot_row(snapshot),
                rule_rows(share.rules, share),
                rule_rows(snapshot.rules, share),
                share_server=None,
            )
            while isinstance(answer, Mapping) and answer.get("status") == answers.REVERTING:
                time.sleep(REVERT_POLL_SECONDS)
                answer = self._driver.get_share_status(self._share_row(share, status=answers.REVERTING), None)
            if isinstance(answer, Mapping) and "error" in str(answer.get("status")):
                raise DriverFailed(f"back end {self.name}: reverting share instance {share.instance_id} failed")

    def manage_share(self, share: ShareFacts, driver_options: Mapping[str, str]) -> Adopted:
        """As the contract says. Whatever else fails in it means that the share cannot be adopted."""
        known = journal.adopted(self._journal.answer(share.instance_id))
        if known is not None:
            return known
        with self._faults.translated(f"manage share instance {share.instance_id}", NotAdoptable):
            found = answers.adopted(self._driver.manage_existing(self._share_row(share), dict(driver_options)))
        self._journal.end(share.instance_id, asdict(found))
        return found

    def unmanage_share(self, share: ShareFacts) -> None:
        """As the contract says; what the driver keeps of the share stays for when it is managed again."""
        with self._faults.translated(f"unmanage share instance {share.instance_id}"):
            self._driver.unmanage(self._share_row(share))
        self._journal.forget(share.instance_id)

    def ensure_shares(self, shares: Sequence[ShareFacts]) -> Mapping[str, tuple[ExportLocation, ...]]:
        """As the contract says: all at once if the driver can, else one by one, where one's failure is only logged."""
        rows = [self._share_row(share) for share in shares]
        with self._faults.translated("ensure its shares"):
            try:
                updates = self._driver.ensure_shares(library.admin_context(), rows) or {}
            except NotImplementedError:
                return self._ensure_each(rows)
            for instance_id, update in updates.items():
                if "error" in str(update.get("status")):
                    log.error("back end %s says that share instance %s is in error", self.name, instance_id)
            found = {instance: answers.exports(update.get("export_locations")) for instance, update in updates.items()}
            return {instance: exports for instance, exports in found.items() if exports}

    def set_metadata(self, share: ShareFacts, metadata: Mapping[str, str]) -> None:
        """As the contract says; most drivers take no notice."""
        with self._faults.translated(f"take note of the metadata of share instance {share.instance_id}"):
            try:
                self._driver.update_share_from_metadata(library.admin_context(), self._share_row(share), dict(metadata))
            except NotImplementedError:
                return

    def accept_transfer(self, share: ShareFacts, new_project: str, new_user: str, clear_rules: bool) -> None:
        """As the contract says."""
        with self._faults.translated(f"give share instance {share.instance_id} to another project"):
            self._driver.transfer_accept(
                library.admin_context(),
                self._share_row(share),
                new_user,
                new_project,
                access_rules=[] if clear_rules else rule_rows(share.rules, share),
                share_server=None,
            )

    def used_gib(self, share: ShareFacts) -> float | None:
        """As the contract says."""
        with self._faults.translated(f"measure share instance {share.instance_id}"):
            told = self._driver.update_share_usage_size(library.admin_context(), [self._share_row(share)])
            return answers.used_gib(told, share.instance_id)

    # Access

    def update_access(self, share: ShareFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        """As the contract says."""
        row = self._share_row(share)
        if share.protocol.upper() == "NFS" and not self._driver.ipv6_implemented:
            change = access.without_ipv6(change)

        def call(wanted: access.Rows, added: access.Rows, removed: access.Rows, changed: access.Rows) -> Any:
            rules = (wanted, added, removed, changed)
            context = library.admin_context()
            try:
                return self._driver.update_access(context, row, *rules, share_server=None)
            except NotImplementedError:
                return access.one_at_a_time(self._driver, context, row, rules, rule_rows(change.gone, share))

        applying = access.Applying(call, lambda rules: rule_rows(rules, share), self._faults)
        with self._faults.translated(f"apply access rules of share instance {share.instance_id}"):
            return applying.apply(change)

    # Snapshots

    def create_snapshot(self, snapshot: SnapshotFacts) -> SnapshotMade:
        """As the contract says."""
        identity = snapshot.instance_id
        known = journal.snapshot_made(self._journal.answer(identity))
        if known is not None:
            return known
        with self._faults.translated(f"create snapshot instance {identity}"):
            row = self._snapshot_row(snapshot)
            if self._journal.was_begun(identity):
                self._delete_snapshot(row)
            self._journal.begin(identity)
            made = answers.snapshot_made(self._driver.create_snapshot(library.admin_context(), row, share_server=None))
        self._journal.end(identity, asdict(made))
        return made

    def delete_snapshot(self, snapshot: SnapshotFacts) -> None:
        """As the contract says."""
        with self._faults.translated(f"delete snapshot instance {snapshot.instance_id}"):
            self._delete_snapshot(self._snapshot_row(snapshot))
        self._journal.forget(snapshot.instance_id)

    def update_snapshot_access(self, snapshot: SnapshotFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        """As the contract says."""
        row = self._snapshot_row(snapshot)

        def call(wanted: access.Rows, added: access.Rows, removed: access.Rows, changed: access.Rows) -> Any:
            return self._driver.snapshot_update_access(
                library.admin_context(), row, wanted, added + changed, removed, share_server=None
            )

        applying = access.Applying(call, lambda rules: rule_rows(rules, snapshot.share), self._faults)
        with self._faults.translated(f"apply access rules of snapshot instance {snapshot.instance_id}"):
            return applying.apply(change)

    def manage_snapshot(self, snapshot: SnapshotFacts, driver_options: Mapping[str, str]) -> Adopted:
        """As the contract says; as with shares."""
        known = journal.adopted(self._journal.answer(snapshot.instance_id))
        if known is not None:
            return known
        with self._faults.translated(f"manage snapshot instance {snapshot.instance_id}", NotAdoptable):
            told = self._driver.manage_existing_snapshot(self._snapshot_row(snapshot), dict(driver_options))
            found = answers.adopted(told, snapshot.provider_location)
        self._journal.end(snapshot.instance_id, asdict(found))
        return found

    def unmanage_snapshot(self, snapshot: SnapshotFacts) -> None:
        """As the contract says."""
        with self._faults.translated(f"unmanage snapshot instance {snapshot.instance_id}"):
            self._driver.unmanage_snapshot(self._snapshot_row(snapshot))
        self._journal.forget(snapshot.instance_id)

    # Groups

    def create_group(self, group_id: str, host: str) -> None:
        """As the contract says."""
        with self._faults.translated(f"create share group {group_id}"):
            self._driver.create_share_group(library.admin_context(), group_row(group_id, host), share_server=None)

    def delete_group(self, group_id: str, host: str) -> None:
        """As the contract says."""
        with self._faults.translated(f"delete share group {group_id}"):
            self._driver.delete_share_group(library.admin_context(), group_row(group_id, host), share_server=None)

    def create_group_snapshot(
        self, group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotMade]:
        """As the contract says."""
        known = journal.members_made(self._journal.answer(group_snapshot_id))
        if known is not None:
            return known
        with self._faults.translated(f"create group snapshot {group_snapshot_id}"):
            row = self._group_snapshot_row(group_snapshot_id, snapshots)
            if self._journal.was_begun(group_snapshot_id):
                self._driver.delete_share_group_snapshot(library.admin_context(), row, share_server=None)
            self._journal.begin(group_snapshot_id)
            _, updates = self._driver.create_share_group_snapshot(library.admin_context(), row, share_server=None)
        told = {update["id"]: update for update in updates or ()}
        made = {each.instance_id: answers.snapshot_made(told.get(each.instance_id)) for each in snapshots}
        self._journal.end(group_snapshot_id, {identity: asdict(each) for identity, each in made.items()})
        return made

    def delete_group_snapshot(self, group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]) -> None:
        """As the contract says."""
        with self._faults.translated(f"delete group snapshot {group_snapshot_id}"):
            row = self._group_snapshot_row(group_snapshot_id, snapshots)
            self._driver.delete_share_group_snapshot(library.admin_context(), row, share_server=None)
        self._journal.forget(group_snapshot_id)

    # Within

    @property
    def _driver(self) -> Any:
        if not self._started:
            raise BackendUnavailable(f"back end {self.name} has not started yet")
        return self._made

    @property
    def _journal(self) -> Journal:
        if self._store is None:
            raise BackendUnavailable(f"back end {self.name} has not started yet")
        return Journal(self._store)

    def _create(self, share: ShareFacts, make: Callable[[Row], Creation]) -> Creation:
        identity = share.instance_id
        known = journal.creation(self._journal.answer(identity))
        if known is not None:
            return known
        with self._faults.translated(f"create share instance {identity}"):
            row = self._share_row(share)
            if self._journal.was_begun(identity):
                self._delete_share(row)
            self._journal.begin(identity)
            return self._note_creation(row, make(row))

    def _note_creation(self, row: Row, made: Creation) -> Creation:
        if made.progress is Progress.DONE:
            told = self._driver.get_optional_share_creation_data(row, share_server=None) or {}
            made = replace(made, metadata={str(key): str(value) for key, value in (told.get("metadata") or {}).items()})
        self._journal.end(row["id"], asdict(made))
        return made

    def _delete_share(self, row: Row) -> None:
        with gone_is_fine():
            self._driver.delete_share(library.admin_context(), row, share_server=None)

    def _delete_snapshot(self, row: Row) -> None:
        with gone_is_fine():
            self._driver.delete_snapshot(library.admin_context(), row, share_server=None)

    def _ensure_each(self, rows: Sequence[Row]) -> dict[str, tuple[ExportLocation, ...]]:
        found = {}
        for row in rows:
            try:
                found[row["id"]] = answers.exports(
                    self._driver.ensure_share(library.admin_context(), row, share_server=None)
                )
            except NotImplementedError:
                return {}
            except Exception as error:
                # One share's trouble must not keep the others from being served; its rules will tell of it.
                if kind_of(error) is BackendUnavailable:
                    raise
                said = self._faults.said(error)
                log.warning("back end %s cannot ensure share instance %s: %s", self.name, row["id"], said)
        return {instance: exports for instance, exports in found.items() if exports}

    def _share_row(self, share: ShareFacts, **changes: Any) -> Row:
        row = share_row(share, **changes)
        library.remember(row)
        return row

    def _snapshot_row(self, snapshot: SnapshotFacts) -> Row:
        row = snapshot_row(snapshot)
        library.remember(row["share"])
        return row

    def _group_snapshot_row(self, group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]) -> Row:
        row = group_snapshot_row(group_snapshot_id, snapshots)
        for member in row["share_group_snapshot_members"]:
            library.remember(member["share"])
        return row
