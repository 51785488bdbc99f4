"""Waves in the database: who may be started, what has become of those that were.

The order of locks is wave, then transfer; nothing else locks a wave. What a wave does next is decided by
`planning.waves`.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from isthmus.control import outbox
from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.migration.model import WAVE_ACTIVE, WAVE_MOVES, MemberStatus, WaveStatus
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import DeploymentRow, ExecutionRow, WaveGroupRow, WaveMemberRow, WaveRow

LOOK = "look"
"""The signal that has a wave's workflow look at once."""


def get(session: Session, project_id: str, wave_id: str) -> WaveRow:
    """Return a live wave of the project; `NotFound` if there is none."""
    row = session.scalar(
        select(WaveRow).where(WaveRow.id == wave_id, WaveRow.project_id == project_id, WaveRow.deleted_at.is_(None))
    )
    if row is None:
        raise NotFound(f"there is no wave {wave_id} in this project; GET waves lists those that exist")
    return row


def fetch(session: Session, project_id: str, page: Page) -> Sequence[WaveRow]:
    """Return a page of the project's waves."""
    wanted = select(WaveRow).where(WaveRow.project_id == project_id)
    if page.status is not None:
        wanted = wanted.where(WaveRow.status == page.status)
    return fetch_page(session, WaveRow, wanted, page)


def claim(session: Session, project_id: str, wave_id: str) -> WaveRow:
    """Return a live wave of the project, locked until the transaction ends; `NotFound` if there is none.

    Must be the first thing a transaction does, see `endpoints.claim`.
    """
    lock(session, wave_id)
    return get(session, project_id, wave_id)


def lock(session: Session, wave_id: str) -> None:
    """Lock a wave's row until the transaction ends; read it afterwards."""
    session.execute(
        update(WaveRow)
        .where(WaveRow.id == wave_id)
        .values(project_id=WaveRow.project_id)
        .execution_options(synchronize_session=False)
    )


def lock_project(session: Session, project_id: str) -> None:
    """Lock all of a project's waves: who says what one waits for must not meet another who does."""
    session.execute(
        update(WaveRow)
        .where(WaveRow.project_id == project_id)
        .values(project_id=WaveRow.project_id)
        .execution_options(synchronize_session=False)
    )


def others(session: Session, row: WaveRow) -> dict[str, WaveRow]:
    """Return the project's other live waves by id."""
    wanted = select(WaveRow).where(
        WaveRow.project_id == row.project_id, WaveRow.deleted_at.is_(None), WaveRow.id != row.id
    )
    return {each.id: each for each in session.scalars(wanted)}


def refuse_if_needed(session: Session, row: WaveRow) -> None:
    """Return if no wave waits for this one; `Conflict` names one that does."""
    for each in others(session, row).values():
        if row.id in (each.after or ()):
            raise Conflict(f"wave {each.id} ({each.name}) waits for wave {row.id}: take it out of its after first")


def refuse_if_planned(session: Session, transfer_id: str) -> None:
    """Return if no wave that is under way has the transfer; `Conflict` names one that has."""
    found = session.scalar(
        select(WaveRow.id)
        .join(WaveGroupRow, WaveGroupRow.wave_id == WaveRow.id)
        .join(WaveMemberRow, WaveMemberRow.group_id == WaveGroupRow.id)
        .where(
            WaveMemberRow.transfer_id == transfer_id,
            WaveRow.status.in_(WAVE_ACTIVE),
            WaveRow.deleted_at.is_(None),
        )
        .limit(1)
    )
    if found is not None:
        raise Conflict(f"transfer {transfer_id} is part of wave {found}, which is under way; cancel that first")


def move(row: WaveRow, target: WaveStatus, now: datetime, message: str | None = None) -> None:
    """Move a locked wave; ValueError for a move that the table of moves does not have."""
    if row.status != target and target not in WAVE_MOVES[WaveStatus(row.status)]:
        raise ValueError(f"wave {row.id} cannot move from {row.status} to {target}")
    if (row.status, row.message) != (target, message or None):
        row.status, row.message, row.updated_at = target, message or None, now


def members(row: WaveRow) -> list[WaveMemberRow]:
    """Return all members of a wave, in order."""
    return [member for group in row.groups for member in group.members]


def begin(session: Session, row: WaveRow, now: datetime) -> None:
    """Have a workflow take a locked wave up, from how it stands now."""
    row.run = (row.run or 0) + 1
    outbox.start(
        session,
        workflow="Wave",
        workflow_id=workflow_id(row),
        argument={"wave_id": row.id, "run": row.run},
        now=now,
    )


def workflow_id(row: WaveRow) -> str:
    """Return the id of the workflow that has the wave now."""
    return f"wave-{row.id}-{row.run}"


def nudge(session: Session, row: WaveRow, now: datetime) -> None:
    """Have a wave's workflow look at once."""
    outbox.signal(session, workflow_id=workflow_id(row), name=LOOK, now=now)


def start(session: Session, row: WaveRow, now: datetime) -> None:
    """Start a locked wave at once; `Conflict` if it was started before."""
    if row.status == WaveStatus.SCHEDULED:
        row.starts_at = None
        nudge(session, row, now)
        return
    if row.status != WaveStatus.PENDING:
        raise Conflict(f"wave {row.id} is {row.status}: it is not started again; use retry for what failed")
    row.starts_at = None
    move(row, WaveStatus.SCHEDULED, now)
    begin(session, row, now)


def schedule(session: Session, row: WaveRow, now: datetime) -> None:
    """Have a locked wave begin by itself at its `starts_at`; `Conflict` if it is past that."""
    if row.status == WaveStatus.SCHEDULED:
        nudge(session, row, now)
        return
    if row.status != WaveStatus.PENDING:
        raise Conflict(f"wave {row.id} is {row.status}: it has begun once and takes no start time any more; use retry")
    move(row, WaveStatus.SCHEDULED, now)
    begin(session, row, now)


def look(session: Session, row: WaveRow, now: datetime) -> None:
    """Have a wave's workflow, if it has one, look at what has changed."""
    if row.status in WAVE_ACTIVE:
        nudge(session, row, now)


def approve(session: Session, row: WaveRow, group: str | None, now: datetime) -> None:
    """Open a manual gate of a locked wave: of the group that waits, or of the one named.

    Raises `InvalidInput` for a group that is not there, `Conflict` if none waits.
    """
    if group is None:
        waiting = [each for each in row.groups if each.status == WaveStatus.AWAITING_APPROVAL]
        if not waiting:
            raise Conflict(f"no group of wave {row.id} waits for an approval; name a group to approve it beforehand")
        chosen = waiting[0]
    else:
        named = [each for each in row.groups if group in {each.id, each.name}]
        if not named:
            names = ", ".join(each.name for each in row.groups)
            raise InvalidInput(f"wave {row.id} has no group {group!r}; it has: {names}")
        chosen = named[0]
    chosen.approved = True
    row.updated_at = now
    look(session, row, now)


def cancel(session: Session, row: WaveRow, now: datetime) -> None:
    """Have a locked wave stop: nothing more begins, what is in flight is undone. `InvalidInput` if nothing is to stop.

    As with executions, cancelling what has ended, or is being cancelled, is bad input.
    """
    if row.status not in WAVE_ACTIVE or row.status == WaveStatus.CANCELLING:
        raise InvalidInput(f"wave {row.id} is {row.status}: there is nothing to cancel")
    for member in members(row):
        if member.status == MemberStatus.PENDING:
            member.status, member.ended_at = MemberStatus.CANCELED, now
    move(row, WaveStatus.CANCELLING, now)
    nudge(session, row, now)


def retry(session: Session, row: WaveRow, now: datetime) -> None:
    """Take up the members of a locked wave that failed or were cancelled; `Conflict` if there are none."""
    failed = [each for each in members(row) if each.status in {MemberStatus.ERROR, MemberStatus.CANCELED}]
    if row.status in {WaveStatus.PENDING, WaveStatus.CANCELLING} or not failed:
        raise Conflict(f"wave {row.id} is {row.status} and has nothing to retry now")
    for member in failed:
        member.status, member.message, member.ended_at = MemberStatus.PENDING, None, None
    for group in row.groups:
        if group.status in {WaveStatus.ERROR, WaveStatus.CANCELED}:
            group.status = WaveStatus.PENDING
    if row.status in WAVE_ACTIVE:
        nudge(session, row, now)
        return
    row.starts_at = None
    move(row, WaveStatus.SCHEDULED, now)
    begin(session, row, now)


def refuse_if_active(row: WaveRow) -> None:
    """Return if no workflow has the wave; `Conflict` if one has."""
    if row.status in WAVE_ACTIVE:
        raise Conflict(f"wave {row.id} is {row.status}; wait for its end, or cancel it first")


def nudge_those_of(session: Session, execution: ExecutionRow, now: datetime) -> None:
    """Have the waves look whose member this ended execution, or the deployment that followed it, is."""
    ids = {execution.id}
    if (deployment := session.get(DeploymentRow, execution.action_id)) is not None and deployment.deployer_id:
        ids.add(deployment.deployer_id)
    found = session.scalars(
        select(WaveRow)
        .join(WaveGroupRow, WaveGroupRow.wave_id == WaveRow.id)
        .join(WaveMemberRow, WaveMemberRow.group_id == WaveGroupRow.id)
        .where(WaveMemberRow.execution_id.in_(ids), WaveRow.status.in_(WAVE_ACTIVE))
    )
    for row in found.unique():
        nudge(session, row, now)


def nudge_those_after(session: Session, row: WaveRow, now: datetime) -> None:
    """Have the waves look that wait for this one."""
    waiting = session.scalars(
        select(WaveRow).where(WaveRow.project_id == row.project_id, WaveRow.status == WaveStatus.SCHEDULED)
    )
    for each in waiting:
        if row.id in (each.after or ()):
            nudge(session, each, now)
