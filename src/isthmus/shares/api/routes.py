"""All routes of the shares API, gathered from the modules of its resources."""

from isthmus.shares.api import (
    access_rules,
    export_locations,
    messages,
    resource_locks,
    share_backups,
    share_group_snapshots,
    share_groups,
    share_instances,
    share_replicas,
    share_transfers,
    shares,
    snapshot_instances,
    snapshots,
)
from isthmus.shares.api.routing import Route, Routes


def all_routes() -> Routes:
    """Return the routes of every resource."""
    gathered: list[Route] = []
    gathered += [*messages.ROUTES, *resource_locks.ROUTES]
    gathered += [*snapshots.ROUTES, *snapshot_instances.ROUTES, *share_transfers.ROUTES]
    gathered += [*shares.ROUTES, *access_rules.ROUTES, *export_locations.ROUTES, *share_instances.ROUTES]
    gathered += [*share_replicas.ROUTES, *share_backups.ROUTES]
    gathered += [*share_groups.ROUTES, *share_group_snapshots.ROUTES]
    return Routes(gathered)
