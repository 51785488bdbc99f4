"""What a driver's own functions say of a pool: whether a share may lie there, and how well it would."""

import logging
from typing import Any

from isthmus.shares.scheduling.expressions import BadExpression, Facts, evaluate
from isthmus.shares.scheduling.facts import PoolState, Wanted

log = logging.getLogger(__name__)

BEST = 100


def may_lie(pool: PoolState, wanted: Wanted) -> bool:
    """Say whether the pool's `filter_function` lets the share in; one that fails does not."""
    text = pool.capabilities.get("filter_function")
    if text is None or ("share.size" in str(text) and not wanted.share):
        return True
    try:
        return bool(evaluate(str(text), _facts(pool, wanted)))
    except BadExpression as error:
        log.warning("pool %s: its filter_function fails: %s", pool.host, error)
        return False


def goodness(pool: PoolState, wanted: Wanted) -> float:
    """Return the pool's `goodness_function`, from 0 to 100; 0 without one, and if it fails or passes these limits."""
    text = pool.capabilities.get("goodness_function")
    if text is None:
        return 0
    try:
        found = evaluate(str(text), _facts(pool, wanted))
    except BadExpression as error:
        log.warning("pool %s: its goodness_function fails: %s", pool.host, error)
        return 0
    if isinstance(found, bool):
        return BEST if found else 0
    if isinstance(found, int | float) and 0 <= found <= BEST:
        return found
    log.warning("pool %s: its goodness_function gives %r, not 0 to %s", pool.host, found, BEST)
    return 0


def _facts(pool: PoolState, wanted: Wanted) -> Facts:
    stats: dict[str, Any] = {
        **pool.capabilities,
        "host": pool.host,
        "total_capacity_gb": pool.total_gib,
        "free_capacity_gb": pool.free_gib,
        "provisioned_capacity_gb": pool.provisioned_gib,
    }
    return {"stats": stats, "capabilities": pool.capabilities, "extra": wanted.extra_specs, "share": wanted.share}
