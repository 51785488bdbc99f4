"""The members of a wave under way: what has become of their executions, beginning and stopping them."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.migration.model import (
    ACTIVE,
    IN_FLIGHT,
    MEMBER_ENDED,
    ExecutionStatus,
    ExecutionType,
    MemberStatus,
    WaveStatus,
)
from isthmus.migration.store import requests, retrying, waves
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TransferRow, WaveMemberRow, WaveRow

Outcome = tuple[MemberStatus, str | None]


def observe(session: Session, row: WaveRow, now: datetime) -> None:
    """Bring the members of a locked wave up to what their executions and deployments say."""
    for member in waves.members(row):
        if member.status not in IN_FLIGHT:
            continue
        status, message = _standing(session, row, member)
        if status != member.status:
            member.status, member.message = status, message
            member.ended_at = now if status in MEMBER_ENDED else None


def _standing(session: Session, row: WaveRow, member: WaveMemberRow) -> Outcome:
    execution = session.get(ExecutionRow, member.execution_id)
    if execution is None:
        return MemberStatus.ERROR, f"execution {member.execution_id} is gone from the database; retry"
    if member.status == MemberStatus.EXECUTING:
        ended = _ended(execution, f"execution {execution.id}")
        if ended is None or ended[0] is not MemberStatus.COMPLETED or not row.auto_deploy:
            return ended or (MemberStatus.EXECUTING, None)
        # The deployment is begun in the very transaction that ends the execution.
        deployment = session.scalar(select(DeploymentRow).where(DeploymentRow.deployer_id == execution.id))
        if deployment is None:
            return MemberStatus.ERROR, f"execution {execution.id} completed but was not deployed; see its last event"
        member.deployment_id = deployment.id
    run = _run_of(session, member.deployment_id)
    ended = _ended(run, f"deployment {member.deployment_id}") if run is not None else None
    return ended or (MemberStatus.DEPLOYING, None)


def _run_of(session: Session, deployment_id: str | None) -> ExecutionRow | None:
    return session.scalar(select(ExecutionRow).where(ExecutionRow.action_id == deployment_id))


def _ended(run: ExecutionRow, what: str) -> Outcome | None:
    if run.status in ACTIVE:
        return None
    if run.status == ExecutionStatus.COMPLETED:
        return MemberStatus.COMPLETED, None
    if run.status == ExecutionStatus.CANCELED:
        return MemberStatus.CANCELED, f"{what} was cancelled"
    reasons = [task.exception_details for task in run.tasks if task.exception_details]
    return MemberStatus.ERROR, f"{what}: {reasons[0] if reasons else run.status}"


def waits_for(session: Session, row: WaveRow, now: datetime) -> str:
    """Return why a locked wave must not begin yet; empty if it may."""
    if row.starts_at is not None and row.starts_at > now:
        return f"begins at {row.starts_at.isoformat()} (UTC)"
    for wave_id in row.after or ():
        other = session.get(WaveRow, wave_id)
        if other is not None and other.status != WaveStatus.COMPLETED:
            return f"waits for wave {other.id} ({other.name}), which is {other.status}"
    return ""


def begin(
    session: Session, wave: tuple[str, str], member: tuple[str, str], now: datetime, new_id: Callable[[], str]
) -> None:
    """Begin one member; `wave` is (project, id), `member` (its transfer, id). Must be a transaction of its own.

    Nothing happens if it has begun already or the wave was stopped meanwhile. Raises `Conflict` while the transfer is
    busy, other errors if it can never begin.
    """
    (project_id, wave_id), (transfer_id, member_id) = wave, member
    waves.lock(session, wave_id)
    transfer = requests.claim_transfer(session, project_id, transfer_id)
    row = waves.get(session, project_id, wave_id)
    found = session.get_one(WaveMemberRow, member_id)
    if row.status != WaveStatus.RUNNING or found.status != MemberStatus.PENDING:
        return
    run = ExecutionRow(
        id=new_id(),
        action_id=transfer.id,
        project_id=project_id,
        type=ExecutionType.TRANSFER_EXECUTION,
        shutdown_instances=row.shutdown_instances,
        auto_deploy=row.auto_deploy,
        tasks=[],
        created_at=now,
    )
    transfer.trust_id = row.trust_id
    _start(session, transfer, found, run)
    requests.record_begun(session, run, row.user_id, f"/waves/{row.id}", now)
    found.execution_id, found.deployment_id, found.message = run.id, None, None
    found.status, found.started_at, found.ended_at = MemberStatus.EXECUTING, now, None


def _start(session: Session, transfer: TransferRow, member: WaveMemberRow, run: ExecutionRow) -> None:
    """Start what is left to do: after a failed deployment or pass, that of the machines alone that failed in it."""
    run.instances = member.instances
    deployed = _run_of(session, member.deployment_id) if member.deployment_id else None
    if deployed is not None:
        whole = session.get_one(DeploymentRow, member.deployment_id).instances
        run.instances = retrying.failed_instances(deployed, whole) or member.instances
    elif member.execution_id and (last := retrying.last_execution(session, transfer.id)) is not None:
        failed = last.status not in {*ACTIVE, ExecutionStatus.COMPLETED}
        if last.id == member.execution_id and failed:
            retrying.retry_execution(session, transfer, last, run, None)
            return
    requests.start_execution(session, transfer, run)


def put_off(session: Session, member_id: str, status: MemberStatus, error: IsthmusError, now: datetime) -> None:
    """Note why a member has not begun: it goes on waiting, or has failed."""
    member = session.get_one(WaveMemberRow, member_id)
    if member.status == MemberStatus.PENDING:
        member.status, member.message = status, error.message
        member.ended_at = now if status is MemberStatus.ERROR else None


def stop(session: Session, wave: tuple[str, str], member: tuple[str, str], now: datetime) -> None:
    """Cancel what is in flight of one member. Arguments as of `begin`; already done: it is being cancelled, or ended.

    Raises `InvalidInput` if it ends in this very moment.
    """
    (project_id, wave_id), (transfer_id, member_id) = wave, member
    waves.lock(session, wave_id)
    requests.claim_transfer(session, project_id, transfer_id)
    found = session.get_one(WaveMemberRow, member_id)
    deployment = session.scalar(select(DeploymentRow).where(DeploymentRow.deployer_id == found.execution_id))
    run = _run_of(session, deployment.id) if deployment else session.get(ExecutionRow, found.execution_id)
    if run is not None and run.status in ACTIVE - {ExecutionStatus.CANCELLING}:
        requests.cancel_execution(session, run, force=False, now=now)
