"""What a share driver must do. `tests/contract/test_share_driver_contract.py` holds every driver to it.

A driver is made once by a share manager from its back end's section of the configuration. Its methods block and are
called from several threads; two calls about one share instance never run at once, calls about different ones do.

Every method can be called again after a crash at any point, also by another process, and each says what "already
done" means: that call succeeds and changes nothing. So a driver keeps no state of its own that the back end does not
hold; what it must remember of an object it returns as `private`, and gets back with the object's facts. A driver that
must remember in the middle of a call has a store for it (`keep_private_data_in`).

Errors, for every method: `BackendUnavailable` if the storage does not answer (tried again, the object waits),
`NotFound` for an object that is gone where that is not success, `DriverFailed` for what no retry can mend. Those of
single methods are told there. All name the object and the next step, and hold no secret.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from isthmus.control.errors import InvalidInput, NotSupported, StepFailed, Unavailable
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
from isthmus.shares.drivers.private_data import PrivateData
from isthmus.shares.drivers.replication import Replication


class BackendUnavailable(Unavailable):
    """The storage behind a driver does not answer now."""

    code = "share-backend-unavailable"


class DriverFailed(StepFailed):
    """The back end refused, or broke, in a way that trying again does not mend."""

    code = "share-driver-failed"


class BackendFull(DriverFailed):
    """The pool has no room for this: another pool may have."""

    code = "share-backend-full"


class DataWouldBeLost(DriverFailed):
    """The share holds more than it is to be shrunk to."""

    code = "share-data-would-be-lost"


class NotAdoptable(InvalidInput):
    """What is to be taken under management is not there, is of another kind, or is managed already."""

    code = "share-not-adoptable"


class ShareDriver(Replication):
    """One back end. `name` is its section in the configuration, `options` are that section's values.

    What a back end must do that keeps replicas is in `Replication`.
    """

    kind: ClassVar[str]

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """Take the options; touch nothing before `start`."""
        self.name = name
        self.options = options

    def keep_private_data_in(self, store: PrivateData) -> None:
        """Take the store for what must be remembered at any moment; called once, before `start`."""

    @abstractmethod
    def start(self) -> None:
        """Connect, and make what the back end needs (a file system, a directory). Already there: returns.

        Called again after it raised `BackendUnavailable`, until it succeeds; `InvalidInput` names a wrong option.
        """

    def close(self) -> None:
        """Give back connections. Served shares stay served. Calling it twice is fine."""

    @abstractmethod
    def report(self) -> BackendReport:
        """Return capabilities and present capacity; `answers=False` rather than an error when the storage is silent."""

    # Shares

    @abstractmethod
    def create_share(self, share: ShareFacts) -> Creation:
        """Make an empty share of its size, reachable by nobody. Already there: returns its exports.

        Raises `BackendFull` if there is no room.
        """

    @abstractmethod
    def create_share_from_snapshot(self, share: ShareFacts, snapshot: SnapshotFacts) -> Creation:
        """Make a share with the bytes of a snapshot, at least as large. Already there, whole: returns its exports.

        A back end that takes long answers `UNDER_WAY` and is asked again through `creation_of`.
        """

    def creation_of(self, share: ShareFacts) -> Creation:
        """Return how far a creation from a snapshot has come; only called after one was `UNDER_WAY`."""
        raise DriverFailed(f"share instance {share.instance_id} is not being made from a snapshot")

    @abstractmethod
    def delete_share(self, share: ShareFacts) -> None:
        """Remove the share, its exports and its rules; also one that was never, or only half, made."""

    @abstractmethod
    def extend_share(self, share: ShareFacts, size_gib: int) -> None:
        """Give the share this size, larger than before. Already so large: returns. Raises `BackendFull`."""

    def shrink_share(self, share: ShareFacts, size_gib: int) -> None:
        """Give the share this size, smaller than before. Already so small: returns.

        Raises `DataWouldBeLost`, with the share as it was, if it holds more.
        """
        raise NotSupported(f"back end {self.name} cannot shrink shares")

    def revert_share(self, share: ShareFacts, snapshot: SnapshotFacts) -> None:
        """Put the share's bytes back to its newest snapshot; clients may stay mounted. Done twice: the same."""
        raise NotSupported(f"back end {self.name} cannot revert a share to a snapshot")

    def manage_share(self, share: ShareFacts, driver_options: Mapping[str, str]) -> Adopted:
        """Take a share that exists at `share.exports[0]` under management. Already taken as this one: returns.

        Raises `NotAdoptable`.
        """
        raise NotSupported(f"back end {self.name} cannot take existing shares under management")

    def unmanage_share(self, share: ShareFacts) -> None:
        """Forget the share and leave its bytes where they are. Already forgotten: returns."""
        raise NotSupported(f"back end {self.name} cannot give up a share")

    def ensure_shares(self, shares: Sequence[ShareFacts]) -> Mapping[str, tuple[ExportLocation, ...]]:
        """Serve these shares again after a restart of whatever serves them; return exports by instance id.

        Shares whose exports have not changed may be left out. Rules are put right by `update_access` afterwards.
        """
        del shares
        return {}

    def set_metadata(self, share: ShareFacts, metadata: Mapping[str, str]) -> None:
        """Take note of the share's changed metadata, for back ends that act upon some keys."""

    def accept_transfer(self, share: ShareFacts, new_project: str, new_user: str, clear_rules: bool) -> None:
        """Note that the share is another project's now. Done twice: the same.

        `clear_rules` says that no rule shall be left of the old owner's: `update_access` has removed them before.
        """

    def used_gib(self, share: ShareFacts) -> float | None:
        """Return how much the share holds, None if the back end cannot tell."""
        del share
        return None

    # Access

    @abstractmethod
    def update_access(self, share: ShareFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        """Make exactly the wanted rules hold, at once also for clients that are mounted. Already so: returns.

        Returns outcomes by rule id for the rules that got a key or could not be applied; the others hold. A rule
        of a kind that the protocol does not know is an outcome with `error`, not an exception.
        """

    # Snapshots

    def create_snapshot(self, snapshot: SnapshotFacts) -> SnapshotMade:
        """Keep the share's bytes of one moment. Already there: returns it."""
        raise NotSupported(f"back end {self.name} cannot take snapshots")

    def delete_snapshot(self, snapshot: SnapshotFacts) -> None:
        """Remove the snapshot; also one that was never, or only half, made. Shares made from it stay whole."""
        raise NotSupported(f"back end {self.name} has no snapshots")

    def update_snapshot_access(self, snapshot: SnapshotFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        """As `update_access`, for a snapshot that can be mounted; every client may only read."""
        del snapshot, change
        raise NotSupported(f"back end {self.name} cannot serve snapshots")

    def manage_snapshot(self, snapshot: SnapshotFacts, driver_options: Mapping[str, str]) -> Adopted:
        """Take the snapshot at `provider_location` under management. Already taken as this one: returns.

        Raises `NotAdoptable`.
        """
        raise NotSupported(f"back end {self.name} cannot take existing snapshots under management")

    def unmanage_snapshot(self, snapshot: SnapshotFacts) -> None:
        """Forget the snapshot and leave its bytes where they are. Already forgotten: returns."""
        raise NotSupported(f"back end {self.name} cannot give up a snapshot")

    # Groups: by default the members one by one.

    def create_group(self, group_id: str, host: str) -> None:
        """Make ready for a group of shares. Already there: returns."""

    def delete_group(self, group_id: str, host: str) -> None:
        """Forget a group without members. Already gone: returns."""

    def create_group_snapshot(
        self, group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]
    ) -> Mapping[str, SnapshotMade]:
        """Take snapshots of all members of one moment; return them by snapshot instance id. Already there: the same.

        A driver that cannot do it consistently must not report `group_consistent_snapshot_support`.
        """
        del group_snapshot_id
        return {snapshot.instance_id: self.create_snapshot(snapshot) for snapshot in snapshots}

    def delete_group_snapshot(self, group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]) -> None:
        """Remove all members' snapshots. Already gone: returns."""
        del group_snapshot_id
        for snapshot in snapshots:
            self.delete_snapshot(snapshot)
