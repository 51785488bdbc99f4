"""Transfers, executions and deployments as the API shows them. Another project's objects do not exist here."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, defer, raiseload

from isthmus.control.errors import NotFound
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TransferRow


def transfer(session: Session, project_id: str, transfer_id: str) -> TransferRow:
    """Return a live transfer of the project; `NotFound` if there is none."""
    row = session.scalar(
        select(TransferRow).where(
            TransferRow.id == transfer_id, TransferRow.project_id == project_id, TransferRow.deleted_at.is_(None)
        )
    )
    if row is None:
        raise NotFound(f"there is no transfer {transfer_id} in this project; GET transfers lists those that exist")
    return row


def transfers(session: Session, project_id: str, page: Page, *, with_info: bool = True) -> Sequence[TransferRow]:
    """Return a page of the project's transfers; `info`, which is long, only if it is wanted."""
    wanted = select(TransferRow).where(TransferRow.project_id == project_id)
    if not with_info:
        wanted = wanted.options(defer(TransferRow.info, raiseload=True))
    if page.status is not None:
        wanted = wanted.where(TransferRow.last_execution_status == page.status)
    return fetch_page(session, TransferRow, wanted, page)


def transfers_by_id(session: Session, ids: Sequence[str]) -> dict[str, TransferRow]:
    """Return transfers by id, deleted ones too: their deployments outlive them."""
    return {row.id: row for row in session.scalars(select(TransferRow).where(TransferRow.id.in_(set(ids))))}


def execution(session: Session, project_id: str, action_id: str, execution_id: str) -> ExecutionRow:
    """Return a live execution of a transfer or deployment, with its tasks; `NotFound` if there is none."""
    row = session.scalar(
        select(ExecutionRow).where(
            ExecutionRow.id == execution_id,
            ExecutionRow.action_id == action_id,
            ExecutionRow.project_id == project_id,
            ExecutionRow.deleted_at.is_(None),
        )
    )
    if row is None:
        raise NotFound(f"there is no execution {execution_id} of transfer {action_id}; list its executions")
    return row


def executions(
    session: Session, project_id: str, action_ids: Sequence[str], page: Page, *, with_tasks: bool
) -> Sequence[ExecutionRow]:
    """Return a page of the executions of transfers or deployments."""
    wanted = select(ExecutionRow).where(
        ExecutionRow.project_id == project_id, ExecutionRow.action_id.in_(set(action_ids))
    )
    if page.status is not None:
        wanted = wanted.where(ExecutionRow.status == page.status)
    if not with_tasks:
        wanted = wanted.options(raiseload(ExecutionRow.tasks))
    return fetch_page(session, ExecutionRow, wanted, page)


def deployment(session: Session, project_id: str, deployment_id: str) -> DeploymentRow:
    """Return a live deployment of the project; `NotFound` if there is none."""
    row = session.scalar(
        select(DeploymentRow).where(
            DeploymentRow.id == deployment_id,
            DeploymentRow.project_id == project_id,
            DeploymentRow.deleted_at.is_(None),
        )
    )
    if row is None:
        raise NotFound(
            f"there is no deployment {deployment_id} in this project; GET deployments lists those that exist"
        )
    return row


def deployments(session: Session, project_id: str, page: Page) -> Sequence[DeploymentRow]:
    """Return a page of the project's deployments."""
    wanted = select(DeploymentRow).where(DeploymentRow.project_id == project_id)
    if page.status is not None:
        wanted = wanted.where(DeploymentRow.last_execution_status == page.status)
    return fetch_page(session, DeploymentRow, wanted, page)
