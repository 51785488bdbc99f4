"""Limits: what the caller's project may have and what it has. There are no limits of calls in a time."""

from typing import Any

from isthmus.shares.api.call import Call
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import OLDEST, Version, since
from isthmus.shares.store import usage

_SHOWN: tuple[tuple[str, str, str, Version], ...] = (
    ("shares", "maxTotalShares", "totalSharesUsed", OLDEST),
    ("snapshots", "maxTotalShareSnapshots", "totalShareSnapshotsUsed", OLDEST),
    ("gigabytes", "maxTotalShareGigabytes", "totalShareGigabytesUsed", OLDEST),
    ("snapshot_gigabytes", "maxTotalSnapshotGigabytes", "totalSnapshotGigabytesUsed", OLDEST),
    ("share_networks", "maxTotalShareNetworks", "totalShareNetworksUsed", OLDEST),
    ("share_replicas", "maxTotalShareReplicas", "totalShareReplicasUsed", since(53)),
    ("replica_gigabytes", "maxTotalReplicaGigabytes", "totalReplicaGigabytesUsed", since(53)),
    ("share_groups", "maxTotalShareGroups", "totalShareGroupsUsed", since(58)),
    ("share_group_snapshots", "maxTotalShareGroupSnapshots", "totalShareGroupSnapshotsUsed", since(58)),
    ("backups", "maxTotalShareBackups", "totalShareBackupsUsed", since(80)),
    ("backup_gigabytes", "maxTotalBackupGigabytes", "totalBackupGigabytesUsed", since(80)),
)
"""Resource, the names of its limit and its use, and since when both are shown."""


def index(call: Call) -> dict[str, Any]:
    """Show the limits."""
    limits = usage.project_limits(call.session, call.conf, call.project_id)
    used = usage.in_use(call.session, call.project_id)
    shown = [line for line in _SHOWN if call.version >= line[3]]
    absolute = {most: limits[resource] for resource, most, _, _ in shown}
    absolute |= {in_use: used[resource] for resource, _, in_use, _ in shown}
    return {"limits": {"rate": [], "absolute": absolute}}


ROUTES = (Route("GET", "/limits", index),)
