"""What the suite is run on: Manila's DummyDriver, or this machine's own btrfs with one protocol before the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from conformance.stages import REQUIRED, Stage
from conformance.tempest_conf import BACK_ENDS


class Subject(StrEnum):
    """The back ends under the API."""

    DUMMY = "dummy"
    """Two of the DummyDriver: the whole suite."""
    BTRFS_NFS = "btrfs-nfs"
    BTRFS_CIFS = "btrfs-cifs"
    """The default of `isthmus up`. The suite makes its shares with the first of the protocols that it is told."""


@dataclass(frozen=True)
class Terms:
    """How a subject is started and tested. `switches` replace those of `tempest_conf` for the dummies."""

    parts: tuple[str, ...]
    back_ends: tuple[str, ...]
    has_own_configuration: bool = True
    modules: frozenset[str] = frozenset()
    """Those that are run, and all required, whatever their stage; by stages if empty."""
    samba_users: tuple[str, ...] = ()
    """Whom Samba must know before they can be let in; the first is the user of all tests that make up none."""
    switches: Mapping[str, object] = field(default_factory=dict)
    cannot: tuple[str, ...] = ()
    """Parts of names of tests, in modules that are run, of what the back ends cannot do: these are left out."""

    def covers(self, module: str) -> bool:
        """Say whether a module may be run on it."""
        return not self.modules or module in self.modules

    @property
    def required(self) -> frozenset[Stage]:
        """Return the stages that must pass; all are run where nothing else is asked for."""
        return frozenset(Stage) if self.modules else REQUIRED


_SHARES = frozenset({"test_shares", "test_shares_actions", "admin.test_shares_actions", "test_metadata"}) | {
    *("test_public_shares", "test_share_transfers", "admin.test_admin_actions", "admin.test_share_instances"),
    *("admin.test_export_locations", "admin.test_share_manage"),
}
_ACCESS = frozenset({"test_rules", "test_access_rules_metadata", "test_resource_locks"})
_SNAPSHOTS = frozenset({"test_snapshot_metadata", "test_snapshot_rules", "test_revert_to_snapshot"}) | {
    *("admin.test_share_snapshot_instances", "admin.test_snapshot_export_locations", "admin.test_snapshot_manage"),
}
SAMBA_USERS = ("isthmus_suite_user", *(f"foo_user_{number}" for number in range(44, 50)))
"""foo_user_…: `test_access_rules_metadata` lets in these, the last ones first, and waits until they are."""
POSITIVE = _SHARES | _ACCESS | _SNAPSHOTS
"""The modules with the plugin's positive tests of shares, of access to them and of snapshots."""

_DUMMY = Terms(parts=("keystone", "barbican", "api", "share-manager"), back_ends=BACK_ENDS)


def _btrfs(*protocols: str) -> Terms:
    return Terms(
        parts=("keystone", "share-manager", "nfs", "smb"),
        back_ends=("local",),
        has_own_configuration=False,
        modules=POSITIVE,
        samba_users=SAMBA_USERS,
        cannot=("revert_to_replicated_snapshot",),
        switches={
            "multi_backend": False,
            "backend_names": "local",
            "enable_protocols": ",".join(protocols),
            "username_for_user_rules": SAMBA_USERS[0],
            "run_replication_tests": False,
            "run_multiple_share_replicas_tests": False,
            "run_driver_assisted_migration_tests": False,
            "run_migration_with_preserve_snapshots_tests": False,
            "run_driver_assisted_backup_tests": False,
            "run_create_share_from_snapshot_in_another_pool_or_az_tests": False,
        },
    )


TERMS: Mapping[Subject, Terms] = {
    Subject.DUMMY: _DUMMY,
    Subject.BTRFS_NFS: _btrfs("nfs", "cifs"),
    Subject.BTRFS_CIFS: _btrfs("cifs", "nfs"),
}
