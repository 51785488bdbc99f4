"""Options of the shares service: `[shares]` and `[shares_quota]`. Its back ends have sections of their own."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

SHARES: list[Any] = [
    cfg.ListOpt(
        "enabled_backends",
        default=[],
        help="Back ends, each a section of this file with at least `driver`. All their other options are the driver's.",
    ),
    cfg.StrOpt("host", help="Name of this machine in `host@back end#pool`; default: the machine's host name."),
    cfg.ListOpt("enabled_share_protocols", default=["NFS", "CIFS"], help="Protocols that shares may be asked for."),
    cfg.StrOpt("default_share_type", help="Name of the share type of shares that name none."),
    cfg.StrOpt("default_share_group_type", help="Name of the group type of groups that name none."),
    cfg.StrOpt("storage_availability_zone", default="nova", help="Availability zone of this machine's back ends."),
    cfg.StrOpt("default_availability_zone", help="Zone of shares that name none; default: any."),
    cfg.BoolOpt(
        "use_scheduler_creating_share_from_snapshot",
        default=False,
        help="Let shares made from snapshots lie in other pools and zones than the snapshot's share.",
    ),
    cfg.IntOpt("scheduler_max_attempts", default=3, min=1, help="Pools to try for one share."),
    cfg.ListOpt(
        "scheduler_filters",
        default=[
            "OnlyHostFilter",
            "AvailabilityZoneFilter",
            "CapacityFilter",
            "CapabilitiesFilter",
            "DriverFilter",
            "ShareReplicationFilter",
            "AffinityFilter",
            "AntiAffinityFilter",
            "CreateFromSnapshotFilter",
        ],
        help="Filters, in the order in which they are asked.",
    ),
    cfg.ListOpt(
        "scheduler_weighers", default=["CapacityWeigher", "GoodnessWeigher", "PoolWeigher"], help="Weighers of pools."
    ),
    cfg.FloatOpt("capacity_weight_multiplier", default=1.0, help="Weight of free space; negative stacks shares."),
    cfg.FloatOpt("pool_weight_multiplier", default=1.0, help="Weight of being in the pool of the share's server."),
    cfg.IntOpt("report_interval", default=60, min=1, help="Seconds between two reports of a back end's capacity."),
    cfg.IntOpt("service_down_time", default=60, min=1, help="Seconds without a heartbeat until a manager is down."),
    cfg.IntOpt("heartbeat_interval", default=10, min=1, help="Seconds between two heartbeats of a manager."),
    cfg.FloatOpt("job_poll_interval", default=0.1, min=0.01, help="Seconds between two looks for work when idle."),
    cfg.IntOpt("job_threads", default=8, min=1, max=256, help="Operations of one back end carried out at once."),
    cfg.IntOpt("job_lease", default=15, min=2, help="Seconds after which a dead manager's work is another's."),
    cfg.IntOpt("replica_state_update_interval", default=300, min=1,
               help="Seconds between two looks of a back end at its replicas; looks are taken each minute."),
    cfg.IntOpt("soft_deleted_share_retention_time", default=604800, min=0, help="Seconds in the recycle bin."),
    cfg.IntOpt("transfer_retention_time", default=300, min=0, help="Seconds until an unaccepted transfer ends."),
    cfg.IntOpt("message_ttl", default=2592000, min=1, help="Seconds until a user message is removed."),
    cfg.ListOpt("admin_only_metadata", default=["__affinity_same_host", "__affinity_different_host"],
                help="Metadata keys that only administrators may change."),
    cfg.ListOpt("admin_only_el_metadata", default=["preferred"],
                help="Metadata keys of export locations that only administrators may change."),
    cfg.ListOpt("driver_updatable_metadata", default=[], help="Metadata keys whose changes back ends are told of."),
]  # fmt: skip

QUOTAS: Mapping[str, int] = {
    "shares": 50,
    "gigabytes": 1000,
    "per_share_gigabytes": -1,
    "snapshots": 50,
    "snapshot_gigabytes": 1000,
    "share_networks": 10,
    "share_groups": 50,
    "share_group_snapshots": 50,
    "share_replicas": 100,
    "replica_gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "encryption_keys": 100,
}
"""Resources that have quotas, with Manila's defaults; -1 is no limit."""

SHARES_QUOTA: list[Any] = [
    cfg.IntOpt(name, default=limit, min=-1, help=f"Default quota of {name.replace('_', ' ')}; -1 is no limit.")
    for name, limit in QUOTAS.items()
]
