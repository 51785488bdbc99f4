"""What earlier work between two endpoints of a project has measured: the results of copies and of deployments."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.migration.model import ExecutionStatus, TaskStatus, TaskType
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TaskRow, TransferRow

LATEST = 50
"""How many copies, and how many deployments, are looked at: the newest tell best how the way is now."""

Pass = dict[str, Any]
"""The result of a REPLICATE_DISKS task, see `recording`."""


def passes(session: Session, project_id: str, origin: str, destination: str) -> list[tuple[str, Pass]]:
    """Return the newest completed copies, each with its transfer's id and instance as one key, the newest first."""
    wanted = (
        select(TransferRow.id, TaskRow.instance, TaskRow.result)
        .join(ExecutionRow, ExecutionRow.id == TaskRow.execution_id)
        .join(TransferRow, TransferRow.id == ExecutionRow.action_id)
        .where(
            TransferRow.project_id == project_id,
            TransferRow.origin_endpoint_id == origin,
            TransferRow.destination_endpoint_id == destination,
            TaskRow.task_type == TaskType.REPLICATE_DISKS,
            TaskRow.status == TaskStatus.COMPLETED,
        )
        .order_by(TaskRow.updated_at.desc(), TaskRow.id)
        .limit(LATEST)
    )
    return [(f"{transfer} {instance}", result) for transfer, instance, result in session.execute(wanted) if result]


def downtimes(session: Session, project_id: str, origin: str, destination: str) -> list[tuple[float, float]]:
    """Return (down time, its last pass) in seconds of the newest completed deployments' machines."""
    wanted = (
        select(DeploymentRow.transfer_result)
        .join(TransferRow, TransferRow.id == DeploymentRow.transfer_id)
        .where(
            TransferRow.project_id == project_id,
            TransferRow.origin_endpoint_id == origin,
            TransferRow.destination_endpoint_id == destination,
            DeploymentRow.last_execution_status == ExecutionStatus.COMPLETED,
        )
        .order_by(DeploymentRow.updated_at.desc(), DeploymentRow.id)
        .limit(LATEST)
    )
    return [
        (float(each["downtime_seconds"]), float((each.get("replica") or {}).get("seconds") or 0.0))
        for result in session.scalars(wanted)
        for each in (result or {}).values()
        if each.get("downtime_seconds") is not None
    ]


def copied(found: Sequence[tuple[str, Pass]], reads: str, counted: str) -> list[tuple[int, float]]:
    """Return (bytes, seconds) of the passes all of whose disks were read in one way; `counted` names the bytes."""
    return [
        (int(each[counted]), float(each["seconds"]))
        for _, each in found
        if each["disks"] and {disk["reads"] for disk in each["disks"]} == {reads}
    ]


def changed_shares(found: Sequence[tuple[str, Pass]]) -> list[float]:
    """Return for each machine what share of its first pass the later ones sent, their median."""
    by_machine: dict[str, list[Pass]] = {}
    for key, each in found:
        by_machine.setdefault(key, []).append(each)
    shares = []
    for newest_first in by_machine.values():
        first = next((int(each["bytes_sent"]) for each in newest_first if _is_first(each)), 0)
        later = [int(each["bytes_sent"]) for each in newest_first if not _is_first(each)]
        if first and later:
            shares.append(min(1.0, median(later) / first))
    return shares


def _is_first(found: Pass) -> bool:
    return any(disk["reads"] == "allocation" for disk in found["disks"])
