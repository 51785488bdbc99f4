"""The plan of an execution that is not begun: the same planner, from the same facts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from isthmus.control.queues import region_of
from isthmus.migration.api.schemas import ExecutionCreate
from isthmus.migration.model import ExecutionType
from isthmus.migration.planning.steps import Step, plan
from isthmus.migration.planning.work import Work
from isthmus.migration.tables import TransferRow
from isthmus.migration.workflows.asked import transfer_work

DRY_RUN = "dry-run"
"""Stands for the ids of executions that are not made."""


def planned(session: Session, row: TransferRow, wanted: ExecutionCreate) -> dict[str, Any]:
    """Return the plan of a transfer's next execution, and of the deployment after it where `auto_deploy` asks for one.

    Raises what beginning the execution would: `NotFound` for an endpoint that is gone, `Conflict` for disabled regions.
    """
    work = transfer_work(session, row, DRY_RUN, ExecutionType.TRANSFER_EXECUTION, None)
    works = [replace(work, shutdown_instances=wanted.shutdown_instances)]
    if wanted.auto_deploy:
        works.append(replace(work, execution_type=ExecutionType.DEPLOYMENT, deployment_id=DRY_RUN))
    info = row.info or {}
    return {
        "shutdown_instances": wanted.shutdown_instances,
        "auto_deploy": wanted.auto_deploy,
        "instances": [
            {"instance": each, "replica_since": (info.get(each) or {}).get("point")} for each in work.instances
        ],
        "executions": [_execution(each, plan(each)) for each in works],
    }


def _execution(work: Work, steps: Sequence[Step]) -> dict[str, Any]:
    places = {step.id: step.index for step in steps}
    return {
        "type": str(work.execution_type),
        "steps": [
            {
                "index": step.index,
                "task_type": step.task_type.value,
                "instance": step.instance,
                "when": step.when.value,
                "on_error": step.on_error,
                "depends_on": [places[each] for each in step.depends_on],
                "region": region_of(step.queue),
            }
            for step in steps
        ],
    }
