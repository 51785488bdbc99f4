"""A pool's capabilities in Manila's names: what extra specs, functions and `scheduler-stats` speak of."""

from collections.abc import Mapping
from typing import Any

from isthmus.shares.drivers.facts import BackendReport, Pool


def capabilities_of(backend_name: str, report: BackendReport, pool: Pool) -> dict[str, Any]:
    """Return all that a back end and one of its pools report, as JSON can hold it; the pool's own words win.

    Source of names and defaults: Manila's "Capabilities and extra specs". A percentage that a pool does not report is
    its `reserved_percentage`.
    """
    return {
        **_of_backend(backend_name, report),
        **report.capabilities,
        "pool_name": pool.name,
        "total_capacity_gb": _size(pool.total_gib),
        "free_capacity_gb": _size(pool.free_gib),
        "allocated_capacity_gb": 0 if pool.allocated_gib is None else pool.allocated_gib,
        "reserved_percentage": pool.reserved_percentage,
        "reserved_snapshot_percentage": _or(pool.reserved_snapshot_percentage, pool.reserved_percentage),
        "reserved_share_extend_percentage": _or(pool.reserved_share_extend_percentage, pool.reserved_percentage),
        "thin_provisioning": pool.thin_provisioning,
        "max_over_subscription_ratio": pool.max_over_subscription_ratio,
        **pool.capabilities,
    }


def _of_backend(backend_name: str, report: BackendReport) -> Mapping[str, Any]:
    return {
        "share_backend_name": backend_name,
        "vendor_name": report.vendor,
        "driver_version": report.driver_version,
        "storage_protocol": report.storage_protocol or "_".join(report.protocols),
        "driver_handles_share_servers": report.driver_handles_share_servers,
        "snapshot_support": report.snapshot_support,
        "create_share_from_snapshot_support": report.create_share_from_snapshot_support,
        "revert_to_snapshot_support": report.revert_to_snapshot_support,
        "mount_snapshot_support": report.mount_snapshot_support,
        "mount_point_name_support": report.mount_point_name_support,
        "snapshot_inherit_share_access_support": False,
        "replication_type": report.replication_type,
        "replication_domain": None,
        "sg_consistent_snapshot_support": report.group_consistent_snapshot_support,
        "ipv4_support": report.ipv4_support,
        "ipv6_support": report.ipv6_support,
        "security_service_update_support": False,
        "network_allocation_update_support": False,
        "share_server_multiple_subnet_support": False,
        "share_replicas_migration_support": False,
        "encryption_support": None,
        "qos_type_support": False,
        "qos": False,
        "dedupe": False,
        "compression": False,
        "filter_function": None,
        "goodness_function": None,
    }


def _size(gib: float | None) -> float | str:
    # JSON has no infinity; these are Manila's words.
    if gib is None:
        return "unknown"
    return "infinite" if gib == float("inf") else gib


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
