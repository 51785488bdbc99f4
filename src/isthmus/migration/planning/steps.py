"""Plans: which steps an execution takes for each instance, in which order, where, and what undoes them.

A plan is decided before anything is touched, so that all steps can be shown at once. Steps of one instance follow one
another; instances do not wait for each other, and the failure of one does not stop the others.

    FORWARD   runs if all before it succeeded
    ALWAYS    gives something back: runs in its place after success, and after a failure if what it gives back was begun
    ON_ERROR  runs only after a failure or cancel, if the step that it undoes was begun
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from isthmus.control.errors import IsthmusError
from isthmus.control.queues import worker_queue
from isthmus.migration.model import ExecutionType, TaskType
from isthmus.migration.planning.work import Facts, Work

_STEP_IDS = uuid.UUID("0d6b3c4e-6f0e-4f5c-9d0e-6a3c2f1b7a55")


_HAS_SCRIPTS = frozenset({TaskType.VALIDATE_DEPLOYMENT_INPUTS, TaskType.OS_MORPHING})


class When(StrEnum):
    """When a step runs; see the module."""

    FORWARD = "forward"
    ALWAYS = "always"
    ON_ERROR = "on-error"


class Side(StrEnum):
    """Beside which cloud a step runs."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True)
class Step:
    """One planned step. `id` is its task's id, made from the execution, instance and place: planning twice is harmless.

    `undoes` is the task type that must have been begun for the same instance before this step runs on failure.
    """

    id: str
    task_type: TaskType
    instance: str
    index: int
    depends_on: tuple[str, ...]
    when: When
    queue: str
    undoes: TaskType | None = None

    @property
    def on_error(self) -> bool:
        """Whether the step (also) runs on failure, as Coriolis' tasks say it."""
        return self.when is not When.FORWARD

    @property
    def is_interruptible(self) -> bool:
        """Whether a cancel stops the step. What gives back is not, nor what tidies up after the machine's proof."""
        return not self.on_error and self.task_type is not TaskType.DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS


@dataclass(frozen=True)
class _Draft:
    task_type: TaskType
    side: Side
    when: When = When.FORWARD
    undoes: TaskType | None = None


def plan(work: Work) -> tuple[Step, ...]:
    """Return the steps of all instances, in the order in which people should see them."""
    drafts = _DRAFTS[ExecutionType(work.execution_type)](work)
    steps: list[Step] = []
    for instance in work.instances:
        steps.extend(_place(work, instance, drafts, first_index=len(steps)))
    return tuple(steps)


def plan_forget(work: Work) -> tuple[Step, ...]:
    """Return the steps that remove what a deleted transfer holds at its clouds, except disks."""
    drafts = [
        _Draft(TaskType.DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS, Side.SOURCE),
        _Draft(TaskType.DELETE_TRANSFER_TARGET_RESOURCES, Side.DESTINATION),
    ]
    return tuple(step for instance in work.instances for step in _place(work, instance, drafts, first_index=0))


def part_of(work: Work, step: Step) -> Work:
    """Return of an execution's work what one step needs: its own machine, and scripts only if it runs or checks them.

    The engine keeps what each step is told in the workflow's history; whole, that would grow with the square of the
    number of machines. A workflow begun before may go on with it, as the engine does not compare what steps were told.
    """
    scripts = work.user_scripts if step.task_type in _HAS_SCRIPTS else {}
    own = {name: each for name, each in (scripts.get("instances") or {}).items() if name == step.instance}
    return replace(work, instances=(step.instance,), user_scripts={**scripts, "instances": own} if scripts else {})


def applies_after_failure(step: Step, begun: Iterable[TaskType], done: Iterable[TaskType], facts: Facts) -> bool:
    """Whether the step is part of the undo: what it gives back was begun, is not yet given back, and is ours.

    A machine that has proved that it lives is never undone.
    """
    done = set(done)
    if step.when is When.FORWARD or step.undoes not in set(begun) or step.task_type in done:
        return False
    if step.when is When.ON_ERROR and TaskType.VERIFY_INSTANCE_BOOT in done:
        return False
    match step.task_type:
        case TaskType.DELETE_TRANSFER_DISKS:
            return facts.replica.point is None and not facts.replica.partial
        case TaskType.START_SOURCE_INSTANCE if step.undoes is TaskType.SHUTDOWN_INSTANCE:
            return facts.source_ran
        case TaskType.START_SOURCE_INSTANCE:
            return facts.replica.stopped_by is not None and not facts.replica.deployed
    return True


def keeps_partial(error: IsthmusError, *, asked: bool, copied: bool) -> bool:
    """Whether a first copy that stopped with this error is kept, so that a retry goes on where it was.

    Kept without being asked: what an outage has stopped, as nobody has to change anything for it to go on. An error
    that somebody must mend, and a cancel, leave nothing unless `asked` to. What never `copied` a byte is not kept.
    """
    return copied and (asked or error.retryable)


def _place(work: Work, instance: str, drafts: Sequence[_Draft], *, first_index: int) -> Iterable[Step]:
    queues = {
        Side.SOURCE: worker_queue(work.origin.mapped_regions),
        Side.DESTINATION: worker_queue(work.destination.mapped_regions),
    }
    previous: str | None = None
    for index, draft in enumerate(drafts, start=first_index):
        step_id = str(uuid.uuid5(_STEP_IDS, f"{work.execution_id}/{instance}/{index}/{draft.task_type}"))
        yield Step(
            id=step_id,
            task_type=draft.task_type,
            instance=instance,
            index=index,
            depends_on=(previous,) if previous else (),
            when=draft.when,
            queue=queues[draft.side],
            undoes=draft.undoes,
        )
        previous = step_id


def _transfer(work: Work) -> list[_Draft]:
    """Replicate once. The copy runs beside the source: its worker has the hash maps, and writes or sends."""
    source, destination = Side.SOURCE, Side.DESTINATION
    stops = work.shutdown_instances
    steps = [
        _Draft(TaskType.VALIDATE_TRANSFER_SOURCE_INPUTS, source),
        _Draft(TaskType.GET_INSTANCE_INFO, source),
        _Draft(TaskType.VALIDATE_TRANSFER_DESTINATION_INPUTS, destination),
        _Draft(TaskType.DEPLOY_TRANSFER_DISKS, destination),
        _Draft(TaskType.DEPLOY_TRANSFER_TARGET_RESOURCES, destination),
        *([_Draft(TaskType.SHUTDOWN_INSTANCE, source)] if stops else []),
        _Draft(TaskType.REPLICATE_DISKS, source),
        _Draft(TaskType.DELETE_TRANSFER_SOURCE_RESOURCES, source, When.ALWAYS, TaskType.REPLICATE_DISKS),
        _Draft(
            TaskType.DELETE_TRANSFER_TARGET_RESOURCES,
            destination,
            When.ALWAYS,
            TaskType.DEPLOY_TRANSFER_TARGET_RESOURCES,
        ),
        _Draft(TaskType.DELETE_TRANSFER_DISKS, destination, When.ON_ERROR, TaskType.DEPLOY_TRANSFER_DISKS),
    ]
    if stops:
        steps.append(_Draft(TaskType.START_SOURCE_INSTANCE, source, When.ON_ERROR, TaskType.SHUTDOWN_INSTANCE))
    return steps


def _deployment(work: Work) -> list[_Draft]:
    """Make the machine, prove that it lives. Without clones the replica's content is kept to come back to."""
    here = Side.DESTINATION
    first = TaskType.VALIDATE_DEPLOYMENT_INPUTS
    disks = TaskType.DEPLOY_INSTANCE_RESOURCES if work.clone_disks else TaskType.CREATE_TRANSFER_DISK_SNAPSHOTS
    steps = [_Draft(first, here), _Draft(disks, here)]
    if not work.skip_os_morphing:
        opening = TaskType.DEPLOY_OS_MORPHING_RESOURCES
        steps += [
            _Draft(opening, here),
            _Draft(TaskType.OS_MORPHING, here),
            _Draft(TaskType.DELETE_OS_MORPHING_RESOURCES, here, When.ALWAYS, opening),
        ]
    steps += [
        _Draft(TaskType.FINALIZE_INSTANCE_DEPLOYMENT, here),
        _Draft(TaskType.VERIFY_INSTANCE_BOOT, here),
    ]
    if not work.clone_disks:
        steps.append(_Draft(TaskType.DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS, here))
    if work.test is not None:
        # Nothing else is touched, so nothing else is to be brought back: neither the replica nor the source.
        return [*steps, _Draft(TaskType.DELETE_TEST_INSTANCE, here, When.ALWAYS, disks)]
    steps.append(_Draft(TaskType.CLEANUP_FAILED_INSTANCE_DEPLOYMENT, here, When.ON_ERROR, disks))
    if not work.clone_disks:
        steps.append(_Draft(TaskType.RESTORE_TRANSFER_DISK_SNAPSHOTS, here, When.ON_ERROR, disks))
    steps.append(_Draft(TaskType.START_SOURCE_INSTANCE, Side.SOURCE, When.ON_ERROR, first))
    return steps


def _disks_delete(_: Work) -> list[_Draft]:
    return [
        _Draft(TaskType.DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS, Side.SOURCE),
        _Draft(TaskType.DELETE_TRANSFER_DISKS, Side.DESTINATION),
    ]


def _update(_: Work) -> list[_Draft]:
    """Try what the transfer is going to be at both ends; it becomes so when all of this has succeeded."""
    return [
        _Draft(TaskType.GET_INSTANCE_INFO, Side.SOURCE),
        _Draft(TaskType.UPDATE_SOURCE_TRANSFER, Side.SOURCE),
        _Draft(TaskType.UPDATE_DESTINATION_TRANSFER, Side.DESTINATION),
    ]


def _verification(_: Work) -> list[_Draft]:
    """Hash each side beside it, compare, and only then say whether it is as it should be: all is closed by then."""
    source, destination = Side.SOURCE, Side.DESTINATION
    hashing, comparing = TaskType.HASH_SOURCE_DISKS, TaskType.COMPARE_DESTINATION_DISKS
    return [
        _Draft(TaskType.GET_INSTANCE_INFO, source),
        _Draft(hashing, source),
        _Draft(TaskType.DELETE_TRANSFER_SOURCE_RESOURCES, source, When.ALWAYS, hashing),
        _Draft(comparing, destination),
        _Draft(TaskType.DELETE_TRANSFER_TARGET_RESOURCES, destination, When.ALWAYS, comparing),
        _Draft(TaskType.CONFIRM_EQUALITY, destination),
    ]


_DRAFTS = {
    ExecutionType.TRANSFER_EXECUTION: _transfer,
    ExecutionType.DEPLOYMENT: _deployment,
    ExecutionType.TRANSFER_DISKS_DELETE: _disks_delete,
    ExecutionType.TRANSFER_UPDATE: _update,
    ExecutionType.TRANSFER_VERIFICATION: _verification,
}
