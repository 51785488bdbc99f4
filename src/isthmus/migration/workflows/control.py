"""The activities on the conductor: they alone touch the database. Each is one transaction and may be repeated."""

import functools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from pydantic import TypeAdapter
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from temporalio import activity
from temporalio.exceptions import ApplicationError

from isthmus.control.database import Database
from isthmus.control.engine import as_failure
from isthmus.control.errors import Conflict, InvalidInput, IsthmusError, StepFailed
from isthmus.migration.model import ACTIVE, ExecutionStatus, ExecutionType, TaskStatus, TaskType
from isthmus.migration.planning.placement import Limits
from isthmus.migration.planning.steps import Step, When, plan, plan_forget
from isthmus.migration.planning.work import DeploymentTest, Facts, Replica, Work
from isthmus.migration.reporting import Level
from isthmus.migration.store import pools, recording, regions, retrying, waves
from isthmus.migration.tables import DeploymentRow, EndpointRow, ExecutionRow, TaskRow, TransferRow
from isthmus.migration.workflows.asked import row_of, transfer_work
from isthmus.migration.workflows.calls import (
    BEGIN_EXECUTION,
    BEGIN_FORGET,
    BEGIN_STEP,
    END_FORGET,
    END_STEP,
    FINISH_EXECUTION,
    GIVE_ROOM,
    TAKE_ROOM,
    Finish,
    Plan,
    StepBegun,
    StepEnd,
    StepStart,
)
from isthmus.migration.workflows.placing import Placing

LOG = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_REPLICA = TypeAdapter(Replica)

CHANGES_REPLICA = frozenset(
    {
        TaskType.CREATE_TRANSFER_DISK_SNAPSHOTS,
        TaskType.RESTORE_TRANSFER_DISK_SNAPSHOTS,
        TaskType.VERIFY_INSTANCE_BOOT,
        TaskType.START_SOURCE_INSTANCE,
    }
)
"""The steps of a deployment after which the transfer knows something else of its replica."""

UPDATABLE = frozenset(
    {
        "source_environment",
        "destination_environment",
        "network_map",
        "storage_mappings",
        "notes",
        "user_scripts",
        "origin_minion_pool_id",
        "destination_minion_pool_id",
        "instance_osmorphing_minion_pool_mappings",
        "clone_disks",
        "skip_os_morphing",
    }
)
"""What of a transfer an update changes: the columns that `ExecutionRow.requested` may name."""


def recorded(function: Callable[P, R]) -> Callable[P, R]:
    """Give errors the engine's form. A database that is away is tried again; a statement's values never travel."""

    @functools.wraps(function)
    def guarded(*args: P.args, **named: P.kwargs) -> R:
        try:
            return function(*args, **named)
        except IsthmusError as error:
            raise as_failure(error) from None
        except SQLAlchemyError as error:
            cause = type(error.orig if isinstance(error, DBAPIError) else error).__name__
            LOG.warning("%s waits for the database: %s", function.__name__, cause)
            raise ApplicationError(f"the database did not take {function.__name__}: {cause}", type="database") from None
        except Exception as error:
            LOG.exception("%s failed in an unforeseen way", function.__name__)
            failed = StepFailed(f"{function.__name__} failed ({type(error).__name__}): see the conductor's log")
            raise as_failure(failed) from None

    return guarded


class ControlActivities:
    """What the conductor offers to workflows. `now` tells UTC without a zone; `new_id` makes ids of new rows."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        placing: Placing | None = None,
    ) -> None:
        self._database = database
        self._now = now
        self._new_id = new_id
        self._placing = placing or Placing(database, Limits(), now)

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (
            self.begin_execution,
            self.begin_forget,
            self.end_forget,
            self.begin_step,
            self.end_step,
            self.take_room,
            self.give_room,
            self.finish_execution,
        )

    @activity.defn(name=BEGIN_EXECUTION)
    @recorded
    def begin_execution(self, argument: dict[str, Any]) -> Plan:
        """Plan an execution and show its steps; the second time the same plan comes out."""
        with self._database.transaction() as session:
            row = recording.execution(session, str(argument["execution_id"]))
            now = self._now()
            if row.status == ExecutionStatus.PENDING:
                recording.move_execution(session, row.id, ExecutionStatus.RUNNING, now)
            elif row.status not in ACTIVE:
                raise Conflict(f"execution {row.id} is {row.status} already: it is not begun again")
            work, transfer = _work_of(session, row, argument.get("trust_id"))
            steps = plan(work)
            recording.add_tasks(session, [_task(work.execution_id, step, now) for step in steps])
            deployment = session.get(DeploymentRow, row.action_id) if work.deployment_id else None
            wanted = pools.wanted_by(transfer, deployment, row.type, row.instances)
            return Plan(work, steps, _facts(transfer, work.instances), wanted)

    @activity.defn(name=BEGIN_FORGET)
    @recorded
    def begin_forget(self, argument: dict[str, Any]) -> Plan:
        """Plan what removes the traces of a transfer that is deleted already."""
        with self._database.transaction() as session:
            transfer = row_of(session, TransferRow, str(argument["transfer_id"]), "transfer")
            trust_id = argument.get("trust_id")
            run_id = f"forget-{transfer.id}"
            work = transfer_work(session, transfer, run_id, "forget", trust_id, reach=regions.all_queues)
            return Plan(work, plan_forget(work), _facts(transfer, work.instances))

    @activity.defn(name=END_FORGET)
    @recorded
    def end_forget(self, argument: dict[str, Any]) -> None:
        """Record that a deleted transfer needs its clouds no more: from now on its endpoints may be deleted too."""
        with self._database.transaction() as session:
            recording.locked_transfer(session, str(argument["transfer_id"])).info = {}

    @activity.defn(name=BEGIN_STEP)
    @recorded
    def begin_step(self, start: StepStart) -> StepBegun:
        """Give a step its place, show that it runs, and tell how its clouds are connected to by now.

        Not begun: it waits in line, or must not run, because its execution or itself has ended or it is not needed.
        """
        given = self._placing.begin(start)
        if given.waits:
            return given
        connections = self._shown(start)
        if connections is not None:
            return replace(given, **connections)
        self._placing.end(start.step_id)
        return StepBegun(begun=False)

    def _shown(self, start: StepStart) -> dict[str, Any] | None:
        """Show that a step runs, and return how its endpoints are connected to; None if it must not run."""
        with self._database.transaction() as session:
            task = row_of(session, TaskRow, start.step_id, "task")
            now = self._now()
            if task.task_type == TaskType.START_SOURCE_INSTANCE and _is_deployed(session, start, task.instance):
                recording.move_task(session, task.id, TaskStatus.UNSCHEDULED, now)
                return None
            if task.status == TaskStatus.ERROR and not start.again:
                return None
            won = recording.move_task(session, task.id, TaskStatus.RUNNING, now)
            return _connections(session, start) if won or task.status == TaskStatus.RUNNING else None

    @activity.defn(name=END_STEP)
    @recorded
    def end_step(self, end: StepEnd) -> None:
        """Record how a step ended, all it told, and what the transfer or deployment now knows; take its place back."""
        self._record(end)
        if end.placed:
            self._placing.end(end.step_id)

    @activity.defn(name=TAKE_ROOM)
    @recorded
    def take_room(self, start: StepStart) -> StepBegun:
        """Find a worker that has room to store a step's disks; `step_id` is the room's own."""
        return self._placing.begin(start)

    @activity.defn(name=GIVE_ROOM)
    @recorded
    def give_room(self, room_id: str) -> None:
        """Give a room back. Already done: it is not taken."""
        self._placing.end(room_id)

    def _record(self, end: StepEnd) -> None:
        with self._database.transaction() as session:
            now = self._now()
            task = row_of(session, TaskRow, end.step_id, "task")
            recording.add_events(session, task.id, [(e.index, e.level, e.message) for e in end.notes.events], now)
            recording.save_progress(session, task.id, end.notes.progress, now)
            task.host = end.notes.host or task.host
            task.process_id = end.notes.process_id or task.process_id
            if end.error and not any(event.level is Level.ERROR for event in end.notes.events):
                # The worker died too often to say it itself, or did not know that it was the last attempt.
                recording.add_conductor_event(session, task.id, Level.ERROR, end.error, now)
            if end.held:
                recording.add_conductor_event(session, task.id, Level.WARNING, end.held, now)
            if end.result is not None:
                task.result = recording.json_of(end.result)
            session.flush()
            recording.move_task(session, task.id, end.status, now, error=end.error)
            if end.facts is not None:
                self._learn(session, end, end.facts, task, now)

    def _learn(self, session: Session, end: StepEnd, facts: Facts, task: TaskRow, now: datetime) -> None:
        row = recording.execution(session, end.execution_id)
        if row.type != ExecutionType.DEPLOYMENT:
            recording.save_info(session, row.action_id, task.instance, recording.json_of(facts.replica), now)
            return
        if facts.result:
            recording.save_result(session, row.action_id, task.instance, facts.result, now)
        if task.task_type in CHANGES_REPLICA:
            transfer_id = row_of(session, DeploymentRow, row.action_id, "deployment").transfer_id
            recording.save_info(session, transfer_id, task.instance, recording.json_of(facts.replica), now)

    @activity.defn(name=FINISH_EXECUTION)
    @recorded
    def finish_execution(self, finish: Finish) -> None:
        """Make the final move; after a COMPLETED one an update takes effect, and `auto_deploy` begins a deployment."""
        with self._database.transaction() as session:
            now = self._now()
            row = recording.execution(session, finish.execution_id)
            if finish.error:
                recording.explain(session, row, finish.error, now)
            if finish.status is ExecutionStatus.CANCELED:
                # Somebody may have cancelled through the engine itself, not through the API.
                recording.move_execution(session, row.id, ExecutionStatus.CANCELLING, now)
            pools.release(session, row.id, now)
            moved = recording.move_execution(session, row.id, finish.status, now)
            if not moved and finish.status is ExecutionStatus.ERROR_ALLOCATING_MINIONS:
                moved = recording.move_execution(session, row.id, ExecutionStatus.ERROR, now)
            if not moved:
                return
            waves.nudge_those_of(session, row, now)
            recording.end_open_tasks(session, row.id, now)
            if finish.status is not ExecutionStatus.COMPLETED:
                return
            if row.type == ExecutionType.TRANSFER_UPDATE:
                _apply(session, row)
            elif row.auto_deploy:
                try:
                    retrying.deploy_after(session, row, self._new_id, now)
                except (Conflict, InvalidInput) as refused:
                    # A minion pool gives nothing, or scripts do not fit. The replica is good all the same, and so is
                    # the execution.
                    recording.tell(session, row, Level.WARNING, f"not deployed: {refused.message}", now)


def _apply(session: Session, execution: ExecutionRow) -> None:
    """Give a transfer the values that its update has tried."""
    transfer = recording.locked_transfer(session, execution.action_id)
    for column, value in (execution.requested or {}).items():
        if column in UPDATABLE:
            setattr(transfer, column, value)


def _connections(session: Session, start: StepStart) -> dict[str, Any]:
    """Return the connection details of a step's endpoints: they may have been replaced since it was planned."""
    row = recording.execution(session, start.execution_id)
    transfer_id = row.action_id
    if row.type == ExecutionType.DEPLOYMENT:
        transfer_id = row_of(session, DeploymentRow, row.action_id, "deployment").transfer_id
    transfer = row_of(session, TransferRow, transfer_id, "transfer")
    return {
        "origin": row_of(session, EndpointRow, transfer.origin_endpoint_id, "endpoint").connection_info,
        "destination": row_of(session, EndpointRow, transfer.destination_endpoint_id, "endpoint").connection_info,
    }


def _is_deployed(session: Session, start: StepStart, instance: str) -> bool:
    """Whether a deployment of the instance succeeded meanwhile, so that its source must stay off."""
    row = recording.execution(session, start.execution_id)
    if row.type != ExecutionType.DEPLOYMENT:
        return False
    transfer_id = row_of(session, DeploymentRow, row.action_id, "deployment").transfer_id
    info = recording.locked_transfer(session, transfer_id).info or {}
    return bool((info.get(instance) or {}).get("deployed"))


def _work_of(session: Session, row: ExecutionRow, trust_id: str | None) -> tuple[Work, TransferRow]:
    """Return what an execution was asked for: a deployment's own wishes stand before its transfer's."""
    if row.type != ExecutionType.DEPLOYMENT:
        transfer = row_of(session, TransferRow, row.action_id, "transfer")
        work = transfer_work(session, transfer, row.id, row.type, trust_id)
        wished = {key: value for key, value in (row.requested or {}).items() if key in _OF_WORK}
        return replace(
            work,
            hold_on_error=bool(row.hold_on_error),
            instances=tuple(row.instances or transfer.instances),
            shutdown_instances=bool(row.shutdown_instances),
            keep_partial=bool(row.keep_partial),
            **wished,
        ), transfer
    deployment = row_of(session, DeploymentRow, row.action_id, "deployment")
    transfer = row_of(session, TransferRow, deployment.transfer_id, "transfer")
    work = transfer_work(session, transfer, row.id, row.type, trust_id or deployment.trust_id)
    return replace(
        work,
        deployment_id=deployment.id,
        instances=tuple(deployment.instances or transfer.instances),
        user_scripts=deployment.user_scripts or work.user_scripts,
        clone_disks=deployment.clone_disks,
        skip_os_morphing=deployment.skip_os_morphing,
        force=deployment.force,
        test=DeploymentTest(**deployment.test) if deployment.test else None,
        luks_secret_ref=deployment.luks_secret_ref,
        hold_on_error=bool(row.hold_on_error),
    ), transfer


_OF_WORK = frozenset(field.name for field in fields(Work)) & UPDATABLE


def _facts(transfer: TransferRow, instances: Sequence[str]) -> dict[str, Facts]:
    info: Mapping[str, Any] = transfer.info or {}
    return {each: Facts(replica=_REPLICA.validate_python(info.get(each) or {})) for each in instances}


def _task(execution_id: str, step: Step, now: datetime) -> TaskRow:
    waits = TaskStatus.EXECUTE_ON_ERROR_ONLY if step.when is When.ON_ERROR else TaskStatus.SCHEDULED
    return TaskRow(
        id=step.id,
        execution_id=execution_id,
        instance=step.instance,
        status=waits,
        task_type=step.task_type,
        depends_on=list(step.depends_on),
        index=step.index,
        on_error=step.on_error,
        created_at=now,
    )
