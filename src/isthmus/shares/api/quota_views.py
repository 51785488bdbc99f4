"""How limits are shown: which resources there are since which version."""

from collections.abc import Mapping
from typing import Any

from isthmus.shares.api.versions import OLDEST, Version, since

SINCE: Mapping[str, Version] = {
    "shares": OLDEST,
    "gigabytes": OLDEST,
    "snapshots": OLDEST,
    "snapshot_gigabytes": OLDEST,
    "share_networks": OLDEST,
    "share_groups": since(40),
    "share_group_snapshots": since(40),
    "share_replicas": since(53),
    "replica_gigabytes": since(53),
    "per_share_gigabytes": since(62),
    "backups": since(80),
    "backup_gigabytes": since(80),
    "encryption_keys": since(90),
}
"""Resources by the version from which they are part of the API."""
NOT_OF_TYPES = frozenset({"share_networks", "share_groups", "share_group_snapshots"})
"""Resources that are not shown for a share type."""


def shown(
    limits: Mapping[str, Any], version: Version, *, identity: str | None = None, of_type: bool = False
) -> dict[str, Any]:
    """Return what stands for each limit that callers of this version see; `identity` tells whose limits they are."""
    view = {
        name: limits[name]
        for name, first in SINCE.items()
        if version >= first and not (of_type and name in NOT_OF_TYPES)
    }
    return view if identity is None else {**view, "id": identity}
