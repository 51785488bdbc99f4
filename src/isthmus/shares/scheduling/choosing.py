"""The decision: which pool a share shall lie in, or which filter left none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from isthmus.control.errors import Unavailable
from isthmus.shares.scheduling import functions
from isthmus.shares.scheduling.capacity import room
from isthmus.shares.scheduling.facts import PoolState, Wanted
from isthmus.shares.scheduling.filters import FILTERS, TRIED

NO_POOLS = "no pools"
Part = TypeVar("Part")


@dataclass(frozen=True)
class Rules:
    """The filters, in the order in which they are asked, and the weighers; names are those of the configuration."""

    filters: Sequence[str]
    weighers: Sequence[str]
    multipliers: Mapping[str, float]


@dataclass(frozen=True)
class Choice:
    """The chosen pool, or the name of the filter that emptied the list (`NO_POOLS` if it was empty before)."""

    pool: PoolState | None = None
    emptied_by: str | None = None


_WEIGHERS: Mapping[str, Callable[[PoolState, Wanted], float | None]] = {
    "CapacityWeigher": room,
    "GoodnessWeigher": functions.goodness,
    "PoolWeigher": lambda pool, wanted: float(pool.host in wanted.server_pools),
}


def choose(pools: Sequence[PoolState], wanted: Wanted, rules: Rules) -> Choice:
    """Return the best pool for what is wanted. Pools of equal weight are taken by name.

    Raises `Unavailable` if the configuration names a filter or weigher that does not exist.
    """
    left = list(pools)
    if not left:
        return Choice(emptied_by=NO_POOLS)
    # What was tried is never tried again, whether the configuration says so or not.
    for name in dict.fromkeys([TRIED, *rules.filters]):
        passes = _known(FILTERS, name, "scheduler_filters")
        left = [pool for pool in left if passes(pool, wanted)]
        if not left:
            return Choice(emptied_by=name)
    return Choice(_best(left, wanted, rules))


def _best(pools: list[PoolState], wanted: Wanted, rules: Rules) -> PoolState:
    if len(pools) == 1:
        return pools[0]
    weights = dict.fromkeys((pool.host for pool in pools), 0.0)
    for name in rules.weighers:
        weigh = _known(_WEIGHERS, name, "scheduler_weighers")
        multiplier = rules.multipliers.get(name, 1.0)
        for pool, weight in zip(pools, _normalised([weigh(pool, wanted) for pool in pools], multiplier), strict=True):
            weights[pool.host] += weight * multiplier
    return min(pools, key=lambda pool: (-weights[pool.host], pool.host))


def _normalised(weights: Sequence[float | None], multiplier: float) -> list[float]:
    """Return weights between 0 and 1, so that weighers count alike; the unknown come last, the endless first."""
    finite = [weight for weight in weights if weight is not None and weight != float("inf")]
    least, most = min(finite, default=0.0), max(finite, default=0.0)
    unknown = least - 1 if multiplier > 0 else most + 1
    clear = [unknown if weight is None else min(weight, most + 1) for weight in weights]
    low, high = min(clear), max(clear)
    return [0.0 if high == low else (weight - low) / (high - low) for weight in clear]


def _known(parts: Mapping[str, Part], name: str, option: str) -> Part:
    if name not in parts:
        raise Unavailable(f"[shares] {option} names {name}; there are {', '.join(sorted(parts))}: correct it")
    return parts[name]
