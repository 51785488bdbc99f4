"""What a manager does about share groups and their snapshots."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.facts import ShareFacts, SnapshotFacts
from isthmus.shares.messages import Action, Detail, Resource
from isthmus.shares.model import Kind, Status
from isthmus.shares.services import share_jobs, snapshot_jobs
from isthmus.shares.services.removing import remove_share, remove_snapshot
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import facts, group_snapshots, groups, jobs, messages, results
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import GroupRow, GroupSnapshotRow, InstanceRow, ShareRow, SnapshotInstanceRow

MEMBERS_POLL = timedelta(milliseconds=300)
"""How long a group made from a snapshot waits before it looks again whether its shares are made."""


def _create(work: Work, job: Job) -> Record:
    group = _group(work, job)
    if group is None or group.status != Status.CREATING:
        return nothing
    work.driver.create_group(group.id, group.host or "")

    def record(session: Session) -> None:
        statuses = _statuses_of_shares(session, group.id)
        if statuses & {Status.CREATING, Status.CREATING_FROM_SNAPSHOT}:
            _look_later(session, work, job, group)
            return
        to = Status.ERROR if Status.ERROR in statuses else Status.AVAILABLE
        move(session, GroupRow, group.id, of=[Status.CREATING], to=to, now=work.now())

    return record


def _group(work: Work, job: Job) -> GroupRow | None:
    with work.database.transaction() as session:
        return session.get(GroupRow, job.argument["group_id"])


def _statuses_of_shares(session: Session, group_id: str) -> set[str]:
    found = select(InstanceRow.status).join(ShareRow, ShareRow.id == InstanceRow.share_id)
    return set(session.scalars(found.where(ShareRow.share_group_id == group_id)))


def _look_later(session: Session, work: Work, job: Job, group: GroupRow) -> None:
    now = work.now()
    jobs.enqueue(
        session,
        host=group.host or "",
        kind=Kind.CREATE_GROUP,
        subject=job.subject,
        argument=job.argument,
        now=now,
        not_before=now + MEMBERS_POLL,
        project_id=job.project_id,
        request_id=job.request_id,
    )


def _create_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_failed(work, job, error, of=Status.CREATING, action=Action.CREATE)


def _delete(work: Work, job: Job) -> Record:
    group = _group(work, job)
    if group is None:
        return nothing
    if not job.argument.get("force"):
        work.driver.delete_group(group.id, group.host or "")
        return lambda session: groups.forget(session, group.id)
    return _delete_with_members(work, group)


def _delete_with_members(work: Work, group: GroupRow) -> Record:
    """Remove all that is in a group, each thing as far as the driver can."""
    with work.database.transaction() as session:
        taken = list(session.scalars(select(GroupSnapshotRow.id).where(GroupSnapshotRow.share_group_id == group.id)))
        members = {identity: _members(session, identity) for identity in taken}
        shares = _shares(session, group.id)
        single = _single_snapshots(session, shares)
    for identity, found in members.items():
        _remove_group_snapshot(work, identity, found, forced=True)
    for snapshot in single:
        remove_snapshot(work, snapshot, forced=True)
    for share in shares:
        remove_share(work, share, forced=True)
    _remove_group(work, group)

    def record(session: Session) -> None:
        for identity, found in members.items():
            _forget_group_snapshot(session, identity, found)
        for snapshot in single:
            snapshot_jobs.forget(session, snapshot)
        for share in shares:
            share_jobs.forget(session, share)
        groups.forget(session, group.id)

    return record


def _remove_group(work: Work, group: GroupRow) -> None:
    try:
        work.driver.delete_group(group.id, group.host or "")
    except IsthmusError:
        # An administrator says that the back end is not worth waiting for.
        return


def _shares(session: Session, group_id: str) -> list[ShareFacts]:
    found = (facts.share(session, each.instance_id) for each in group_snapshots.shares_of(session, group_id))
    return [share for share in found if share is not None]


def _single_snapshots(session: Session, shares: Sequence[ShareFacts]) -> list[SnapshotFacts]:
    """Return the snapshots of single shares."""
    ids = session.scalars(
        select(SnapshotInstanceRow.id)
        .where(SnapshotInstanceRow.share_id.in_([share.share_id for share in shares]))
        .where(SnapshotInstanceRow.snapshot_id.is_not(None))
    ).all()
    found = (facts.snapshot(session, identity) for identity in ids)
    return [snapshot for snapshot in found if snapshot is not None]


def _delete_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_failed(work, job, error, of=Status.DELETING, action=Action.DELETE)


def _say_failed(work: Work, job: Job, error: IsthmusError, *, of: Status, action: Action) -> Record:
    def record(session: Session) -> None:
        identity = job.argument["group_id"]
        if move(session, GroupRow, identity, of=[of], to=Status.ERROR, now=work.now()):
            group = session.get_one(GroupRow, identity)
            _say(session, work, job, error, action=action, project_id=group.project_id, group_id=identity)

    return record


def _create_snapshot(work: Work, job: Job) -> Record:
    identity = job.argument["group_snapshot_id"]
    with work.database.transaction() as session:
        row = session.get(GroupSnapshotRow, identity)
        members = _members(session, identity)
    if row is None or row.status != Status.CREATING:
        return nothing
    made = work.driver.create_group_snapshot(identity, members)

    def record(session: Session) -> None:
        now = work.now()
        if not move(session, GroupSnapshotRow, identity, of=[Status.CREATING], to=Status.AVAILABLE, now=now):
            return
        group_snapshots.set_members(session, identity, Status.AVAILABLE, now)
        for member_id, snapshot in made.items():
            results.keep_private(session, member_id, snapshot.private)
            session.execute(
                update(SnapshotInstanceRow)
                .where(SnapshotInstanceRow.id == member_id)
                .values(provider_location=snapshot.provider_location, progress="100%")
            )

    return record


def _members(session: Session, group_snapshot_id: str) -> list[SnapshotFacts]:
    found = (facts.snapshot(session, each.id) for each in group_snapshots.members_of(session, group_snapshot_id))
    return [snapshot for snapshot in found if snapshot is not None]


def _create_snapshot_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_snapshot_failed(work, job, error, of=Status.CREATING, action=Action.CREATE)


def _delete_snapshot(work: Work, job: Job) -> Record:
    identity = job.argument["group_snapshot_id"]
    with work.database.transaction() as session:
        row = session.get(GroupSnapshotRow, identity)
        members = _members(session, identity)
    if row is None:
        return nothing
    _remove_group_snapshot(work, identity, members, forced=bool(job.argument.get("force")))
    return lambda session: _forget_group_snapshot(session, identity, members)


def _forget_group_snapshot(session: Session, identity: str, members: Sequence[SnapshotFacts]) -> None:
    for each in (identity, *(member.instance_id for member in members)):
        results.forget_private(session, each)
    group_snapshots.forget(session, identity)


def _remove_group_snapshot(work: Work, identity: str, members: Sequence[SnapshotFacts], *, forced: bool) -> None:
    try:
        work.driver.delete_group_snapshot(identity, members)
    except IsthmusError:
        # Forced: an administrator says that the back end is not worth waiting for.
        if not forced:
            raise


def _delete_snapshot_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_snapshot_failed(work, job, error, of=Status.DELETING, action=Action.DELETE)


def _say_snapshot_failed(work: Work, job: Job, error: IsthmusError, *, of: Status, action: Action) -> Record:
    def record(session: Session) -> None:
        identity, now = job.argument["group_snapshot_id"], work.now()
        if not move(session, GroupSnapshotRow, identity, of=[of], to=Status.ERROR, now=now):
            return
        group_snapshots.set_members(session, identity, Status.ERROR, now)
        row = session.get_one(GroupSnapshotRow, identity)
        _say(session, work, job, error, action=action, project_id=row.project_id, group_id=row.share_group_id)

    return record


def _say(
    session: Session, work: Work, job: Job, error: IsthmusError, *, action: Action, project_id: str, group_id: str
) -> None:
    messages.say(
        session,
        project_id=project_id,
        action=action,
        detail=Detail.UNKNOWN_ERROR,
        resource_id=group_id,
        resource_type=Resource.SHARE_GROUP,
        request_id=job.request_id,
        text=error.message,
        now=work.now(),
    )


OPERATIONS = {
    Kind.CREATE_GROUP: Operation(_create, _create_failed),
    Kind.DELETE_GROUP: Operation(_delete, _delete_failed),
    Kind.CREATE_GROUP_SNAPSHOT: Operation(_create_snapshot, _create_snapshot_failed),
    Kind.DELETE_GROUP_SNAPSHOT: Operation(_delete_snapshot, _delete_snapshot_failed),
}
