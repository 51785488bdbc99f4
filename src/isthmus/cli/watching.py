"""Follow an execution or a deployment to its end by asking the API once a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.cli.answers import Deployment, Execution, Task
from isthmus.cli.client import MigrationApi
from isthmus.cli.display import Display
from isthmus.control.errors import StepFailed, Unavailable

INTERVAL_SECONDS = 1.0
OUTAGE_SECONDS = 300
"""So long the API may be away while its work goes on: asking again changes nothing, so it is safe."""

UNDER_WAY = frozenset({"PENDING", "RUNNING", "CANCELLING", "AWAITING_MINION_ALLOCATIONS"})
COMPLETED = "COMPLETED"
KINDS = {"transfer_disks_delete": "deletion of disks", "transfer_verification": "verification"}


@dataclass(frozen=True)
class Work:
    """What is followed, at one moment."""

    title: str
    status: str
    tasks: tuple[Task, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status not in UNDER_WAY


def work_of(subject: Execution | Deployment) -> Work:
    """Return an execution or a deployment as something to follow."""
    if isinstance(subject, Execution):
        kind = KINDS.get(subject.type, "execution")
        return Work(f"{kind} {subject.number}", subject.status, tuple(subject.tasks))
    return Work("deployment", subject.last_execution_status, tuple(subject.tasks))


def follow(fetch: Callable[[], Work], display: Display, *, sleep: Callable[[float], None] = time.sleep) -> Work:
    """Show the work until it has ended, and return its last state.

    Raises Unavailable if the API does not answer for `OUTAGE_SECONDS`; the work itself goes on all the same.
    """
    away = 0.0
    while True:
        try:
            work = fetch()
        except Unavailable as error:
            if away == 0:
                display.say(f"{error.message}; the work goes on, asking again for {OUTAGE_SECONDS} s")
            away += INTERVAL_SECONDS
            if away > OUTAGE_SECONDS:
                raise
        else:
            away = 0.0
            display.show(work.title, work.tasks)
            if work.ended:
                display.finish()
                return work
        sleep(INTERVAL_SECONDS)


def follow_execution(api: MigrationApi, transfer_id: str, execution_id: str, display: Display) -> Execution:
    """Follow a transfer's execution; StepFailed says why if it did not complete."""
    work = follow(lambda: work_of(api.execution(transfer_id, execution_id)), display)
    look = f"isthmus execution show {transfer_id} {execution_id}"
    require_completed(work, f"execution {execution_id} of transfer {transfer_id}", look)
    return api.execution(transfer_id, execution_id)


def follow_deployment(api: MigrationApi, deployment_id: str, display: Display) -> Deployment:
    """Follow a deployment; StepFailed says why if it did not complete."""
    work = follow(lambda: work_of(api.deployment(deployment_id)), display)
    require_completed(work, f"deployment {deployment_id}", f"isthmus deployment show {deployment_id}")
    return api.deployment(deployment_id)


def require_completed(work: Work, name: str, look: str) -> None:
    """Raise StepFailed with the failed steps' reasons unless the work completed; `look` is where more is told."""
    if work.status == COMPLETED:
        return
    reasons = [
        f"{step_name(task)} of {task.instance}: {reason_of(task).splitlines()[0]}"
        for task in work.tasks
        if task.status == "ERROR"
    ]
    told = ": " + "; ".join(reasons) if reasons else ""
    raise StepFailed(f"{name} ended {work.status}{told} (`{look}` tells more)")


def step_name(task: Task) -> str:
    """Return a step's name for people."""
    return task.task_type.lower().replace("_", " ")


def reason_of(task: Task) -> str:
    """Return why a step failed; the first line is the reason, others (a console's last lines) may follow."""
    errors = [event.message for event in task.events if event.level == "ERROR"]
    reason = (task.exception_details or "").strip() or (errors[-1].strip() if errors else "")
    return reason or "no reason was recorded"
