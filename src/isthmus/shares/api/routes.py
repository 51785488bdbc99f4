"""All routes of the shares API, gathered from the modules of its resources."""

from isthmus.shares.api import (
    access_rules,
    availability_zones,
    export_locations,
    extensions,
    limits,
    messages,
    qos_types,
    quota_class_sets,
    quota_sets,
    resource_locks,
    scheduler_stats,
    security_services,
    services,
    share_backups,
    share_group_snapshots,
    share_group_types,
    share_groups,
    share_instances,
    share_network_subnets,
    share_networks,
    share_replicas,
    share_servers,
    share_transfers,
    share_types,
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
    gathered += [*extensions.ROUTES, *availability_zones.ROUTES, *limits.ROUTES, *services.ROUTES, *share_types.ROUTES]
    gathered += [*quota_sets.ROUTES, *quota_class_sets.ROUTES, *scheduler_stats.ROUTES, *share_group_types.ROUTES]
    gathered += [*security_services.ROUTES, *share_networks.ROUTES, *share_network_subnets.ROUTES]
    gathered += [*share_servers.ROUTES, *qos_types.ROUTES]
    return Routes(gathered)
