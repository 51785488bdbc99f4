"""Objects' statuses and the moves between them; the words are Coriolis' (its `constants.py`).

A status changes only by a guarded update (`store`) along these tables; an unknown move raises.
"""

from collections.abc import Mapping
from enum import StrEnum


class Scenario(StrEnum):
    """What a transfer is for: many synchronisations and deployments, or one move."""

    REPLICA = "replica"
    LIVE_MIGRATION = "live_migration"


MOST_INSTANCES = 100
"""How many machines one execution takes, and so one transfer. Its workflow's history holds each step of each of them,
and the engine bounds that: see `store.limits`.
"""


class ExecutionStatus(StrEnum):
    """Status of an execution, and as `last_execution_status` of a transfer or deployment."""

    UNEXECUTED = "UNEXECUTED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    DEADLOCKED = "DEADLOCKED"
    CANCELED = "CANCELED"
    CANCELLING = "CANCELLING"
    CANCELED_FOR_DEBUGGING = "CANCELED_FOR_DEBUGGING"
    AWAITING_MINION_ALLOCATIONS = "AWAITING_MINION_ALLOCATIONS"
    ERROR_ALLOCATING_MINIONS = "ERROR_ALLOCATING_MINIONS"


ACTIVE = frozenset(
    {
        ExecutionStatus.PENDING,
        ExecutionStatus.RUNNING,
        ExecutionStatus.CANCELLING,
        ExecutionStatus.AWAITING_MINION_ALLOCATIONS,
    }
)
"""Statuses of work under way: an object with such an execution accepts no other."""

EXECUTION_MOVES: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = {
    ExecutionStatus.UNEXECUTED: frozenset({ExecutionStatus.PENDING, ExecutionStatus.RUNNING}),
    ExecutionStatus.PENDING: frozenset({ExecutionStatus.RUNNING, ExecutionStatus.CANCELED, ExecutionStatus.ERROR}),
    ExecutionStatus.AWAITING_MINION_ALLOCATIONS: frozenset(
        {
            ExecutionStatus.RUNNING,
            ExecutionStatus.ERROR,
            ExecutionStatus.ERROR_ALLOCATING_MINIONS,
            ExecutionStatus.CANCELLING,
        }
    ),
    ExecutionStatus.RUNNING: frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.ERROR, ExecutionStatus.CANCELLING}),
    ExecutionStatus.CANCELLING: frozenset({ExecutionStatus.CANCELED, ExecutionStatus.ERROR, ExecutionStatus.COMPLETED}),
    ExecutionStatus.COMPLETED: frozenset(),
    ExecutionStatus.ERROR: frozenset(),
    ExecutionStatus.CANCELED: frozenset(),
    ExecutionStatus.ERROR_ALLOCATING_MINIONS: frozenset(),
}


class ExecutionType(StrEnum):
    """What an execution does."""

    TRANSFER_EXECUTION = "transfer_execution"
    TRANSFER_DISKS_DELETE = "transfer_disks_delete"
    TRANSFER_UPDATE = "transfer_update"
    TRANSFER_VERIFICATION = "transfer_verification"
    DEPLOYMENT = "deployment"


class TaskStatus(StrEnum):
    """Status of one step of an execution."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    CANCELLING = "CANCELLING"
    CANCELED = "CANCELED"
    UNSCHEDULED = "UNSCHEDULED"
    EXECUTE_ON_ERROR_ONLY = "EXECUTE_ON_ERROR_ONLY"


TASK_MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.SCHEDULED: frozenset({TaskStatus.RUNNING, TaskStatus.UNSCHEDULED, TaskStatus.CANCELED}),
    TaskStatus.EXECUTE_ON_ERROR_ONLY: frozenset({TaskStatus.RUNNING, TaskStatus.UNSCHEDULED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.COMPLETED, TaskStatus.ERROR, TaskStatus.CANCELED}),
    TaskStatus.COMPLETED: frozenset(),
    # Of an execution that holds on errors, when the step is retried.
    TaskStatus.ERROR: frozenset({TaskStatus.RUNNING}),
    TaskStatus.CANCELED: frozenset(),
    TaskStatus.UNSCHEDULED: frozenset(),
}


class TaskType(StrEnum):
    """What a step does. VERIFY_INSTANCE_BOOT and all from START_SOURCE_INSTANCE on are Isthmus' own additions."""

    VALIDATE_TRANSFER_SOURCE_INPUTS = "VALIDATE_TRANSFER_SOURCE_INPUTS"
    GET_INSTANCE_INFO = "GET_INSTANCE_INFO"
    VALIDATE_TRANSFER_DESTINATION_INPUTS = "VALIDATE_TRANSFER_DESTINATION_INPUTS"
    DEPLOY_TRANSFER_DISKS = "DEPLOY_TRANSFER_DISKS"
    DEPLOY_TRANSFER_TARGET_RESOURCES = "DEPLOY_TRANSFER_TARGET_RESOURCES"
    SHUTDOWN_INSTANCE = "SHUTDOWN_INSTANCE"
    REPLICATE_DISKS = "REPLICATE_DISKS"
    DELETE_TRANSFER_SOURCE_RESOURCES = "DELETE_TRANSFER_SOURCE_RESOURCES"
    DELETE_TRANSFER_TARGET_RESOURCES = "DELETE_TRANSFER_TARGET_RESOURCES"
    DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS = "DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS"
    DELETE_TRANSFER_DISKS = "DELETE_TRANSFER_DISKS"
    UPDATE_SOURCE_TRANSFER = "UPDATE_SOURCE_TRANSFER"
    UPDATE_DESTINATION_TRANSFER = "UPDATE_DESTINATION_TRANSFER"
    VALIDATE_DEPLOYMENT_INPUTS = "VALIDATE_DEPLOYMENT_INPUTS"
    CREATE_TRANSFER_DISK_SNAPSHOTS = "CREATE_TRANSFER_DISK_SNAPSHOTS"
    DEPLOY_INSTANCE_RESOURCES = "DEPLOY_INSTANCE_RESOURCES"
    DEPLOY_OS_MORPHING_RESOURCES = "DEPLOY_OS_MORPHING_RESOURCES"
    OS_MORPHING = "OS_MORPHING"
    DELETE_OS_MORPHING_RESOURCES = "DELETE_OS_MORPHING_RESOURCES"
    FINALIZE_INSTANCE_DEPLOYMENT = "FINALIZE_INSTANCE_DEPLOYMENT"
    VERIFY_INSTANCE_BOOT = "VERIFY_INSTANCE_BOOT"
    DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS = "DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS"
    CLEANUP_FAILED_INSTANCE_DEPLOYMENT = "CLEANUP_FAILED_INSTANCE_DEPLOYMENT"
    RESTORE_TRANSFER_DISK_SNAPSHOTS = "RESTORE_TRANSFER_DISK_SNAPSHOTS"
    START_SOURCE_INSTANCE = "START_SOURCE_INSTANCE"
    DELETE_TEST_INSTANCE = "DELETE_TEST_INSTANCE"
    HASH_SOURCE_DISKS = "HASH_SOURCE_DISKS"
    COMPARE_DESTINATION_DISKS = "COMPARE_DESTINATION_DISKS"
    CONFIRM_EQUALITY = "CONFIRM_EQUALITY"


class ScriptPhase(StrEnum):
    """When a user script runs."""

    PRE_OS_MOUNT = "osmorphing_pre_os_mount"
    POST_OS_MOUNT = "osmorphing_post_os_mount"
    FIRST_BOOT = "replica_first_boot"


class PoolStatus(StrEnum):
    """Status of a minion pool."""

    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"
    DEALLOCATED = "DEALLOCATED"
    VALIDATING_INPUTS = "VALIDATING_INPUTS"
    ALLOCATING_SHARED_RESOURCES = "ALLOCATING_SHARED_RESOURCES"
    ALLOCATING_MACHINES = "ALLOCATING_MACHINES"
    ALLOCATED = "ALLOCATED"
    IN_MAINTENANCE = "IN_MAINTENANCE"
    DEALLOCATING_MACHINES = "DEALLOCATING_MACHINES"
    DEALLOCATING_SHARED_RESOURCES = "DEALLOCATING_SHARED_RESOURCES"


POOL_MOVES: Mapping[PoolStatus, frozenset[PoolStatus]] = {
    PoolStatus.UNKNOWN: frozenset({PoolStatus.ERROR, PoolStatus.DEALLOCATING_MACHINES}),
    PoolStatus.DEALLOCATED: frozenset({PoolStatus.VALIDATING_INPUTS}),
    PoolStatus.VALIDATING_INPUTS: frozenset({PoolStatus.ALLOCATING_SHARED_RESOURCES, PoolStatus.ERROR}),
    PoolStatus.ALLOCATING_SHARED_RESOURCES: frozenset({PoolStatus.ALLOCATING_MACHINES, PoolStatus.ERROR}),
    PoolStatus.ALLOCATING_MACHINES: frozenset({PoolStatus.ALLOCATED, PoolStatus.ERROR}),
    PoolStatus.ALLOCATED: frozenset({PoolStatus.IN_MAINTENANCE, PoolStatus.DEALLOCATING_MACHINES}),
    PoolStatus.IN_MAINTENANCE: frozenset({PoolStatus.ALLOCATED, PoolStatus.ERROR}),
    PoolStatus.ERROR: frozenset({PoolStatus.VALIDATING_INPUTS, PoolStatus.DEALLOCATING_MACHINES}),
    PoolStatus.DEALLOCATING_MACHINES: frozenset({PoolStatus.DEALLOCATING_SHARED_RESOURCES, PoolStatus.ERROR}),
    PoolStatus.DEALLOCATING_SHARED_RESOURCES: frozenset({PoolStatus.DEALLOCATED, PoolStatus.ERROR}),
}

POOL_BUSY = frozenset(
    {
        PoolStatus.VALIDATING_INPUTS,
        PoolStatus.ALLOCATING_SHARED_RESOURCES,
        PoolStatus.ALLOCATING_MACHINES,
        PoolStatus.IN_MAINTENANCE,
        PoolStatus.DEALLOCATING_MACHINES,
        PoolStatus.DEALLOCATING_SHARED_RESOURCES,
    }
)
"""A workflow works on the pool."""


class MachineStatus(StrEnum):
    """What a pool's machine is doing."""

    AVAILABLE = "AVAILABLE"
    IN_USE = "IN_USE"


class MachinePower(StrEnum):
    """Whether a pool's machine is on."""

    POWERED_ON = "POWERED_ON"
    POWERED_OFF = "POWERED_OFF"


class PoolPlatform(StrEnum):
    """Beside which end of a transfer a pool's machines stand."""

    SOURCE = "source"
    DESTINATION = "destination"


class Retention(StrEnum):
    """What becomes of a pool's machine that nobody used for a while."""

    DELETE = "delete"
    POWEROFF = "poweroff"


class FiringOutcome(StrEnum):
    """What became of one due time of a schedule."""

    STARTED = "STARTED"
    SKIPPED = "SKIPPED"
    MISSED = "MISSED"


class WaveStatus(StrEnum):
    """Status of a wave, and of a group of it (which is never SCHEDULED or CANCELLING)."""

    PENDING = "PENDING"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    CANCELED = "CANCELED"


WAVE_ACTIVE = frozenset({WaveStatus.SCHEDULED, WaveStatus.RUNNING, WaveStatus.AWAITING_APPROVAL, WaveStatus.CANCELLING})
"""A workflow works on the wave, or waits to."""

WAVE_MOVES: Mapping[WaveStatus, frozenset[WaveStatus]] = {
    WaveStatus.PENDING: frozenset({WaveStatus.SCHEDULED}),
    WaveStatus.SCHEDULED: frozenset({WaveStatus.RUNNING, WaveStatus.AWAITING_APPROVAL, WaveStatus.CANCELLING}),
    WaveStatus.RUNNING: frozenset(
        {WaveStatus.AWAITING_APPROVAL, WaveStatus.CANCELLING, WaveStatus.COMPLETED, WaveStatus.ERROR}
    ),
    WaveStatus.AWAITING_APPROVAL: frozenset(
        {WaveStatus.RUNNING, WaveStatus.CANCELLING, WaveStatus.COMPLETED, WaveStatus.ERROR}
    ),
    WaveStatus.CANCELLING: frozenset({WaveStatus.CANCELED}),
    WaveStatus.COMPLETED: frozenset(),
    WaveStatus.ERROR: frozenset({WaveStatus.SCHEDULED}),
    WaveStatus.CANCELED: frozenset({WaveStatus.SCHEDULED}),
}


class Gate(StrEnum):
    """When a group of a wave begins: when the one before is COMPLETED, or when somebody has approved it."""

    AUTO = "auto"
    MANUAL = "manual"


class MemberStatus(StrEnum):
    """How a transfer stands in a wave."""

    PENDING = "PENDING"
    EXECUTING = "EXECUTING"
    DEPLOYING = "DEPLOYING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    CANCELED = "CANCELED"


MEMBER_ENDED = frozenset({MemberStatus.COMPLETED, MemberStatus.ERROR, MemberStatus.CANCELED})

IN_FLIGHT = frozenset({MemberStatus.EXECUTING, MemberStatus.DEPLOYING})


class AssessmentStatus(StrEnum):
    """Status of an assessment."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"


class ServiceStatus(StrEnum):
    """Whether a service has been heard of lately."""

    UP = "UP"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"


def sources_of(
    moves: Mapping[ExecutionStatus, frozenset[ExecutionStatus]], target: ExecutionStatus
) -> frozenset[ExecutionStatus]:
    """Return the statuses from which `target` may be reached; ValueError if there is none."""
    found = frozenset(source for source, targets in moves.items() if target in targets)
    if not found:
        raise ValueError(f"no status may move to {target}")
    return found


def task_sources_of(target: TaskStatus) -> frozenset[TaskStatus]:
    """Return the task statuses from which `target` may be reached; ValueError if there is none."""
    found = frozenset(source for source, targets in TASK_MOVES.items() if target in targets)
    if not found:
        raise ValueError(f"no task status may move to {target}")
    return found


def pool_sources_of(target: PoolStatus) -> frozenset[PoolStatus]:
    """Return the pool statuses from which `target` may be reached; ValueError if there is none."""
    found = frozenset(source for source, targets in POOL_MOVES.items() if target in targets)
    if not found:
        raise ValueError(f"no pool status may move to {target}")
    return found
