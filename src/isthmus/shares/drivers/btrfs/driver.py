"""Shares as btrfs subvolumes of one machine, served by NFS-Ganesha and Samba.

A share's size is the limit of what its subvolume may refer to, data that it has in common with snapshots and clones
included: so a share made from a snapshot has its whole size, whatever happens to others. Snapshots are read-only
subvolumes and are free until the share changes. There are no snapshots of several subvolumes in one moment, so groups
have no consistent ones.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from isthmus.control.errors import IsthmusError, NotFound, NotSupported
from isthmus.shares.drivers.btrfs import names, reporting, restoring, subvolumes
from isthmus.shares.drivers.btrfs.options import Options, read_options
from isthmus.shares.drivers.btrfs.pool import SHARES, SNAPSHOTS, Pool
from isthmus.shares.drivers.btrfs.serving import NfsServing, Serving, SmbServing
from isthmus.shares.drivers.btrfs.storage import Storage
from isthmus.shares.drivers.contract import BackendFull, DataWouldBeLost, DriverFailed, NotAdoptable, ShareDriver
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

GIB = 1 << 30
REVERTING_SLACK = 256 << 20
"""Bytes that a share may have beyond its old and new tree while it is reverted: the kernel reserves ahead."""


class BtrfsDriver(ShareDriver):
    """The contract on one btrfs. Its options are those of `options.read_options`."""

    kind: ClassVar[str] = "btrfs"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._options: Options = read_options(name, options)
        self._storage = Storage(name, self._options)
        servings: list[Serving] = []
        if self._options.nfs:
            servings.append(NfsServing(self._options.nfs))
        if self._options.smb:
            servings.append(SmbServing(self._options.smb))
        self._servings: dict[str, Serving] = {serving.protocol: serving for serving in servings}

    def start(self) -> None:
        """Make, mount and prepare the pool; see the contract. Servers need not run yet."""
        for serving in self._servings.values():
            serving.prepare()
        self._storage.start()

    def release(self) -> None:
        """Take all mounts away, when nothing shall be served any more. Servers must have ended."""
        self._storage.release()

    def report(self) -> BackendReport:
        """Return capacity and what is out of order; see the contract. A pool that can be mounted again is."""
        found = None
        try:
            self._storage.start()
            with self._storage.pool("the pool") as pool:
                found = reporting.capacity(pool)
            for serving in self._servings.values():
                serving.check()
        except IsthmusError as error:
            return reporting.report(self._options, tuple(self._servings), found, error.message)
        return reporting.report(self._options, tuple(self._servings), found, None)

    # Shares

    def create_share(self, share: ShareFacts) -> Creation:
        """Make an empty subvolume; see the contract."""
        return self._create(share, None)

    def create_share_from_snapshot(self, share: ShareFacts, snapshot: SnapshotFacts) -> Creation:
        """Make a writable snapshot of the snapshot, at once; see the contract."""
        return self._create(share, snapshot)

    def _create(self, share: ShareFacts, snapshot: SnapshotFacts | None) -> Creation:
        name, serving = names.share_name(share.instance_id), self._serving(share)
        public = _public(share)
        source = names.snapshot_name(snapshot.instance_id) if snapshot else None
        with self._storage.pool(f"share instance {share.instance_id}") as pool:
            if not pool.has(SHARES, name):
                if source and not pool.has(SNAPSHOTS, source):
                    raise NotFound(f"snapshot instance {snapshot and snapshot.instance_id} is not in pool {self.name}")
                self._check_room(pool, share.size_gib * GIB, share)
                self._claim(pool, share, name)
                mode = None if source else self._options.root_mode
                pool.make(names.making_name(share.instance_id), name, share.size_gib * GIB, mode, source)
        return Creation(exports=serving.locations(public), metadata=serving.metadata)

    def delete_share(self, share: ShareFacts) -> None:
        """Withdraw and remove it; see the contract."""
        name = names.share_name(share.instance_id)
        with self._storage.pool(f"share instance {share.instance_id}") as pool:
            self._withdraw(pool, share, name)
            pool.destroy(SHARES, names.making_name(share.instance_id))
            pool.destroy(SHARES, name)
            subvolumes.commit(pool.descriptor)

    def extend_share(self, share: ShareFacts, size_gib: int) -> None:
        """Raise the limit; see the contract."""
        with self._share(share) as (pool, name):
            before = pool.limit_of(name) or 0
            if before < size_gib * GIB:
                self._check_room(pool, size_gib * GIB - before, share)
                pool.limit(name, size_gib * GIB)

    def shrink_share(self, share: ShareFacts, size_gib: int) -> None:
        """Lower the limit, unless more is held; see the contract."""
        wanted = size_gib * GIB
        with self._share(share) as (pool, name):
            # Limited first and counted then, so that a client cannot write between the two. A limit that is so small
            # already tells nothing: who set it may have been killed before it counted.
            pool.limit(name, wanted)
            try:
                _check_fits(pool, share, name, size_gib)
            except Exception:
                pool.limit(name, share.size_gib * GIB)
                raise

    def revert_share(self, share: ShareFacts, snapshot: SnapshotFacts) -> None:
        """Put the files back in place, so that clients' handles stay good; see the contract."""
        source = names.snapshot_name(snapshot.instance_id)
        size = snapshot.size_gib * GIB
        with self._share(share) as (pool, name):
            if not pool.has(SNAPSHOTS, source):
                raise NotFound(f"snapshot instance {snapshot.instance_id} is not in pool {self.name}")
            # Both trees may be in the share for a moment, whole. A manager that is killed leaves the limit to who
            # reverts again; it is not read here, so it never grows from one try to the next.
            both = max(size, share.size_gib * GIB) + pool.used(SNAPSHOTS, source) + REVERTING_SLACK
            pool.limit(name, both)
            try:
                with pool.opened(SHARES, name) as live, pool.opened(SNAPSHOTS, source) as kept:
                    restoring.restore(live, kept, subvolumes.read(kept).created_at)
            except Exception:
                pool.limit(name, share.size_gib * GIB)
                raise
            pool.limit(name, size)

    def manage_share(self, share: ShareFacts, driver_options: Mapping[str, str]) -> Adopted:
        """Take a subvolume of the pool's directory; see the contract."""
        del driver_options
        name, serving, public = names.share_name(share.instance_id), self._serving(share), _public(share)
        with self._storage.pool(f"share instance {share.instance_id}") as pool:
            if not pool.has(SHARES, name):
                found = names.adopted(share.exports[0].path if share.exports else "")
                self._check_adoptable(pool, found, SHARES, read_only=False)
                self._claim(pool, share, name)
                pool.move((found,), (SHARES, name))
            pool.flush()
            size_gib = math.ceil((pool.limit_of(name) or max(pool.used(SHARES, name), 1)) / GIB)
            pool.limit(name, size_gib * GIB)
        return Adopted(size_gib=size_gib, exports=serving.locations(public))

    def unmanage_share(self, share: ShareFacts) -> None:
        """Leave the subvolume in the pool's directory, by its public name; see the contract."""
        name = names.share_name(share.instance_id)
        with self._storage.pool(f"share instance {share.instance_id}") as pool:
            if pool.has(SHARES, name):
                self._withdraw(pool, share, name)
                pool.move((SHARES, name), (_public(share),))

    def ensure_shares(self, shares: Sequence[ShareFacts]) -> Mapping[str, tuple[ExportLocation, ...]]:
        """Mount what was served and tell servers that do not know it; see the contract."""
        served = self._storage.show_served()
        for serving in self._servings.values():
            serving.serve_again(served)
        with self._storage.pool("the pool") as pool:
            there = [share for share in shares if pool.has(SHARES, names.share_name(share.instance_id))]
        return {share.instance_id: self._serving(share).locations(_public(share)) for share in there}

    def used_gib(self, share: ShareFacts) -> float | None:
        """Return what the subvolume refers to, as of the file system's last commit (30 s at most)."""
        with self._share(share) as (pool, name):
            return pool.used(SHARES, name) / GIB

    # Access

    def update_access(self, share: ShareFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        """Have the server apply the whole set; see the contract."""
        serving = self._serving(share)
        with self._share(share) as (pool, name):
            path = self._storage.show(pool, SHARES, name)
        return serving.apply(name, _public(share), path, change.wanted, read_only=False)

    def update_snapshot_access(self, snapshot: SnapshotFacts, change: AccessChange) -> Mapping[str, RuleOutcome]:
        """Have the server apply the whole set, for reading; see the contract."""
        serving, name = self._serving(snapshot.share), names.snapshot_name(snapshot.instance_id)
        with self._snapshot(snapshot) as pool:
            path = self._storage.show(pool, SNAPSHOTS, name)
        return serving.apply(name, name, path, change.wanted, read_only=True)

    # Snapshots

    def create_snapshot(self, snapshot: SnapshotFacts) -> SnapshotMade:
        """Make a read-only snapshot of the subvolume; see the contract."""
        made, serving = names.snapshot_name(snapshot.instance_id), self._serving(snapshot.share)
        with self._share(snapshot.share) as (pool, name):
            if not pool.has(SNAPSHOTS, made):
                with pool.opened(SNAPSHOTS) as room, pool.opened(SHARES, name) as source:
                    subvolumes.snapshot(room, made, source, read_only=True)
        return SnapshotMade(provider_location=made, exports=serving.locations(made))

    def delete_snapshot(self, snapshot: SnapshotFacts) -> None:
        """Withdraw and remove it; see the contract."""
        name = names.snapshot_name(snapshot.instance_id)
        with self._storage.pool(f"snapshot instance {snapshot.instance_id}") as pool:
            self._withdraw_snapshot(pool, snapshot, name)
            pool.destroy(SNAPSHOTS, name)
            subvolumes.commit(pool.descriptor)

    def manage_snapshot(self, snapshot: SnapshotFacts, driver_options: Mapping[str, str]) -> Adopted:
        """Take a read-only snapshot of the share from the pool's directory; see the contract."""
        del driver_options
        name, serving = names.snapshot_name(snapshot.instance_id), self._serving(snapshot.share)
        with self._share(snapshot.share) as (pool, share):
            if not pool.has(SNAPSHOTS, name):
                self._adopt_snapshot(pool, snapshot, name, share)
            with pool.opened(SNAPSHOTS, name) as taken:
                subvolumes.set_read_only(taken, True)  # who moved it may have been killed
            size_gib = math.ceil((pool.limit_of(share) or 1) / GIB)
        return Adopted(size_gib=size_gib, exports=serving.locations(name), provider_location=name)

    def unmanage_snapshot(self, snapshot: SnapshotFacts) -> None:
        """Leave the snapshot in the pool's directory; see the contract."""
        name = names.snapshot_name(snapshot.instance_id)
        with self._storage.pool(f"snapshot instance {snapshot.instance_id}") as pool:
            if pool.has(SNAPSHOTS, name):
                self._withdraw_snapshot(pool, snapshot, name)
                pool.move_read_only((SNAPSHOTS, name), (name,))
            elif pool.is_subvolume(name):
                with pool.opened(name) as left:
                    subvolumes.set_read_only(left, True)  # who moved it may have been killed

    # Inside

    def _serving(self, share: ShareFacts) -> Serving:
        serving = self._servings.get(share.protocol.upper())
        if not serving:
            raise NotSupported(
                f"back end {self.name} serves {' and '.join(self._servings)}, not {share.protocol} "
                f"(share instance {share.instance_id})"
            )
        return serving

    @contextmanager
    def _share(self, share: ShareFacts) -> Iterator[tuple[Pool, str]]:
        name = names.share_name(share.instance_id)
        with self._storage.pool(f"share instance {share.instance_id}") as pool:
            if not pool.has(SHARES, name):
                raise NotFound(f"share instance {share.instance_id} is not in the pool of back end {self.name}")
            yield pool, name

    @contextmanager
    def _snapshot(self, snapshot: SnapshotFacts) -> Iterator[Pool]:
        with self._storage.pool(f"snapshot instance {snapshot.instance_id}") as pool:
            if not pool.has(SNAPSHOTS, names.snapshot_name(snapshot.instance_id)):
                raise NotFound(f"snapshot instance {snapshot.instance_id} is not in the pool of back end {self.name}")
            yield pool

    def _check_room(self, pool: Pool, more: int, share: ShareFacts) -> None:
        capacity = os.fstatvfs(pool.descriptor)
        total = capacity.f_blocks * capacity.f_frsize
        ratio = self._options.over_subscription if self._options.thin else 1.0
        if share.size_gib * GIB > total or pool.promised() + more > total * ratio:
            raise BackendFull(
                f"share instance {share.instance_id}: the pool of back end {self.name} has {total / GIB:.1f} GiB in "
                f"all and shares are promised {pool.promised() / GIB:.1f} of it: choose another pool"
            )

    def _claim(self, pool: Pool, share: ShareFacts, name: str) -> None:
        if share.mount_point_name and not pool.claim_name(_public(share), name):
            raise DriverFailed(
                f"share instance {share.instance_id}: another share has the mount point name "
                f"{share.mount_point_name!r}: choose another"
            )

    def _check_adoptable(self, pool: Pool, found: str, room: str, *, read_only: bool) -> None:
        if pool.has(room, found):
            raise NotAdoptable(f"{found!r} is managed already")
        if not pool.is_subvolume(found):
            raise NotAdoptable(f"{found!r} is not a subvolume in {self._options.directory}")
        with pool.opened(found) as candidate:
            if subvolumes.read(candidate).read_only != read_only:
                raise NotAdoptable(f"{found!r} is {'writable' if read_only else 'read-only'}")
            if subvolumes.has_others_below(candidate):
                raise NotAdoptable(f"{found!r} has subvolumes in it, which its size would not count: move them out")

    def _adopt_snapshot(self, pool: Pool, snapshot: SnapshotFacts, name: str, share: str) -> None:
        adopting = f"adopting-{name}"
        if not pool.is_subvolume(adopting):
            found = names.adopted(snapshot.provider_location or "")
            self._check_adoptable(pool, found, SNAPSHOTS, read_only=True)
            with pool.opened(found) as candidate:
                if subvolumes.read(candidate).parent_uuid != pool.facts(SHARES, share).uuid:
                    raise NotAdoptable(f"{found!r} is not a snapshot of share instance {snapshot.share.instance_id}")
            # From here on it is known to be ours, also while it is writable.
            pool.move((found,), (adopting,))
        pool.move_read_only((adopting,), (SNAPSHOTS, name))

    def _withdraw(self, pool: Pool, share: ShareFacts, name: str) -> None:
        self._withdraw_served(pool, share.protocol, name, share.mount_point_name or name)
        pool.give_up_names(name)

    def _withdraw_snapshot(self, pool: Pool, snapshot: SnapshotFacts, name: str) -> None:
        self._withdraw_served(pool, snapshot.share.protocol, name, name)

    def _withdraw_served(self, pool: Pool, protocol: str, name: str, public: str) -> None:
        serving = self._servings.get(protocol.upper())
        # One that was never served needs no server to go away.
        if serving and name in pool.served():
            serving.withdraw(name, public)
        self._storage.hide(pool, name)


def _public(share: ShareFacts) -> str:
    return names.mount_point(share.mount_point_name) if share.mount_point_name else names.share_name(share.instance_id)


def _check_fits(pool: Pool, share: ShareFacts, name: str, size_gib: int) -> None:
    pool.flush()
    used = pool.used(SHARES, name)
    if used > size_gib * GIB:
        raise DataWouldBeLost(
            f"share instance {share.instance_id} holds {used / GIB:.2f} GiB, more than {size_gib} GiB: "
            "remove files, or choose a larger size"
        )
