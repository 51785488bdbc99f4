"""What a btrfs back end says about itself."""

import os
from dataclasses import dataclass

from isthmus.shares.drivers.btrfs import pool as pools
from isthmus.shares.drivers.btrfs.options import Options
from isthmus.shares.drivers.facts import BackendReport
from isthmus.shares.drivers.facts import Pool as PoolReport

GIB = 1 << 30


@dataclass(frozen=True)
class Capacity:
    """Sizes in bytes."""

    total: int
    free: int
    promised: int


def capacity(pool: pools.Pool) -> Capacity:
    """Ask the file system."""
    found = os.fstatvfs(pool.descriptor)
    unit = found.f_frsize
    return Capacity(found.f_blocks * unit, found.f_bavail * unit, pool.promised())


def report(options: Options, protocols: tuple[str, ...], found: Capacity | None, trouble: str | None) -> BackendReport:
    """Return the report; without a capacity the sizes are unknown."""
    pool = PoolReport(
        name=options.pool,
        total_gib=found.total / GIB if found else None,
        free_gib=found.free / GIB if found else None,
        allocated_gib=found.promised / GIB if found else None,
        reserved_percentage=options.reserved_percentage,
        reserved_snapshot_percentage=options.reserved_snapshot_percentage,
        reserved_share_extend_percentage=options.reserved_extend_percentage,
        thin_provisioning=options.thin,
        max_over_subscription_ratio=options.over_subscription,
        capabilities={"qos": False, "dedupe": False, "compression": False},
    )
    return BackendReport(
        protocols=protocols,
        pools=(pool,),
        snapshot_support=True,
        create_share_from_snapshot_support=True,
        revert_to_snapshot_support=True,
        mount_snapshot_support=True,
        mount_point_name_support=True,
        ipv6_support=True,
        storage_protocol="_".join(protocols),
        vendor="Isthmus",
        answers=trouble is None,
        trouble=trouble,
    )
