"""Filters: each says whether a pool may take a share. Names are those of Manila's configuration."""

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from isthmus.shares.scheduling import extra_specs, functions
from isthmus.shares.scheduling.capacity import has_room
from isthmus.shares.scheduling.facts import PoolState, Wanted

Filter = Callable[[PoolState, Wanted], bool]


def only_host(pool: PoolState, wanted: Wanted) -> bool:
    """An administrator may name the one pool."""
    return wanted.only_host in (None, pool.host)


def availability_zone(pool: PoolState, wanted: Wanted) -> bool:
    """The asked zone, and one of those that the share type allows."""
    if wanted.availability_zone not in (None, pool.availability_zone):
        return False
    return not wanted.availability_zones or pool.availability_zone in wanted.availability_zones


def capabilities(pool: PoolState, wanted: Wanted) -> bool:
    """All that the share type's extra specs ask for."""
    if wanted.extra_specs.get("default_qos_type") and not pool.capabilities.get("qos_type_support"):
        return False
    return extra_specs.satisfied(pool.capabilities, wanted.extra_specs)


def affinity(pool: PoolState, wanted: Wanted) -> bool:
    """Where the named shares lie."""
    return wanted.same_hosts is None or pool.host in wanted.same_hosts


def anti_affinity(pool: PoolState, wanted: Wanted) -> bool:
    """Where none of the named shares lies."""
    return pool.host not in wanted.different_hosts


def create_from_snapshot(pool: PoolState, wanted: Wanted) -> bool:
    """The snapshot's own back end, or one that it replicates to."""
    if wanted.snapshot_host is None or pool.backend == wanted.snapshot_host.partition("#")[0]:
        return True
    domain = wanted.replication_domain
    return domain is not None and domain == pool.capabilities.get("replication_domain")


def replication(pool: PoolState, wanted: Wanted) -> bool:
    """For a share that may be replicated: a pool that replicates; for a replica: to the active one, with none yet."""
    if wanted.extra_specs.get("replication_type") is None:
        return True
    domain = pool.capabilities.get("replication_domain")
    if domain is None or pool.host in wanted.replica_hosts:
        return False
    return not wanted.replica_hosts or str(domain) == wanted.replication_domain


def not_tried(pool: PoolState, wanted: Wanted) -> bool:
    """No pool that failed this share before."""
    return pool.host not in wanted.tried


def by_query(pool: PoolState, wanted: Wanted) -> bool:
    """A JSON expression of the caller, as `[">=", "$free_capacity_gb", 10]`; one that makes no sense lets none in."""
    if not wanted.query:
        return True
    try:
        return bool(_answer(json.loads(wanted.query), pool))
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


def _answer(query: Any, pool: PoolState) -> Any:
    if isinstance(query, str):
        return _looked_up(query[1:], pool) if query.startswith("$") else query
    if not isinstance(query, list):
        return query
    if not query:
        return True
    arguments = [each for each in (_answer(part, pool) for part in query[1:]) if each is not None]
    return _COMMANDS[query[0]](arguments)


def _looked_up(path: str, pool: PoolState) -> Any:
    facts: dict[str, Any] = {
        **pool.capabilities,
        "host": pool.host,
        "capabilities": pool.capabilities,
        "total_capacity_gb": pool.total_gib,
        "free_capacity_gb": pool.free_gib,
        "provisioned_capacity_gb": pool.provisioned_gib,
    }
    found: Any = facts
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _first_to_all(holds: Callable[[Any, Any], bool]) -> Callable[[list[Any]], bool]:
    return lambda given: len(given) > 1 and all(holds(given[0], each) for each in given[1:])


_COMMANDS: Mapping[str, Callable[[list[Any]], Any]] = {
    "=": _first_to_all(operator.eq),
    "<": _first_to_all(operator.lt),
    ">": _first_to_all(operator.gt),
    "<=": _first_to_all(operator.le),
    ">=": _first_to_all(operator.ge),
    "in": lambda given: len(given) > 1 and given[0] in given[1:],
    "not": lambda given: any(not each for each in given),
    "or": any,
    "and": all,
}

TRIED = "RetryFilter"

FILTERS: Mapping[str, Filter] = {
    "OnlyHostFilter": only_host,
    "AvailabilityZoneFilter": availability_zone,
    "CapacityFilter": has_room,
    "CapabilitiesFilter": capabilities,
    "DriverFilter": functions.may_lie,
    "ShareReplicationFilter": replication,
    "JsonFilter": by_query,
    "AffinityFilter": affinity,
    "AntiAffinityFilter": anti_affinity,
    "CreateFromSnapshotFilter": create_from_snapshot,
    TRIED: not_tried,
    "IgnoreAttemptedHostsFilter": not_tried,
}
