"""Taking up what has failed: a new execution, or a new deployment, of those instances alone that did not get there.

The new one is a row of its own, so that the old one goes on telling why it failed. It begins with its first step, as
the undo has closed everything; what a copy had sent and kept is not sent again (`planning.steps.keeps_partial`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.control import outbox
from isthmus.control.errors import Conflict, InvalidInput
from isthmus.migration.model import ACTIVE, ExecutionStatus, ExecutionType, TaskStatus
from isthmus.migration.store import requests
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TransferRow


def failed_instances(row: ExecutionRow, instances: Sequence[str]) -> list[str]:
    """Return those of `instances` for which an ended execution did not do all that success needs, in their order."""
    return [each for each in instances if not _succeeded(row, each)]


def _succeeded(row: ExecutionRow, instance: str) -> bool:
    tasks = [task for task in row.tasks if task.instance == instance]
    forward = [task for task in tasks if not task.on_error]
    return (
        bool(forward)
        and all(task.status == TaskStatus.COMPLETED for task in forward)
        and not any(task.status == TaskStatus.ERROR for task in tasks)
    )


def retry_held(session: Session, row: ExecutionRow, wanted: Sequence[str] | None, now: datetime) -> None:
    """Have the held steps of an execution under way run again; `wanted` narrows them down to some instances.

    Raises `Conflict` if none is held.
    """
    held = [
        task
        for task in row.tasks
        if task.status == TaskStatus.ERROR and (wanted is None or task.instance in wanted) and row.hold_on_error
    ]
    if not held or row.status == ExecutionStatus.CANCELLING:
        raise Conflict(f"execution {row.id} is {row.status} and holds no failed step: wait for its end, then retry it")
    for task in held:
        outbox.signal(session, workflow_id=f"execution-{row.id}", name="retry_step", argument=task.id, now=now)


def retry_execution(
    session: Session, transfer: TransferRow, row: ExecutionRow, run: ExecutionRow, wanted: Sequence[str] | None
) -> ExecutionRow:
    """Begin `run` for the instances of a claimed transfer that failed in `row`; `wanted` narrows them down.

    `run` takes over what `row` was asked for. Raises `Conflict` if `row` has not failed or is not the transfer's last
    execution, `InvalidInput` if `wanted` names an instance that did not fail.
    """
    _refuse_unless_failed(row.status, f"execution {row.id}")
    latest = last_execution(session, row.action_id)
    if latest is not None and latest.id != row.id:
        raise Conflict(
            f"execution {row.id} is not the last one of transfer {transfer.id}: retry {latest.id}, or execute the "
            "transfer anew"
        )
    run.type = row.type
    run.retry_of = row.id
    run.requested = row.requested
    run.hold_on_error = row.hold_on_error
    run.shutdown_instances, run.auto_deploy, run.keep_partial = (
        row.shutdown_instances,
        row.auto_deploy,
        row.keep_partial,
    )
    if row.type == ExecutionType.TRANSFER_UPDATE:
        # New values become the transfer's own only if they fit all of its instances.
        if wanted is not None:
            raise InvalidInput(f"execution {row.id} is an update, which is for all instances: retry it without any")
    else:
        run.instances = _chosen(row, row.instances or transfer.instances, wanted)
    return requests.start_execution(session, transfer, run)


def retry_deployment(
    session: Session,
    transfer: TransferRow,
    old: DeploymentRow,
    run: ExecutionRow,
    wanted: Sequence[str] | None,
    *,
    new_id: str,
) -> DeploymentRow:
    """Begin a deployment of the instances of a claimed transfer that failed in `old`. Raises as `retry_execution`.

    What a later deployment has deployed is left out, and refused if it is `wanted`: a second machine would have the
    addresses of the first.
    """
    _refuse_unless_failed(old.last_execution_status, f"deployment {old.id}")
    last = last_execution(session, old.id)
    instances = old.instances or transfer.instances
    chosen = list(wanted or instances) if last is None else _chosen(last, instances, wanted)
    done = {} if old.test else _deployed_since(session, old)
    if done.keys() & set(wanted or ()) or not set(chosen) - done.keys():
        by = ", ".join(f"{each} by deployment {done[each]}" for each in chosen if each in done)
        raise Conflict(
            f"deployed since deployment {old.id} failed: {by}; there is nothing to retry of these. To deploy one once "
            "more, remove its machine and begin a new deployment"
        )
    chosen = [each for each in chosen if each not in done]
    row = DeploymentRow(
        id=new_id,
        project_id=old.project_id,
        user_id=old.user_id,
        trust_id=transfer.trust_id,
        transfer_id=transfer.id,
        retry_of=old.id,
        instances=chosen,
        clone_disks=old.clone_disks,
        force=old.force,
        test=old.test,
        luks_secret_ref=old.luks_secret_ref,
        skip_os_morphing=old.skip_os_morphing,
        instance_osmorphing_minion_pool_mappings=old.instance_osmorphing_minion_pool_mappings,
        user_scripts=old.user_scripts,
        info={},
        created_at=run.created_at,
    )
    run.action_id = row.id
    run.hold_on_error = bool(last and last.hold_on_error)
    requests.start_deployment(session, transfer, row, run)
    return row


def _deployed_since(session: Session, old: DeploymentRow) -> dict[str, str]:
    """Return the instances that later deployments of the transfer have deployed, each with the deployment's id.

    A deployment that was deleted counts too, as its machines are still there; a test has removed its own.
    """
    later = session.scalars(
        select(DeploymentRow)
        .where(DeploymentRow.transfer_id == old.transfer_id, DeploymentRow.created_at >= old.created_at)
        .where(DeploymentRow.id != old.id)
    )
    done = {}
    for row in later:
        run = last_execution(session, row.id)
        if run is None or row.test:
            continue
        whole = run.status == ExecutionStatus.COMPLETED
        done.update({each: row.id for each in row.instances if whole or _succeeded(run, each)})
    return done


def deploy_after(session: Session, execution: ExecutionRow, new_id: Callable[[], str], now: datetime) -> DeploymentRow:
    """Begin the deployment that a COMPLETED execution with `auto_deploy` asks for.

    A retry deploys all that the first execution would have deployed: its other instances are waiting for it. Raises
    `Conflict` if the transfer cannot be deployed now, `InvalidInput` if it is more than one execution takes.
    """
    first = execution
    while first.retry_of is not None and (earlier := session.get(ExecutionRow, first.retry_of)) is not None:
        first = earlier
    transfer = requests.claim_transfer(session, execution.project_id, execution.action_id)
    deployment = DeploymentRow(
        id=new_id(),
        project_id=transfer.project_id,
        user_id=transfer.user_id,
        trust_id=transfer.trust_id,
        transfer_id=transfer.id,
        deployer_id=execution.id,
        instances=list(first.instances or transfer.instances),
        clone_disks=transfer.clone_disks,
        force=False,
        luks_secret_ref=transfer.destination_environment.get("luks_secret_ref"),
        skip_os_morphing=transfer.skip_os_morphing,
        instance_osmorphing_minion_pool_mappings=transfer.instance_osmorphing_minion_pool_mappings,
        user_scripts=transfer.user_scripts,
        last_execution_status=ExecutionStatus.RUNNING,
        info={},
        created_at=now,
    )
    run = ExecutionRow(
        id=new_id(),
        action_id=deployment.id,
        project_id=transfer.project_id,
        type=ExecutionType.DEPLOYMENT,
        status=ExecutionStatus.RUNNING,
        number=1,
        hold_on_error=execution.hold_on_error,
        created_at=now,
    )
    requests.start_deployment(session, transfer, deployment, run)
    cause = f"/transfers/{transfer.id}/executions/{execution.id}"
    requests.record_begun(session, run, deployment.user_id, cause, now)
    return deployment


def _refuse_unless_failed(status: str, what: str) -> None:
    if status in ACTIVE:
        raise Conflict(f"{what} is {status}: wait for its end before retrying it")
    if status == ExecutionStatus.COMPLETED:
        raise Conflict(f"{what} is {status}: there is nothing to retry")


def last_execution(session: Session, action_id: str) -> ExecutionRow | None:
    """Return the last execution of a transfer or deployment; None if it has none."""
    wanted = select(ExecutionRow).where(ExecutionRow.action_id == action_id, ExecutionRow.deleted_at.is_(None))
    return session.scalars(wanted.order_by(ExecutionRow.number.desc()).limit(1)).first()


def _chosen(row: ExecutionRow, instances: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    failed = failed_instances(row, instances)
    others = sorted(set(wanted or ()) - set(failed))
    if others:
        raise InvalidInput(
            f"these did not fail in execution {row.id}: {', '.join(others)}; failed: {', '.join(failed)}"
        )
    # None failed, yet the execution did: before or after all of its steps.
    return list(wanted or failed or instances)
