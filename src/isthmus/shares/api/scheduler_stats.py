"""Pools as the scheduler sees them: those of managers that live. Filters are regular expressions, as in Manila."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from isthmus.control.errors import InvalidInput
from isthmus.shares.api import lists
from isthmus.shares.api.call import Call
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.scheduling.extra_specs import compared, satisfied
from isthmus.shares.store import share_type_facts
from isthmus.shares.tables import PoolRow, ServiceRow

_FILTERED = ("name", "host", "backend", "pool")


def index(call: Call) -> dict[str, Any]:
    """List pools by name."""
    call.allow("scheduler_stats:pools:index")
    return {"pools": [{name: pool[name] for name in _FILTERED} for pool in _pools(call)]}


def detail(call: Call) -> dict[str, Any]:
    """List pools with what they can do."""
    call.allow("scheduler_stats:pools:detail")
    return {"pools": _pools(call)}


def _pools(call: Call) -> list[dict[str, Any]]:
    filters = dict(call.query)
    named = filters.pop("share_type", None) if call.version >= since(23) else None
    specs = _specs(call, named) if named else {}
    if any(name not in _FILTERED for name in filters):
        return []
    patterns = {name: _pattern(name, text) for name, text in filters.items()}
    return [
        pool
        for pool in map(_pool, _rows(call))
        if all(pattern.match(pool[name]) for name, pattern in patterns.items())
        and satisfied(pool["capabilities"], specs)
    ]


def _rows(call: Call) -> list[Mapping[str, Any]]:
    alive = call.now - timedelta(seconds=call.conf.shares.service_down_time)
    known = (
        select(PoolRow.host, PoolRow.capabilities, PoolRow.reported_at)
        .join(ServiceRow, ServiceRow.host == PoolRow.backend)
        .where(ServiceRow.heartbeat_at >= alive)
        .order_by(PoolRow.host)
    )
    return list(lists.rows(call.session, known))


def _pool(row: Mapping[str, Any]) -> dict[str, Any]:
    backend, _, pool = row["host"].partition("#")
    host, _, name = backend.partition("@")
    capabilities = {**row["capabilities"], "timestamp": row["reported_at"].isoformat()}
    return {"name": row["host"], "host": host, "backend": name, "pool": pool, "capabilities": capabilities}


def _specs(call: Call, named: str) -> dict[str, str]:
    found = share_type_facts.usable(call.session, named, None)
    if found is None:
        raise InvalidInput(f"Share type {named} not found.")
    return compared(found.specs, None)


def _pattern(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidInput(f"The filter {name} is no regular expression: {error}") from None


ROUTES = (
    Route("GET", "/scheduler-stats/pools", index),
    Route("GET", "/scheduler-stats/pools/detail", detail),
)
