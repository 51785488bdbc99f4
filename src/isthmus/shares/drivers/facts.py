"""What a driver is told and what it answers: shares, snapshots, rules, pools, in no one back end's words.

Sizes are whole GiB, as in Manila's API. Ids are UUIDs as text. A driver names what it makes after `instance_id`
(`snapshot_id` of a snapshot's instance), which never changes while the object lives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from isthmus.shares.model import ReplicaState


class AccessType(StrEnum):
    """By what a client is known."""

    IP = "ip"
    USER = "user"
    CERT = "cert"
    CEPHX = "cephx"


class AccessLevel(StrEnum):
    """What a client may do."""

    RW = "rw"
    RO = "ro"


@dataclass(frozen=True)
class ExportLocation:
    """One way to mount: `path` is the protocol's own form (`host:/path`, `\\\\host\\share`).

    `admin_only` paths are shown to administrators alone; `preferred` ones are the best way; `metadata` is shown beside.
    """

    path: str
    admin_only: bool = False
    preferred: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AccessRule:
    """One client (or network of clients) that may mount. `key` is what the back end made for it, if it makes keys."""

    rule_id: str
    type: AccessType
    to: str
    level: AccessLevel
    key: str | None = None


@dataclass(frozen=True)
class ShareFacts:
    """One instance of a share: what the back end keeps.

    `host` is `machine@back end#pool`. `exports` are those that the driver gave earlier. `private` is what the driver
    asked to be kept with this instance (`Kept.private`); it is text, never a secret. `rules` are those that hold; they
    are only told to `revert_share` and `accept_transfer`. `replica_state` is None of a share that is not replicated;
    `read_only` says that clients may only read this replica.
    """

    instance_id: str
    share_id: str
    size_gib: int
    protocol: str
    host: str
    project_id: str
    user_id: str
    name: str | None = None
    share_type_id: str | None = None
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    exports: tuple[ExportLocation, ...] = ()
    private: Mapping[str, str] = field(default_factory=dict)
    mount_point_name: str | None = None
    encryption_key_ref: str | None = None
    snapshot_instance_id: str | None = None
    share_group_id: str | None = None
    share_network_id: str | None = None
    share_server_id: str | None = None
    status: str = "available"
    rules: tuple[AccessRule, ...] = ()
    availability_zone: str | None = None
    replication_type: str | None = None
    replica_state: str | None = None
    read_only: bool = False

    @property
    def pool(self) -> str:
        """Return the pool's name, the part of `host` after the `#`."""
        return self.host.partition("#")[2]


@dataclass(frozen=True)
class SnapshotFacts:
    """One instance of a snapshot and the share instance that it is of. `rules` are only told to `revert_share`."""

    instance_id: str
    snapshot_id: str
    share: ShareFacts
    size_gib: int
    provider_location: str | None = None
    exports: tuple[ExportLocation, ...] = ()
    private: Mapping[str, str] = field(default_factory=dict)
    group_snapshot_id: str | None = None
    status: str = "available"
    rules: tuple[AccessRule, ...] = ()


@dataclass(frozen=True)
class AccessChange:
    """All rules that shall hold, and how they differ from what was last applied.

    `wanted` is the truth: applying it whole, whatever came before, is right. The others tell a back end that can only
    add and remove what to do; all three are empty when the whole set shall be put right (after a restart or an error).
    `gone` are then the rules that were being removed when that happened, and may hold still.
    """

    wanted: tuple[AccessRule, ...]
    added: tuple[AccessRule, ...] = ()
    removed: tuple[AccessRule, ...] = ()
    changed: tuple[AccessRule, ...] = ()
    gone: tuple[AccessRule, ...] = ()


@dataclass(frozen=True)
class RuleOutcome:
    """What became of one rule: `error` says why it could not be applied; `key` is given to the client's owner."""

    key: str | None = None
    error: str | None = None


class Progress(StrEnum):
    """Whether a creation from a snapshot has ended."""

    DONE = "done"
    UNDER_WAY = "under-way"


@dataclass(frozen=True)
class Creation:
    """A share made, or being made: `percent` counts while it is under way. `private` is kept with the instance.

    `metadata` is added to the share's own, for its users to read (how to mount it, say).
    """

    exports: tuple[ExportLocation, ...]
    progress: Progress = Progress.DONE
    percent: int = 100
    private: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SnapshotMade:
    """A snapshot taken. `provider_location` is the back end's name; `exports` tell how to mount it, if one can."""

    provider_location: str | None = None
    exports: tuple[ExportLocation, ...] = ()
    private: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplicaMade:
    """A replica made. `rules` are the outcomes of rules that could not be applied to it, or got a key."""

    exports: tuple[ExportLocation, ...]
    state: ReplicaState
    rules: Mapping[str, RuleOutcome] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplicaChange:
    """What became of one replica when another was promoted, or it itself. None is as before."""

    state: ReplicaState | None = None
    exports: tuple[ExportLocation, ...] | None = None


@dataclass(frozen=True)
class ReplicaSnapshot:
    """One snapshot of a replicated share: its instance with the active replica and the one with another replica."""

    active: SnapshotFacts
    own: SnapshotFacts


class SnapshotState(StrEnum):
    """How far an instance of a replicated share's snapshot is; replicas may follow the active one late."""

    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"


@dataclass(frozen=True)
class SnapshotOutcome:
    """What became of one instance of a replicated share's snapshot. None is as before."""

    state: SnapshotState
    provider_location: str | None = None
    exports: tuple[ExportLocation, ...] | None = None


@dataclass(frozen=True)
class Adopted:
    """What was found where a share (or, without `exports`, a snapshot) was to be taken under management."""

    size_gib: int
    exports: tuple[ExportLocation, ...] = ()
    provider_location: str | None = None
    private: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pool:
    """One place of a back end where shares lie. `None` sizes are unknown, `float("inf")` is without end; GiB.

    `capabilities` are what share types' extra specs are compared with; `allocated_gib` is what the shares in it were
    promised, if the back end knows.
    """

    name: str
    total_gib: float | None
    free_gib: float | None
    allocated_gib: float | None = None
    reserved_percentage: float = 0
    reserved_snapshot_percentage: float | None = None
    reserved_share_extend_percentage: float | None = None
    thin_provisioning: bool = False
    max_over_subscription_ratio: float = 20.0
    capabilities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BackendReport:
    """A back end's own word about itself: its pools and what it can do, and whether it answers.

    `protocols` are upper-case names ("NFS", "CIFS", "CEPHFS"). `answers` is False when the manager runs but the
    storage behind it does not answer; `trouble` then says why.
    """

    protocols: tuple[str, ...]
    pools: tuple[Pool, ...]
    driver_handles_share_servers: bool = False
    snapshot_support: bool = False
    create_share_from_snapshot_support: bool = False
    revert_to_snapshot_support: bool = False
    mount_snapshot_support: bool = False
    mount_point_name_support: bool = False
    replication_type: str | None = None
    group_consistent_snapshot_support: str | None = None
    ipv4_support: bool = True
    ipv6_support: bool = False
    storage_protocol: str = ""
    vendor: str = "Isthmus"
    driver_version: str = "1.0"
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    answers: bool = True
    trouble: str | None = None
