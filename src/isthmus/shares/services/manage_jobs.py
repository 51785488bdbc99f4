"""What a manager does to take existing shares under management, to give them up, and about their metadata."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.share_jobs import give_up, read, say_failed
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import messages, placing, replicas, results, usage
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import InstanceRow, ShareRow


def _manage(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None or share.status != Status.MANAGE_STARTING:
        return nothing
    found = work.driver.manage_share(share, job.argument.get("driver_options") or {})

    def record(session: Session) -> None:
        now = work.now()
        moved = move(
            session,
            InstanceRow,
            share.instance_id,
            of=[Status.MANAGE_STARTING],
            to=Status.AVAILABLE,
            now=now,
            launched_at=now,
        )
        if not moved:
            return
        session.execute(update(ShareRow).where(ShareRow.id == share.share_id).values(size=found.size_gib))
        results.keep_private(session, share.instance_id, found.private)
        results.keep_exports(session, share.instance_id, found.exports or share.exports, now)
        owner = usage.Owner(share.project_id, share.user_id, share.share_type_id)
        # Beyond the quota too, as Manila: the bytes are there, and the administrator knows.
        counted = {"shares": 1, "gigabytes": found.size_gib, **replicas.deltas(share.replication_type, found.size_gib)}
        usage.count(session, owner, counted)
        placing.take_room(session, share.host, found.size_gib)

    return record


def _manage_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    def record(session: Session) -> None:
        say_failed(work, job, error, of=Status.MANAGE_STARTING, to=Status.MANAGE_ERROR, action=Action.CREATE)(session)
        # Without a size: it was never counted, and is not given back when the row goes.
        session.execute(update(ShareRow).where(ShareRow.id == job.subject).values(size=0))

    return record


def _unmanage(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None:
        return nothing
    if share.status != Status.MANAGE_ERROR_UNMANAGE_STARTING:
        work.driver.unmanage_share(share)
    return lambda session: give_up(session, share)


def _unmanage_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return say_failed(work, job, error, of=Status.UNMANAGE_STARTING, to=Status.UNMANAGE_ERROR, action=Action.DELETE)


def _set_metadata(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None:
        return nothing
    work.driver.set_metadata(share, share.metadata)
    return nothing


def _set_metadata_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    def record(session: Session) -> None:
        messages.say(
            session,
            project_id=job.project_id or "",
            action=Action.UPDATE_METADATA,
            detail=Detail.UPDATE_METADATA_FAILURE,
            resource_id=job.subject,
            request_id=job.request_id,
            text=error.message,
            now=work.now(),
        )

    return record


OPERATIONS = {
    Kind.MANAGE_SHARE: Operation(_manage, _manage_failed),
    Kind.UNMANAGE_SHARE: Operation(_unmanage, _unmanage_failed),
    Kind.SET_METADATA: Operation(_set_metadata, _set_metadata_failed),
}
