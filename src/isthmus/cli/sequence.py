"""What `isthmus migrate` does next, decided from what the server knows alone, so that it can be taken up anywhere.

    live passes (`syncs` of them) → last pass, with the machine stopped → deployment

The server has no object for this sequence: it is found again from a transfer's executions and deployments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.cli.answers import Deployment, Execution
from isthmus.cli.watching import COMPLETED, UNDER_WAY
from isthmus.control.errors import Conflict

TRANSFER_EXECUTION = "transfer_execution"
SHUTDOWN = "SHUTDOWN_INSTANCE"


@dataclass(frozen=True)
class Execute:
    """Begin a pass. `last` stops the machine first."""

    last: bool


@dataclass(frozen=True)
class WatchExecution:
    """A pass is under way."""

    execution_id: str


@dataclass(frozen=True)
class Deploy:
    """All data is there: begin a deployment."""


@dataclass(frozen=True)
class WatchDeployment:
    """A deployment is under way."""

    deployment_id: str


@dataclass(frozen=True)
class Done:
    """The machine runs at the destination."""

    deployment_id: str


Step = Execute | WatchExecution | Deploy | WatchDeployment | Done


def next_step(syncs: int, executions: Sequence[Execution], deployments: Sequence[Deployment]) -> Step:
    """Return what to do next for a transfer with these executions and deployments.

    A pass that failed is run again. After a deployment that failed, the source machine runs again, so the last pass
    has to be repeated before the next deployment. Raises Conflict while the replica's disks are being deleted.
    """
    for execution in executions:
        if execution.status in UNDER_WAY:
            if execution.type not in {"", TRANSFER_EXECUTION}:
                raise Conflict(f"the disks of the transfer are being deleted (execution {execution.id}): wait for it")
            return WatchExecution(execution.id)
    for deployment in deployments:
        if deployment.test:
            continue
        if deployment.last_execution_status in UNDER_WAY:
            return WatchDeployment(deployment.id)
        if deployment.last_execution_status == COMPLETED:
            return Done(deployment.id)
    completed = [item for item in passes(executions) if item.status == COMPLETED]
    if any(stops_machine(item) and not _deployed_since(item, deployments) for item in completed):
        return Deploy()
    live = sum(not stops_machine(item) for item in completed)
    return Execute(last=live >= syncs)


def passes(executions: Sequence[Execution]) -> list[Execution]:
    """Return the executions that copy, oldest first."""
    found = [item for item in executions if item.type in {"", TRANSFER_EXECUTION}]
    return sorted(found, key=lambda item: item.number)


def stops_machine(execution: Execution) -> bool:
    """Return whether the execution is a last pass."""
    return execution.shutdown_instances or any(task.task_type == SHUTDOWN for task in execution.tasks)


def _deployed_since(execution: Execution, deployments: Sequence[Deployment]) -> bool:
    """Whether a deployment was begun after this pass."""
    began = execution.created_at
    return any(began and item.created_at and item.created_at > began and not item.test for item in deployments)
