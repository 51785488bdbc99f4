"""The queue of what back ends' managers must do.

A job is written in the transaction that moves its object's status, and removed in the one that records the result;
so an accepted call is never lost, and a job that a dead manager held is done again by another once its lease lapses
(every driver method may be called again). Jobs about one subject run one at a time, those of one back end in the order
they were written: a back end that is gone does not keep another from promoting its replica of the same share.
A job of a share group acts on its shares too: it never runs beside a job of one of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Select, and_, bindparam, case, delete, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from isthmus.shares.model import Kind
from isthmus.shares.tables import GroupRow, JobRow, ShareRow

_OF_GROUPS = (Kind.CREATE_GROUP, Kind.DELETE_GROUP, Kind.CREATE_GROUP_SNAPSHOT, Kind.DELETE_GROUP_SNAPSHOT)
_GROUP = case((JobRow.kind.in_(_OF_GROUPS), JobRow.subject), else_=ShareRow.share_group_id)
"""The group that a job is about, or that its share is in, if there is one."""


@dataclass(frozen=True)
class Job:
    """One claimed job. `attempts` counts this one."""

    id: int
    backend: str
    kind: Kind
    subject: str
    argument: Mapping[str, Any]
    project_id: str | None
    request_id: str | None
    attempts: int


def backend_of(host: str) -> str:
    """Return `machine@back end` of `machine@back end#pool`."""
    return host.partition("#")[0]


def enqueue(
    session: Session,
    *,
    host: str,
    kind: Kind,
    subject: str,
    now: datetime,
    argument: Mapping[str, Any] | None = None,
    project_id: str | None = None,
    request_id: str | None = None,
    not_before: datetime | None = None,
) -> None:
    """Have the manager of the host's back end do this once the transaction is committed.

    `subject` is the id of the share (group, …) that must see its jobs one after another; for a share's instance,
    snapshot or rules it is the share's id.
    """
    session.execute(
        insert(JobRow).values(
            backend=backend_of(host),
            kind=kind,
            subject=subject,
            argument=dict(argument or {}),
            project_id=project_id,
            request_id=request_id,
            created_at=now,
            not_before=not_before or now,
            attempts=0,
        )
    )


def claim(
    session: Session, *, backends: Collection[str], owner: str, now: datetime, lease: timedelta, limit: int
) -> list[Job]:
    """Take up to `limit` due jobs of these back ends; each is leased to `owner`.

    A subject's oldest job at a back end alone is due, and none while another runs: an older one can come to light
    after a younger was begun, if it was written in a transaction that ended later. Of a group and its shares, either
    the group's job runs or those of the shares. What somebody asked for comes before what a manager gave itself to
    do, which after a restart may be a job for each share.
    """
    taken: list[Job] = []
    for asked in (True, False):
        wanted = {"now": now, "backends": tuple(backends), "most": limit - len(taken)}
        for row, is_shared, group_id in session.execute(_due(asked=asked), wanted).all():
            if is_shared and not _is_alone(session, row, now):
                continue
            if group_id is not None and not _is_alone_in_group(session, row, group_id, now):
                continue
            if _take(session, row, owner, now, lease):
                taken.append(_job(row))
        if len(taken) >= limit:
            break
    return taken


@cache
def _due(*, asked: bool) -> Select[JobRow, bool, str | None]:
    """Return the query of what is due at `now` of `backends`, at `most` so many: what was asked for, or what was not.

    Made once, as a manager asks ten times a second, and making it costs ten times what asking does.
    """
    now: BindParameter[datetime] = bindparam("now")
    other, elsewhere = aliased(JobRow), aliased(JobRow)
    free = or_(JobRow.lease_until.is_(None), JobRow.lease_until < now)
    earlier = and_(other.id < JobRow.id, other.backend == JobRow.backend)
    first = or_(earlier, and_(other.id != JobRow.id, other.lease_until >= now))
    shared = select(elsewhere.id).where(elsewhere.subject == JobRow.subject, elsewhere.backend != JobRow.backend)
    return (
        select(JobRow, shared.exists().label("is_shared"), _GROUP.label("group_id"))
        .outerjoin(ShareRow, ShareRow.id == JobRow.subject)
        .where(JobRow.backend.in_(bindparam("backends", expanding=True)), JobRow.not_before <= now, free)
        .where(JobRow.project_id.is_not(None) if asked else JobRow.project_id.is_(None))
        .where(or_(_GROUP.is_(None), ~_running_in_group(now).exists()))
        .where(~select(other.id).where(other.subject == JobRow.subject, first).exists())
        .order_by(JobRow.id)
        .limit(bindparam("most"))
    )


def _is_alone(session: Session, row: JobRow, now: datetime) -> bool:
    """Hold all jobs of a subject that several back ends have jobs of; say whether none of them runs now."""
    held = select(JobRow.id, JobRow.lease_until).where(JobRow.subject == row.subject).order_by(JobRow.id)
    found = session.execute(held.with_for_update()).all()
    return not any(each.lease_until is not None and each.lease_until >= now for each in found if each.id != row.id)


def _running_in_group(now: "datetime | BindParameter[datetime]") -> Select[int]:
    """Return what runs of the shares of a job's group, if the job is the group's; of the group, if it is a share's."""
    running, member = aliased(JobRow), aliased(ShareRow)
    members = select(member.id).where(member.share_group_id == JobRow.subject).correlate(JobRow)
    beside = or_(
        and_(JobRow.kind.in_(_OF_GROUPS), running.subject.in_(members)),
        and_(JobRow.kind.not_in(_OF_GROUPS), running.subject == ShareRow.share_group_id),
    )
    return select(running.id).where(running.lease_until >= now, beside).correlate(JobRow, ShareRow)


def _is_alone_in_group(session: Session, row: JobRow, group_id: str, now: datetime) -> bool:
    """Hold the group, as everybody does who takes a job of it or of its shares; say whether the job may run now."""
    session.execute(select(GroupRow.id).where(GroupRow.id == group_id).with_for_update())
    statement = (
        select(JobRow.id)
        .outerjoin(ShareRow, ShareRow.id == JobRow.subject)
        .where(JobRow.id == row.id, ~_running_in_group(now).exists())
    )
    return session.scalar(statement) is not None


def _take(session: Session, row: JobRow, owner: str, now: datetime, lease: timedelta) -> bool:
    free = or_(JobRow.lease_until.is_(None), JobRow.lease_until < now)
    taken = session.execute(
        update(JobRow)
        .where(JobRow.id == row.id, free)
        .values(lease_owner=owner, lease_until=now + lease, attempts=JobRow.attempts + 1)
        .execution_options(synchronize_session=False)
    )
    return bool(taken.rowcount == 1)  # type: ignore[attr-defined] # an update's result is a CursorResult


def _job(row: JobRow) -> Job:
    return Job(
        row.id, row.backend, Kind(row.kind), row.subject, row.argument, row.project_id, row.request_id, row.attempts + 1
    )


def renew(session: Session, *, owner: str, ids: list[int], until: datetime) -> None:
    """Keep the leases of running jobs."""
    if ids:
        session.execute(
            update(JobRow)
            .where(JobRow.id.in_(ids), JobRow.lease_owner == owner)
            .values(lease_until=until)
            .execution_options(synchronize_session=False)
        )


def owners(session: Session) -> list[str]:
    """Return who holds leases."""
    return list(session.scalars(select(JobRow.lease_owner).where(JobRow.lease_owner.is_not(None)).distinct()))


def release(session: Session, owner: str) -> None:
    """Free all jobs of an owner that is known to be dead."""
    session.execute(
        update(JobRow)
        .where(JobRow.lease_owner == owner)
        .values(lease_owner=None, lease_until=None)
        .execution_options(synchronize_session=False)
    )


def finish(session: Session, job: Job, owner: str) -> bool:
    """Remove a job with its result's transaction; False if it is another's by now: then nothing may be recorded."""
    gone = session.execute(
        delete(JobRow)
        .where(JobRow.id == job.id, JobRow.lease_owner == owner)
        .execution_options(synchronize_session=False)
    )
    return bool(gone.rowcount == 1)  # type: ignore[attr-defined] # a delete's result is a CursorResult


def put_back(session: Session, job: Job, owner: str, not_before: datetime) -> None:
    """Give a job up until `not_before`: the back end does not answer."""
    session.execute(
        update(JobRow)
        .where(JobRow.id == job.id, JobRow.lease_owner == owner)
        .values(lease_owner=None, lease_until=None, not_before=not_before)
        .execution_options(synchronize_session=False)
    )
