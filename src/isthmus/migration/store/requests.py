"""What the API asks for: each function is one accepted request, its row and its outbox entry in one transaction.

Two requests about one transfer are put in order by a lock on its row (`claim_transfer`); the second one then sees
what the first one wrote and is refused with the reason. Another project's objects do not exist here.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from isthmus.control import audit_records, outbox
from isthmus.control.errors import Conflict, InvalidInput
from isthmus.migration.model import ACTIVE, EXECUTION_MOVES, ExecutionStatus, ExecutionType, sources_of
from isthmus.migration.store import limits, pools, reading
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TransferRow

WORKFLOWS = {
    ExecutionType.TRANSFER_EXECUTION: "TransferExecution",
    ExecutionType.TRANSFER_DISKS_DELETE: "TransferDisksDelete",
    ExecutionType.TRANSFER_UPDATE: "TransferUpdate",
    ExecutionType.TRANSFER_VERIFICATION: "TransferVerification",
    ExecutionType.DEPLOYMENT: "Deployment",
}


def claim_transfer(session: Session, project_id: str, transfer_id: str) -> TransferRow:
    """Return a live transfer of the project, locked until the transaction ends; `NotFound` if there is none.

    Must be the first thing a transaction does, see `endpoints.claim`.
    """
    session.execute(
        update(TransferRow)
        .where(TransferRow.id == transfer_id, TransferRow.project_id == project_id)
        .values(project_id=TransferRow.project_id)
    )
    return reading.transfer(session, project_id, transfer_id)


def refuse_if_in_use(session: Session, transfer: TransferRow) -> None:
    """Return if nothing works on a claimed transfer; `Conflict` names what does."""
    running = session.scalar(
        select(ExecutionRow.id)
        .where(
            ExecutionRow.action_id == transfer.id,
            ExecutionRow.status.in_(ACTIVE),
            ExecutionRow.deleted_at.is_(None),
        )
        .limit(1)
    )
    if running is not None:
        raise Conflict(
            f"transfer {transfer.id} has the execution {running} under way; wait for its end, or cancel it first"
        )
    deploying = session.scalar(
        select(DeploymentRow.id)
        .where(
            DeploymentRow.transfer_id == transfer.id,
            DeploymentRow.last_execution_status.in_(ACTIVE),
            DeploymentRow.deleted_at.is_(None),
        )
        .limit(1)
    )
    if deploying is not None:
        raise Conflict(
            f"transfer {transfer.id} is being deployed by deployment {deploying}; wait for its end, or cancel it first"
        )


def start_execution(
    session: Session, transfer: TransferRow, execution: ExecutionRow, *, trust_id: str | None = None
) -> ExecutionRow:
    """Begin an execution of a claimed transfer: a synchronisation, an update, or the deletion of its disks.

    Raises `Conflict` while something else works on it, `InvalidInput` if it is more than one execution takes.
    `trust_id` becomes the transfer's, if the execution begins: what works on it now goes on with its own.
    """
    refuse_if_in_use(session, transfer)
    instances = execution.instances or transfer.instances
    limits.check_plan(instances, transfer.info or {}, transfer.user_scripts or {})
    if execution.auto_deploy:
        limits.check_scripts(instances, transfer.user_scripts or {})
    now, trust_id = execution.created_at, trust_id or transfer.trust_id
    execution.status = _first_status(session, pools.wanted_by(transfer, None, execution.type, execution.instances))
    moved = session.execute(
        update(TransferRow)
        .where(TransferRow.id == transfer.id, TransferRow.last_execution_status.not_in(ACTIVE))
        .values(last_execution_status=execution.status, updated_at=now, trust_id=trust_id)
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined] # an update's result is a CursorResult
        raise Conflict(f"transfer {transfer.id} is {transfer.last_execution_status}; wait until it is not")
    session.refresh(transfer)
    return _start(session, execution, trust_id, now)


def record_begun(session: Session, execution: ExecutionRow, user_id: str, cause: str, now: datetime) -> None:
    """Leave an audit record of an execution that nobody's call began, but what a user had made for it (`cause`)."""
    deployed = execution.type is ExecutionType.DEPLOYMENT
    audit_records.record_consequence(
        session,
        service="migration",
        user_id=user_id,
        project_id=execution.project_id,
        resource="deployments" if deployed else "transfers/executions",
        object_id=execution.action_id if deployed else execution.id,
        cause=f"/{execution.project_id}{cause}",
        now=now,
    )


def start_verification(session: Session, transfer: TransferRow, execution: ExecutionRow) -> ExecutionRow:
    """Begin a verification of a claimed transfer, whose last execution must be COMPLETED, or a verification itself.

    Its end is the transfer's last status, which must not hide a pass that failed.
    """
    refuse_if_in_use(session, transfer)
    wanted = select(ExecutionRow).where(ExecutionRow.action_id == transfer.id, ExecutionRow.deleted_at.is_(None))
    last = session.scalars(wanted.order_by(ExecutionRow.number.desc()).limit(1)).first()
    if transfer.last_execution_status != ExecutionStatus.COMPLETED and (last is None or last.type != execution.type):
        raise Conflict(
            f"the last execution of transfer {transfer.id} is {transfer.last_execution_status}; execute it until it "
            "is COMPLETED, then verify it"
        )
    return start_execution(session, transfer, execution)


def start_deployment(session: Session, transfer: TransferRow, row: DeploymentRow, execution: ExecutionRow) -> None:
    """Begin a deployment of a claimed transfer, which needs a COMPLETED last execution unless `row.force`.

    Raises `Conflict` without it, `InvalidInput` if it is more than one execution takes.
    """
    refuse_if_in_use(session, transfer)
    if not row.force and transfer.last_execution_status != ExecutionStatus.COMPLETED:
        raise Conflict(
            f"the last execution of transfer {transfer.id} is {transfer.last_execution_status}; execute it until it "
            "is COMPLETED, or use force to deploy what its disks hold now"
        )
    instances = row.instances or transfer.instances
    scripts = row.user_scripts or transfer.user_scripts or {}
    limits.check_plan(instances, transfer.info or {}, scripts)
    limits.check_scripts(instances, scripts)
    execution.status = _first_status(session, pools.wanted_by(transfer, row, execution.type))
    row.last_execution_status = execution.status
    session.add(row)
    session.flush()
    _start(session, execution, row.trust_id, row.created_at)


def _first_status(session: Session, wanted: Mapping[str, tuple[str, ...]]) -> ExecutionStatus:
    pools.check_ready(session, wanted)
    return ExecutionStatus.AWAITING_MINION_ALLOCATIONS if wanted else ExecutionStatus.RUNNING


def _start(session: Session, execution: ExecutionRow, trust_id: str | None, now: datetime) -> ExecutionRow:
    last = session.scalar(select(func.max(ExecutionRow.number)).where(ExecutionRow.action_id == execution.action_id))
    execution.number = (last or 0) + 1
    session.add(execution)
    session.flush()
    outbox.start(
        session,
        workflow=WORKFLOWS[ExecutionType(execution.type)],
        workflow_id=f"execution-{execution.id}",
        argument={"execution_id": execution.id, "trust_id": trust_id},
        now=now,
    )
    return execution


def cancel_execution(
    session: Session, execution: ExecutionRow, *, force: bool, now: datetime, keep: bool = False
) -> None:
    """Have an active execution stop; with `keep` it keeps what a first copy has copied.

    As in Coriolis, one that has ended, or that is being cancelled already and not forced, is bad input (400).
    """
    moved = _move(session, execution, ExecutionStatus.CANCELLING, now)
    if not moved and execution.status == ExecutionStatus.PENDING:
        moved = _move(session, execution, ExecutionStatus.CANCELED, now)
    session.refresh(execution, ["status"])
    forced = force and execution.status == ExecutionStatus.CANCELLING
    if not moved and not forced:
        raise InvalidInput(
            f"execution {execution.id} is being cancelled already; use force to stop its undo steps too"
            if execution.status == ExecutionStatus.CANCELLING
            else f"execution {execution.id} is {execution.status}: there is nothing to cancel"
        )
    _show_status(session, execution, now)
    outbox.cancel(session, workflow_id=f"execution-{execution.id}", force=force, keep=keep, now=now)


def _move(session: Session, execution: ExecutionRow, target: ExecutionStatus, now: datetime) -> bool:
    moved = session.execute(
        update(ExecutionRow)
        .where(ExecutionRow.id == execution.id, ExecutionRow.status.in_(sources_of(EXECUTION_MOVES, target)))
        .values(status=target, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(moved.rowcount == 1)  # type: ignore[attr-defined] # an update's result is a CursorResult


def _show_status(session: Session, execution: ExecutionRow, now: datetime) -> None:
    owner = DeploymentRow if execution.type == ExecutionType.DEPLOYMENT else TransferRow
    session.execute(
        update(owner)
        .where(owner.id == execution.action_id, owner.last_execution_status.in_(ACTIVE))
        .values(last_execution_status=execution.status, updated_at=now)
    )


def delete_execution(execution: ExecutionRow, now: datetime) -> None:
    """Hide an execution that has ended; `Conflict` for an active one."""
    if execution.status in ACTIVE:
        raise Conflict(f"execution {execution.id} is {execution.status}; wait for its end, or cancel it first")
    execution.deleted_at = now


def delete_deployment(row: DeploymentRow, now: datetime) -> None:
    """Hide a deployment that has ended, never its machines; `Conflict` for an active one."""
    if row.last_execution_status in ACTIVE:
        raise Conflict(f"deployment {row.id} is {row.last_execution_status}; wait for its end, or cancel it first")
    row.deleted_at = now


def delete_transfer(session: Session, transfer: TransferRow, now: datetime) -> None:
    """Hide a claimed transfer that nothing works on, and have its checkpoints at the source removed.

    As in Coriolis its disks at the destination stay unless they were deleted before (action `delete-disks`).
    """
    refuse_if_in_use(session, transfer)
    transfer.deleted_at = now
    session.flush()
    outbox.start(
        session,
        workflow="TransferForget",
        workflow_id=f"forget-{transfer.id}",
        argument={"transfer_id": transfer.id, "trust_id": transfer.trust_id},
        now=now,
    )


def claim_deployment(session: Session, project_id: str, deployment_id: str) -> DeploymentRow:
    """Return a live deployment of the project, locked until the transaction ends; `NotFound` if there is none.

    Must be the first thing a transaction does, see `endpoints.claim`.
    """
    session.execute(
        update(DeploymentRow)
        .where(DeploymentRow.id == deployment_id, DeploymentRow.project_id == project_id)
        .values(project_id=DeploymentRow.project_id)
    )
    return reading.deployment(session, project_id, deployment_id)
