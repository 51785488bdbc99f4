"""What a Manila driver says about itself (`get_share_stats`), as a report.

Numbers may be told as text, "unknown" or "infinite". Rules of pools are those of `manila.scheduler.host_manager`: a
driver that names none has one, named after the back end; what a pool does not tell is as the back end tells.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.shares.drivers.facts import BackendReport, Pool

_POOL_FACTS = {
    "pool_name",
    "total_capacity_gb",
    "free_capacity_gb",
    "allocated_capacity_gb",
    "reserved_percentage",
    "reserved_snapshot_percentage",
    "reserved_share_extend_percentage",
    "thin_provisioning",
    "max_over_subscription_ratio",
}
_BACKEND_FACTS = {
    "share_backend_name",
    "vendor_name",
    "driver_version",
    "storage_protocol",
    "driver_handles_share_servers",
    "snapshot_support",
    "create_share_from_snapshot_support",
    "revert_to_snapshot_support",
    "mount_snapshot_support",
    "mount_point_name_support",
    "replication_type",
    "share_group_stats",
    "ipv4_support",
    "ipv6_support",
    "pools",
}


def report(stats: Mapping[str, Any], backend: str) -> BackendReport:
    """Return the report of a back end of this name."""
    protocol = str(stats.get("storage_protocol") or "")
    return BackendReport(
        protocols=tuple(part for part in protocol.upper().split("_") if part),
        pools=_pools(stats, backend),
        driver_handles_share_servers=bool(stats.get("driver_handles_share_servers")),
        snapshot_support=bool(stats.get("snapshot_support")),
        create_share_from_snapshot_support=bool(stats.get("create_share_from_snapshot_support")),
        revert_to_snapshot_support=bool(stats.get("revert_to_snapshot_support")),
        mount_snapshot_support=bool(stats.get("mount_snapshot_support")),
        mount_point_name_support=bool(stats.get("mount_point_name_support")),
        replication_type=stats.get("replication_type"),
        group_consistent_snapshot_support=(stats.get("share_group_stats") or {}).get("consistent_snapshot_support"),
        ipv4_support=bool(stats.get("ipv4_support", True)),
        ipv6_support=bool(stats.get("ipv6_support", False)),
        storage_protocol=protocol,
        vendor=str(stats.get("vendor_name") or ""),
        driver_version=str(stats.get("driver_version") or ""),
        capabilities=_others(stats, _BACKEND_FACTS | _POOL_FACTS),
    )


def _pools(stats: Mapping[str, Any], backend: str) -> tuple[Pool, ...]:
    told = stats.get("pools")
    whole = {key: stats[key] for key in _POOL_FACTS if key in stats}
    if told is None:
        return (_pool({**whole, "pool_name": stats.get("share_backend_name") or backend}),)
    return tuple(_pool({**whole, **pool}) for pool in told)


def _pool(told: Mapping[str, Any]) -> Pool:
    return Pool(
        name=str(told["pool_name"]),
        total_gib=_gib(told.get("total_capacity_gb")),
        free_gib=_gib(told.get("free_capacity_gb")),
        allocated_gib=_gib(told.get("allocated_capacity_gb")),
        reserved_percentage=_gib(told.get("reserved_percentage")) or 0,
        reserved_snapshot_percentage=_gib(told.get("reserved_snapshot_percentage")),
        reserved_share_extend_percentage=_gib(told.get("reserved_share_extend_percentage")),
        thin_provisioning=_can_be_thin(told.get("thin_provisioning")),
        max_over_subscription_ratio=_gib(told.get("max_over_subscription_ratio")) or 20.0,
        capabilities=_others(told, _POOL_FACTS),
    )


def _gib(told: Any) -> float | None:
    if told is None or str(told).lower() == "unknown":
        return None
    return float("inf") if str(told).lower() == "infinite" else float(told)


def _can_be_thin(told: Any) -> bool:
    # A pool that can do both says [True, False].
    return True in told if isinstance(told, (list, tuple, set)) else told in (True, "True", "true")


def _others(told: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key not in known and value is not None}
