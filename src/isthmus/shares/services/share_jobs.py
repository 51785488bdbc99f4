"""What a manager does about shares: create, delete, extend, shrink, revert."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError, NotSupported
from isthmus.shares.drivers.contract import DataWouldBeLost
from isthmus.shares.drivers.facts import Creation, Progress, ShareFacts, SnapshotFacts
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.removing import remove_share
from isthmus.shares.services.rescheduling import give_up_creation, reschedule
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import facts, jobs, messages, placing, replicas, results, rules, snapshot_rules, usage
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import InstanceRow, ShareRow, SnapshotInstanceRow

CLONE_POLL = timedelta(seconds=1)


def read(work: Work, job: Job) -> ShareFacts | None:
    """Return the facts of the share instance that a job is about; None if it is gone."""
    with work.database.transaction() as session:
        return facts.share(session, job.argument["instance_id"])


def _create(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None or share.status not in {Status.CREATING, Status.CREATING_FROM_SNAPSHOT}:
        return nothing
    made = _made(work, share)

    def record(session: Session) -> None:
        results.keep_private(session, share.instance_id, made.private)
        if made.progress is Progress.UNDER_WAY:
            _go_on_later(session, work, job, share, made)
            return
        now = work.now()
        results.keep_exports(session, share.instance_id, made.exports, now)
        results.keep_metadata(session, share.share_id, made.metadata)
        move(
            session,
            InstanceRow,
            share.instance_id,
            of=[Status.CREATING, Status.CREATING_FROM_SNAPSHOT],
            to=Status.AVAILABLE,
            now=now,
            launched_at=now,
            progress="100%",
        )

    return record


def _made(work: Work, share: ShareFacts) -> Creation:
    if share.status == Status.CREATING_FROM_SNAPSHOT:
        return work.driver.creation_of(share)
    with work.database.transaction() as session:
        source = facts.source_of(session, share)
    if source is None:
        return work.driver.create_share(share)
    return work.driver.create_share_from_snapshot(share, source)


def _go_on_later(session: Session, work: Work, job: Job, share: ShareFacts, made: Creation) -> None:
    now = work.now()
    if share.status == Status.CREATING:
        move(session, InstanceRow, share.instance_id, of=[Status.CREATING], to=Status.CREATING_FROM_SNAPSHOT, now=now)
    session.execute(update(InstanceRow).where(InstanceRow.id == share.instance_id).values(progress=f"{made.percent}%"))
    jobs.enqueue(
        session,
        host=share.host,
        kind=Kind.CREATE_SHARE,
        subject=job.subject,
        argument=job.argument,
        now=now,
        not_before=now + CLONE_POLL,
        project_id=job.project_id,
        request_id=job.request_id,
    )


def _create_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    share = read(work, job)
    if share is None:
        return nothing
    # Another pool may have what this one lacks; what was half-made here must not stay.
    try:
        work.driver.delete_share(share)
    except IsthmusError as left:
        if left.retryable:
            raise
        # What is left is known by this share, so the share stays here: who deletes it tries again.
        return lambda session: give_up_creation(session, job, share, error, work.now())
    return lambda session: reschedule(session, work, job, share, error)


def _delete(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None:
        return nothing
    remove_share(work, share, forced=bool(job.argument.get("force")))
    return lambda session: forget(session, share)


def forget(session: Session, share: ShareFacts) -> None:
    """Remove all rows of an instance that its back end has no more, and the room it was given."""
    give_up(session, share)
    results.forget_private(session, share.instance_id)


def give_up(session: Session, share: ShareFacts) -> None:
    """Remove the rows of an instance that is managed no more: what its driver kept with it stays."""
    results.forget_share(session, share.instance_id)
    placing.give_room_back(session, share.host, share.size_gib)


def _delete_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return say_failed(work, job, error, of=Status.DELETING, to=Status.ERROR_DELETING, action=Action.DELETE)


def _extend(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None:
        return nothing
    if share.status != Status.EXTENDING:
        return lambda session: _give_growth_back(session, job, share)
    size = int(job.argument["size"])
    work.driver.extend_share(share, size)

    def record(session: Session) -> None:
        if move(session, InstanceRow, share.instance_id, of=[Status.EXTENDING], to=Status.AVAILABLE, now=work.now()):
            _set_size(session, work, share, size)
        else:
            _give_growth_back(session, job, share)

    return record


def _extend_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    share = read(work, job)
    if share is None:
        return nothing

    def record(session: Session) -> None:
        say_failed(work, job, error, of=Status.EXTENDING, to=Status.EXTENDING_ERROR, action=Action.EXTEND)(session)
        _give_growth_back(session, job, share)

    return record


def _shrink(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None or share.status != Status.SHRINKING:
        return nothing
    size = int(job.argument["size"])
    work.driver.shrink_share(share, size)

    def record(session: Session) -> None:
        if move(session, InstanceRow, share.instance_id, of=[Status.SHRINKING], to=Status.AVAILABLE, now=work.now()):
            _set_size(session, work, share, size)
            _give_back(session, share, share.size_gib - size)

    return record


def _shrink_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    # The share is as it was in these two cases, so it can go on being used.
    harmless = isinstance(error, DataWouldBeLost | NotSupported)
    after = Status.AVAILABLE if harmless else Status.SHRINKING_ERROR
    return say_failed(work, job, error, of=Status.SHRINKING, to=after, action=Action.SHRINK)


def _revert(work: Work, job: Job) -> Record:
    share = read(work, job)
    with work.database.transaction() as session:
        snapshot = facts.snapshot(session, job.argument["snapshot_instance_id"])
        held = tuple(rules.all_of(session, job.argument["instance_id"]))
        mounting = tuple(snapshot_rules.all_of(session, job.argument["snapshot_instance_id"]))
    if share is None:
        return nothing
    if snapshot is None or share.status != Status.REVERTING:
        return lambda session: _give_growth_back(session, job, share)
    _put_back(work, replace(share, rules=held), replace(snapshot, rules=mounting))

    def record(session: Session) -> None:
        now = work.now()
        move(session, SnapshotInstanceRow, snapshot.instance_id, of=[Status.RESTORING], to=Status.AVAILABLE, now=now)
        if not move(session, InstanceRow, share.instance_id, of=[Status.REVERTING], to=Status.AVAILABLE, now=now):
            _give_growth_back(session, job, share)
            return
        if snapshot.size_gib != share.size_gib:
            _set_size(session, work, share, snapshot.size_gib)
        if snapshot.size_gib < share.size_gib:
            # The share has its snapshot's size again; what it grew by since is free. (Growth was counted before.)
            _give_back(session, share, share.size_gib - snapshot.size_gib)

    return record


def _put_back(work: Work, share: ShareFacts, snapshot: SnapshotFacts) -> None:
    with work.database.transaction() as session:
        every = facts.replicas(session, share.share_id)
        of_all = facts.snapshots(session, SnapshotInstanceRow.snapshot_id == snapshot.snapshot_id)
    if len(every) > 1:
        work.driver.revert_replicated_share(every, share, of_all, snapshot)
    else:
        work.driver.revert_share(share, snapshot)


def _revert_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    share = read(work, job)

    def record(session: Session) -> None:
        say_failed(work, job, error, of=Status.REVERTING, to=Status.REVERTING_ERROR, action=Action.REVERT_TO_SNAPSHOT)(
            session
        )
        identity = job.argument["snapshot_instance_id"]
        move(session, SnapshotInstanceRow, identity, of=[Status.RESTORING], to=Status.AVAILABLE, now=work.now())
        if share is not None:
            _give_growth_back(session, job, share)

    return record


def _give_growth_back(session: Session, job: Job, share: ShareFacts) -> None:
    """Count no longer what the API counted when it wrote a job that made the share no larger after all."""
    grown = int(job.argument.get("grown", 0))
    if grown > 0:
        _give_back(session, share, grown)


def _give_back(session: Session, share: ShareFacts, gib: int) -> None:
    """Count gigabytes no longer that a share has not, or no more: for it, each of its replicas, and in their pools."""
    every = replicas.instances_of(session, share.share_id)
    counted = {"gigabytes": gib} | ({"replica_gigabytes": gib * len(every)} if every else {})
    usage.give_back(session, _owner(share), counted)
    for host in [each["host"] for each in every] or [share.host]:
        placing.give_room_back(session, host, gib)


def _set_size(session: Session, work: Work, share: ShareFacts, size: int) -> None:
    session.execute(update(ShareRow).where(ShareRow.id == share.share_id).values(size=size, updated_at=work.now()))


def _owner(share: ShareFacts) -> usage.Owner:
    return usage.Owner(share.project_id, share.user_id, share.share_type_id)


def say_failed(work: Work, job: Job, error: IsthmusError, *, of: Status, to: Status, action: Action) -> Record:
    """Return what records a failure: the status after it, and a user message that says why."""

    def record(session: Session) -> None:
        now = work.now()
        if move(session, InstanceRow, job.argument["instance_id"], of=[of], to=to, now=now):
            messages.say(
                session,
                project_id=job.project_id or "",
                action=action,
                detail=_detail(action, error),
                resource_id=job.subject,
                request_id=job.request_id,
                text=error.message,
                now=now,
            )

    return record


def _detail(action: Action, error: IsthmusError) -> Detail:
    if action is Action.SHRINK:
        return Detail.DRIVER_REFUSED_SHRINK if isinstance(error, DataWouldBeLost) else Detail.DRIVER_FAILED_SHRINK
    return {
        Action.EXTEND: Detail.DRIVER_FAILED_EXTEND,
        Action.REVERT_TO_SNAPSHOT: Detail.DRIVER_FAILED_REVERTING_TO_SNAPSHOT,
    }.get(action, Detail.UNKNOWN_ERROR)


OPERATIONS = {
    Kind.CREATE_SHARE: Operation(_create, _create_failed),
    Kind.DELETE_SHARE: Operation(_delete, _delete_failed),
    Kind.EXTEND_SHARE: Operation(_extend, _extend_failed),
    Kind.SHRINK_SHARE: Operation(_shrink, _shrink_failed),
    Kind.REVERT_SHARE: Operation(_revert, _revert_failed),
}
