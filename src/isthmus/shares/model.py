"""Objects' statuses and the moves between them; the words are Manila's.

A status changes only by a guarded update (`store.moving`) along these tables; an unknown move raises.
"""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Status of a share instance, a snapshot instance, a group or a group's snapshot."""

    CREATING = "creating"
    CREATING_FROM_SNAPSHOT = "creating_from_snapshot"
    AVAILABLE = "available"
    INACTIVE = "inactive"
    ERROR = "error"
    DELETING = "deleting"
    ERROR_DELETING = "error_deleting"
    DEFERRED_DELETING = "deferred_deleting"
    ERROR_DEFERRED_DELETING = "error_deferred_deleting"
    MANAGE_STARTING = "manage_starting"
    MANAGE_ERROR = "manage_error"
    UNMANAGE_STARTING = "unmanage_starting"
    UNMANAGE_ERROR = "unmanage_error"
    MANAGE_ERROR_UNMANAGE_STARTING = "manage_error_unmanage_starting"
    EXTENDING = "extending"
    EXTENDING_ERROR = "extending_error"
    SHRINKING = "shrinking"
    SHRINKING_ERROR = "shrinking_error"
    SHRINKING_POSSIBLE_DATA_LOSS_ERROR = "shrinking_possible_data_loss_error"
    REVERTING = "reverting"
    REVERTING_ERROR = "reverting_error"
    RESTORING = "restoring"
    AWAITING_TRANSFER = "awaiting_transfer"
    ENSURING = "ensuring"
    MIGRATING = "migrating"
    MIGRATING_TO = "migrating_to"
    REPLICATION_CHANGE = "replication_change"
    BACKUP_CREATING = "backup_creating"
    BACKUP_RESTORING = "backup_restoring"
    BACKUP_RESTORING_ERROR = "backup_restoring_error"
    SERVER_MIGRATING = "server_migrating"
    SERVER_MIGRATING_TO = "server_migrating_to"


S = Status

TRANSITIONAL = frozenset(
    {
        S.CREATING,
        S.CREATING_FROM_SNAPSHOT,
        S.DELETING,
        S.DEFERRED_DELETING,
        S.MANAGE_STARTING,
        S.UNMANAGE_STARTING,
        S.MANAGE_ERROR_UNMANAGE_STARTING,
        S.EXTENDING,
        S.SHRINKING,
        S.REVERTING,
        S.RESTORING,
        S.AWAITING_TRANSFER,
        S.ENSURING,
        S.MIGRATING,
        S.MIGRATING_TO,
        S.REPLICATION_CHANGE,
        S.BACKUP_CREATING,
        S.BACKUP_RESTORING,
        S.SERVER_MIGRATING,
        S.SERVER_MIGRATING_TO,
    }
)
"""Statuses that a running operation will end; a row that stays in one is stuck."""

_DELETABLE = frozenset({S.AVAILABLE, S.ERROR, S.INACTIVE, S.ERROR_DELETING, S.ERROR_DEFERRED_DELETING})

SHARE_MOVES: Mapping[Status, frozenset[Status]] = {
    S.CREATING: frozenset({S.AVAILABLE, S.ERROR, S.CREATING_FROM_SNAPSHOT}),
    S.CREATING_FROM_SNAPSHOT: frozenset({S.AVAILABLE, S.ERROR}),
    S.AVAILABLE: frozenset(
        {
            *(S.DELETING, S.EXTENDING, S.SHRINKING, S.REVERTING, S.UNMANAGE_STARTING, S.AWAITING_TRANSFER, S.ENSURING),
            *(S.REPLICATION_CHANGE, S.ERROR),
        }
    ),
    S.ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING, S.REPLICATION_CHANGE}),
    S.INACTIVE: frozenset({S.DELETING, S.UNMANAGE_STARTING}),
    S.DELETING: frozenset({S.ERROR_DELETING}),
    S.ERROR_DELETING: frozenset({S.DELETING, S.UNMANAGE_STARTING}),
    S.ERROR_DEFERRED_DELETING: frozenset({S.DELETING}),
    S.MANAGE_STARTING: frozenset({S.AVAILABLE, S.MANAGE_ERROR}),
    S.MANAGE_ERROR: frozenset({S.MANAGE_ERROR_UNMANAGE_STARTING, S.DELETING}),
    S.UNMANAGE_STARTING: frozenset({S.UNMANAGE_ERROR}),
    S.UNMANAGE_ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING}),
    S.MANAGE_ERROR_UNMANAGE_STARTING: frozenset({S.UNMANAGE_ERROR}),
    S.EXTENDING: frozenset({S.AVAILABLE, S.EXTENDING_ERROR}),
    S.EXTENDING_ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING, S.REPLICATION_CHANGE}),
    S.SHRINKING: frozenset({S.AVAILABLE, S.SHRINKING_ERROR}),
    S.SHRINKING_ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING, S.REPLICATION_CHANGE}),
    S.SHRINKING_POSSIBLE_DATA_LOSS_ERROR: frozenset({S.SHRINKING, S.DELETING, S.UNMANAGE_STARTING}),
    S.REVERTING: frozenset({S.AVAILABLE, S.REVERTING_ERROR}),
    S.REVERTING_ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING, S.REPLICATION_CHANGE}),
    S.REPLICATION_CHANGE: frozenset({S.AVAILABLE, S.ERROR}),
    S.AWAITING_TRANSFER: frozenset({S.AVAILABLE}),
    S.ENSURING: frozenset({S.AVAILABLE, S.ERROR}),
}
"""A share instance's moves. An administrator's reset_status and a forced deletion do not follow them."""

SNAPSHOT_MOVES: Mapping[Status, frozenset[Status]] = {
    S.CREATING: frozenset({S.AVAILABLE, S.ERROR}),
    S.AVAILABLE: frozenset({S.DELETING, S.RESTORING, S.UNMANAGE_STARTING}),
    S.ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING}),
    # A replica may become the active one while a snapshot of it is on its way.
    S.DELETING: frozenset({S.ERROR_DELETING, S.ERROR}),
    S.ERROR_DELETING: frozenset({S.DELETING, S.UNMANAGE_STARTING}),
    S.RESTORING: frozenset({S.AVAILABLE}),
    S.MANAGE_STARTING: frozenset({S.AVAILABLE, S.MANAGE_ERROR}),
    S.MANAGE_ERROR: frozenset({S.UNMANAGE_STARTING, S.DELETING}),
    S.UNMANAGE_STARTING: frozenset({S.UNMANAGE_ERROR}),
    S.UNMANAGE_ERROR: frozenset({S.DELETING, S.UNMANAGE_STARTING}),
}
"""A snapshot instance's moves."""

GROUP_MOVES: Mapping[Status, frozenset[Status]] = {
    S.CREATING: frozenset({S.AVAILABLE, S.ERROR}),
    S.AVAILABLE: frozenset({S.DELETING}),
    S.ERROR: frozenset({S.DELETING}),
    S.DELETING: frozenset({S.ERROR}),
}
"""The moves of a share group and of its snapshots."""


class ReplicaState(StrEnum):
    """How a replica stands to the active one, which the share is written to."""

    ACTIVE = "active"
    IN_SYNC = "in_sync"
    OUT_OF_SYNC = "out_of_sync"
    ERROR = "error"


class RuleState(StrEnum):
    """State of an access rule on one instance."""

    QUEUED_TO_APPLY = "queued_to_apply"
    APPLYING = "applying"
    QUEUED_TO_UPDATE = "queued_to_update"
    UPDATING = "updating"
    ACTIVE = "active"
    ERROR = "error"
    QUEUED_TO_DENY = "queued_to_deny"
    DENYING = "denying"


class RulesStatus(StrEnum):
    """`access_rules_status` of a share instance, from all its rules."""

    ACTIVE = "active"
    SYNCING = "syncing"
    ERROR = "error"


class Kind(StrEnum):
    """What a job of a share manager does; see `isthmus.shares.jobs`."""

    CREATE_SHARE = "create_share"
    DELETE_SHARE = "delete_share"
    EXTEND_SHARE = "extend_share"
    SHRINK_SHARE = "shrink_share"
    REVERT_SHARE = "revert_share"
    MANAGE_SHARE = "manage_share"
    UNMANAGE_SHARE = "unmanage_share"
    UPDATE_ACCESS = "update_access"
    TRANSFER_SHARE = "transfer_share"
    SET_METADATA = "set_metadata"
    CREATE_SNAPSHOT = "create_snapshot"
    DELETE_SNAPSHOT = "delete_snapshot"
    MANAGE_SNAPSHOT = "manage_snapshot"
    UNMANAGE_SNAPSHOT = "unmanage_snapshot"
    UPDATE_SNAPSHOT_ACCESS = "update_snapshot_access"
    CREATE_GROUP = "create_group"
    DELETE_GROUP = "delete_group"
    CREATE_GROUP_SNAPSHOT = "create_group_snapshot"
    DELETE_GROUP_SNAPSHOT = "delete_group_snapshot"
    ENSURE_SHARES = "ensure_shares"
    CREATE_REPLICA = "create_replica"
    DELETE_REPLICA = "delete_replica"
    PROMOTE_REPLICA = "promote_replica"
    UPDATE_REPLICA = "update_replica"
    CREATE_REPLICATED_SNAPSHOT = "create_replicated_snapshot"
    DELETE_REPLICATED_SNAPSHOT = "delete_replicated_snapshot"
    UPDATE_REPLICATED_SNAPSHOT = "update_replicated_snapshot"
