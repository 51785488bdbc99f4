"""How much of a pool is left for a request, thick or thin.

Source: Manila's capacity filter and weigher. A pool may be promised `max_over_subscription_ratio` times if it is thin
and the share type does not ask for a thick share. The reserved part of a pool is never given.
"""

import math

from isthmus.shares.scheduling.extra_specs import spec_truth
from isthmus.shares.scheduling.facts import PoolState, Wanted


def has_room(pool: PoolState, wanted: Wanted) -> bool:
    """Say whether the request fits. A pool that does not know its space is tried; it can refuse by itself."""
    if pool.free_gib is None:
        return True
    reserved = _reserved(pool, wanted)
    if pool.total_gib is None:
        return reserved == 0 and wanted.size_gib <= pool.free_gib
    if pool.total_gib <= 0:
        return False
    free = _unreserved(pool.total_gib, pool.free_gib, reserved)
    if not _thin(pool, wanted):
        return free >= wanted.size_gib
    ratio = _ratio(pool)
    if ratio < 1 or (pool.provisioned_gib + wanted.size_gib) / pool.total_gib > ratio:
        return False
    return free * ratio >= wanted.size_gib


def room(pool: PoolState, wanted: Wanted) -> float | None:
    """Return how much could still be placed, in GiB; None if that is not known."""
    if pool.total_gib is None or pool.free_gib is None:
        return None
    reserved = _reserved(pool, wanted)
    if math.isinf(pool.total_gib) or not _thin(pool, wanted):
        return _unreserved(pool.total_gib, pool.free_gib, reserved)
    return math.floor(pool.total_gib * _ratio(pool) - pool.provisioned_gib - pool.total_gib * reserved)


def _reserved(pool: PoolState, wanted: Wanted) -> float:
    return pool.number(wanted.reserved_for, pool.number("reserved_percentage", 0)) / 100


def _unreserved(total: float, free: float, reserved: float) -> float:
    if math.isinf(free):
        return free
    left = free if math.isinf(total) else free - total * reserved
    return math.floor(left)


def _ratio(pool: PoolState) -> float:
    return pool.number("max_over_subscription_ratio", 1.0)


def _thin(pool: PoolState, wanted: Wanted) -> bool:
    asked = wanted.extra_specs.get("thin_provisioning", wanted.extra_specs.get("capabilities:thin_provisioning"))
    return pool.is_thin and spec_truth(asked, default=True)
