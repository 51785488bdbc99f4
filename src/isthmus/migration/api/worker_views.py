"""How workers are shown: as they were last heard of, with how long ago that was."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from isthmus.migration.model import ServiceStatus
from isthmus.migration.placement_tables import WorkerRow
from isthmus.migration.store import workers

Shown = Mapping[str, list[dict[str, Any]]]


def workers_of(session: Session, hosts: Sequence[str], now: datetime) -> Shown:
    """Return the workers of these hosts by host."""
    held = workers.places_held(session)
    found = workers.of_hosts(session, hosts)
    return {host: [_shown(row, held.get(row.id, 0), now) for row in rows] for host, rows in found.items()}


def _shown(row: WorkerRow, disk_steps: int, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": ServiceStatus.UP if workers.is_up(row, now) else ServiceStatus.DOWN,
        "process_id": row.process_id,
        "regions": row.regions,
        "slots": row.slots,
        "disk_steps": disk_steps,
        "running": row.running,
        "staging_bytes": row.staging_total,
        "staging_free_bytes": row.staging_free,
        "link_bandwidth": row.link_bandwidth,
        "bandwidth_limit": row.copy_limit,
        "seen_at": row.seen_at.isoformat(),
        "seconds_silent": max(0, round((now - row.seen_at).total_seconds())),
    }
