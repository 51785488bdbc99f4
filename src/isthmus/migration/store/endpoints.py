"""Endpoints as the API reads and writes them. Another project's endpoint does not exist here."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Text, cast, or_, select, update
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict, NotFound
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import EndpointRow, MinionPoolRow, TransferRow


def add(session: Session, row: EndpointRow) -> None:
    """Keep a new endpoint."""
    session.add(row)
    session.flush()


def get(session: Session, project_id: str, endpoint_id: str) -> EndpointRow:
    """Return a live endpoint of the project; `NotFound` if there is none."""
    row = session.scalar(
        select(EndpointRow).where(
            EndpointRow.id == endpoint_id, EndpointRow.project_id == project_id, EndpointRow.deleted_at.is_(None)
        )
    )
    if row is None:
        raise NotFound(f"there is no endpoint {endpoint_id} in this project; GET endpoints lists those that exist")
    return row


def fetch(session: Session, project_id: str, page: Page) -> Sequence[EndpointRow]:
    """Return a page of the project's endpoints."""
    return fetch_page(session, EndpointRow, select(EndpointRow).where(EndpointRow.project_id == project_id), page)


def claim(session: Session, project_id: str, endpoint_id: str) -> EndpointRow:
    """Return the endpoint, locked until the transaction ends.

    Must be the first thing a transaction does: all that it reads afterwards is then as fresh as the lock. An update
    that changes nothing is the one row lock that MariaDB, PostgreSQL and SQLite have in common.
    """
    session.execute(
        update(EndpointRow)
        .where(EndpointRow.id == endpoint_id, EndpointRow.project_id == project_id)
        .values(project_id=EndpointRow.project_id)
    )
    return get(session, project_id, endpoint_id)


def mark_deleted(session: Session, row: EndpointRow, now: datetime) -> None:
    """Delete a claimed endpoint; `Conflict` names a transfer that uses it, or that is still being forgotten."""
    uses_it = or_(TransferRow.origin_endpoint_id == row.id, TransferRow.destination_endpoint_id == row.id)
    user = session.scalar(select(TransferRow.id).where(TransferRow.deleted_at.is_(None), uses_it).limit(1))
    if user is not None:
        raise Conflict(f"endpoint {row.id} ({row.name}) is used by transfer {user}; delete that transfer first")
    pool = session.scalar(
        select(MinionPoolRow.id).where(MinionPoolRow.deleted_at.is_(None), MinionPoolRow.endpoint_id == row.id).limit(1)
    )
    if pool is not None:
        raise Conflict(f"endpoint {row.id} ({row.name}) is used by minion pool {pool}; delete that pool first")
    # The traces of a deleted transfer are removed with the endpoint's secret, which would be gone. `TransferForget`
    # empties `info` as its last act; compared as text, the one way that all databases have in common.
    leaving = session.scalar(
        select(TransferRow.id)
        .where(TransferRow.deleted_at.is_not(None), uses_it, cast(TransferRow.info, Text) != "{}")
        .limit(1)
    )
    if leaving is not None:
        raise Conflict(
            f"what transfer {leaving} left at endpoint {row.id} ({row.name}) is being removed; try again in a moment"
        )
    row.deleted_at = now
    session.flush()
