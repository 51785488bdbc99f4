"""Assessments as the API and the engine read and write them. Another project's assessment does not exist here.

The rows of the machines are the place where the work stands: a batch is whatever has not been assessed yet, so going on
after a crash needs nothing else.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from isthmus.control import outbox
from isthmus.control.errors import NotFound
from isthmus.migration.model import AssessmentStatus
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import AssessedMachineRow, AssessmentRow

WORKFLOW = "Assessment"
_ROW_IDS = uuid.UUID("2e9d3a43-8f44-4f6e-9a53-6d6c8f0f2a10")


def workflow_id(assessment_id: str) -> str:
    """Return the id of an assessment's workflow."""
    return f"assessment-{assessment_id}"


def get(session: Session, project_id: str, assessment_id: str) -> AssessmentRow:
    """Return a live assessment of the project; `NotFound` if there is none."""
    row = session.scalar(
        select(AssessmentRow).where(
            AssessmentRow.id == assessment_id,
            AssessmentRow.project_id == project_id,
            AssessmentRow.deleted_at.is_(None),
        )
    )
    if row is None:
        raise NotFound(f"there is no assessment {assessment_id} in this project; GET assessments lists those there are")
    return row


def fetch(session: Session, project_id: str, page: Page) -> Sequence[AssessmentRow]:
    """Return a page of the project's assessments."""
    wanted = select(AssessmentRow).where(AssessmentRow.project_id == project_id)
    if page.status is not None:
        wanted = wanted.where(AssessmentRow.status == page.status)
    return fetch_page(session, AssessmentRow, wanted, page)


def machines(
    session: Session, assessment_id: str, *, after: int | None, limit: int | None, severity: str | None
) -> Sequence[AssessedMachineRow]:
    """Return the machines that have been assessed, in their order, behind position `after`, with that severity."""
    wanted = select(AssessedMachineRow).where(
        AssessedMachineRow.assessment_id == assessment_id, AssessedMachineRow.assessed_at.is_not(None)
    )
    if after is not None:
        wanted = wanted.where(AssessedMachineRow.position > after)
    if severity is not None:
        wanted = wanted.where(AssessedMachineRow.severity == severity)
    return session.scalars(wanted.order_by(AssessedMachineRow.position).limit(limit)).all()


def position(session: Session, assessment_id: str, instance: str) -> int:
    """Return the place of a machine among those of its assessment; `NotFound` if it is none of them."""
    found = session.scalar(
        select(AssessedMachineRow.position).where(
            AssessedMachineRow.assessment_id == assessment_id, AssessedMachineRow.instance == instance
        )
    )
    if found is None:
        raise NotFound(f"the marker {instance} is not in this listing; start without a marker")
    return found


def start(session: Session, row: AssessmentRow) -> None:
    """Keep a new assessment and have it carried out."""
    session.add(row)
    session.flush()
    tell(session, row, row.created_at)


def tell(session: Session, row: AssessmentRow, now: datetime) -> None:
    """Have the engine carry an assessment out, from where its rows say that it stands."""
    outbox.start(
        session,
        workflow=WORKFLOW,
        workflow_id=workflow_id(row.id),
        argument={"assessment_id": row.id},
        now=now,
    )


def remove(session: Session, row: AssessmentRow, now: datetime) -> None:
    """Hide an assessment and forget its machines; one that runs is stopped."""
    if row.status == AssessmentStatus.RUNNING:
        outbox.cancel(session, workflow_id=workflow_id(row.id), force=False, now=now)
    row.deleted_at = row.updated_at = now
    session.flush()
    session.execute(delete(AssessedMachineRow).where(AssessedMachineRow.assessment_id == row.id))


def running(session: Session, assessment_id: str) -> AssessmentRow | None:
    """Return an assessment that is to go on, locked until the transaction ends; None if it has ended or is deleted."""
    session.execute(update(AssessmentRow).where(AssessmentRow.id == assessment_id).values(id=AssessmentRow.id))
    row = session.get(AssessmentRow, assessment_id, populate_existing=True)
    if row is None or row.deleted_at is not None or row.status != AssessmentStatus.RUNNING:
        return None
    return row


def add_machines(session: Session, row: AssessmentRow, instances: Sequence[str], now: datetime) -> None:
    """Write down which machines are to be assessed. Already done: they are written down."""
    if row.total is None:
        session.add_all(
            AssessedMachineRow(
                id=str(uuid.uuid5(_ROW_IDS, f"{row.id}/{position}")),
                assessment_id=row.id,
                position=position,
                instance=instance,
            )
            for position, instance in enumerate(instances)
        )
        row.total, row.updated_at = len(instances), now


def waiting(session: Session, assessment_id: str, limit: int) -> list[str]:
    """Return the next instances that have not been assessed."""
    wanted = select(AssessedMachineRow.instance).where(
        AssessedMachineRow.assessment_id == assessment_id, AssessedMachineRow.assessed_at.is_(None)
    )
    return list(session.scalars(wanted.order_by(AssessedMachineRow.position).limit(limit)))


def by_instance(session: Session, assessment_id: str, instances: Sequence[str]) -> dict[str, AssessedMachineRow]:
    """Return the rows of some machines."""
    wanted = select(AssessedMachineRow).where(
        AssessedMachineRow.assessment_id == assessment_id, AssessedMachineRow.instance.in_(instances)
    )
    return {row.instance: row for row in session.scalars(wanted)}


def count_done(session: Session, row: AssessmentRow, now: datetime) -> None:
    """Show how many machines have been assessed."""
    session.flush()
    wanted = select(func.count()).where(
        AssessedMachineRow.assessment_id == row.id, AssessedMachineRow.assessed_at.is_not(None)
    )
    row.done, row.updated_at = session.scalar(wanted) or 0, now


def end(row: AssessmentRow, status: AssessmentStatus, now: datetime, *, error: str | None, result: Any) -> None:
    """Make the final move of an assessment that `running` gave."""
    row.status, row.error, row.result, row.updated_at = status, error, result, now


def unfinished(session: Session) -> list[str]:
    """Return the ids of all assessments that are to go on."""
    wanted = select(AssessmentRow.id).where(
        AssessmentRow.status == AssessmentStatus.RUNNING, AssessmentRow.deleted_at.is_(None)
    )
    return list(session.scalars(wanted))
