"""What a machine's report says: all that was done to move it, for a file that outlives the control plane."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from isthmus import __version__
from isthmus.migration.api.views import moment
from isthmus.migration.model import ExecutionType, TaskStatus, TaskType
from isthmus.migration.tables import DeploymentRow, EndpointRow, ExecutionRow, TransferRow

FORMAT = "isthmus-machine-report-1"


def document(
    instance: str,
    *,
    transfer: TransferRow,
    deployment: DeploymentRow,
    ends: Mapping[str, EndpointRow],
    executions: Sequence[ExecutionRow],
    runs: Sequence[ExecutionRow],
    issued_at: datetime,
    key_id: str,
) -> str:
    """Return the report of one instance of an ended deployment as JSON text, keys in order.

    `ends` are the endpoints by id, `executions` the transfer's, `runs` the deployment's.
    """
    info = (transfer.info or {}).get(instance) or {}
    whole = {
        "format": FORMAT,
        "issued_at": moment(issued_at),
        "issued_by": {"isthmus": __version__, "key_id": key_id},
        "project_id": deployment.project_id,
        "instance": instance,
        "transfer": {
            "id": transfer.id,
            "scenario": transfer.scenario,
            "origin": _end(ends, transfer.origin_endpoint_id),
            "destination": _end(ends, transfer.destination_endpoint_id),
        },
        "source_machine": info.get("machine"),
        "passes": _passes(instance, executions, deployment.created_at),
        "verification": info.get("last_verification"),
        "deployment": {
            "id": deployment.id,
            "status": deployment.last_execution_status,
            "user_id": deployment.user_id,
            "clone_disks": deployment.clone_disks,
            "skip_os_morphing": deployment.skip_os_morphing,
            "began_at": moment(deployment.created_at),
            "ended_at": moment(deployment.updated_at),
            "steps": [
                {
                    "task_type": task.task_type,
                    "status": task.status,
                    "began_at": moment(task.created_at),
                    "ended_at": moment(task.updated_at),
                    "error": task.exception_details,
                }
                for run in runs
                for task in run.tasks
                if task.instance == instance and task.status != TaskStatus.UNSCHEDULED
            ],
        },
        "result": (deployment.transfer_result or {}).get(instance),
    }
    return json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _end(ends: Mapping[str, EndpointRow], endpoint_id: str) -> dict[str, Any]:
    row = ends.get(endpoint_id)
    return {"id": endpoint_id, "name": row.name if row else None, "type": row.type if row else None}


def _passes(instance: str, executions: Sequence[ExecutionRow], before: datetime) -> list[dict[str, Any]]:
    """Return what each completed pass over the instance did, up to the deployment."""
    return [
        {
            "execution_id": run.id,
            "number": run.number,
            "shutdown_instances": run.shutdown_instances,
            "ended_at": moment(task.updated_at),
            "result": task.result,
        }
        for run in sorted(executions, key=lambda run: run.number)
        if run.type == ExecutionType.TRANSFER_EXECUTION and run.created_at <= before
        for task in run.tasks
        if task.instance == instance
        and task.task_type == TaskType.REPLICATE_DISKS
        and task.status == TaskStatus.COMPLETED
    ]
