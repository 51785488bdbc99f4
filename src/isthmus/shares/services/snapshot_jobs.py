"""What a manager does about snapshots: take, delete, adopt, give up, and let clients mount them."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.facts import SnapshotFacts
from isthmus.shares.messages import Action, Detail, Resource
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.removing import remove_snapshot
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import facts, messages, results, snapshot_results, snapshot_rules, snapshots, usage
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import SnapshotInstanceRow, SnapshotRow

GOING = frozenset({Status.DELETING, Status.UNMANAGE_STARTING})


def _read(work: Work, job: Job) -> SnapshotFacts | None:
    with work.database.transaction() as session:
        return facts.snapshot(session, job.argument["snapshot_instance_id"])


def _create(work: Work, job: Job) -> Record:
    snapshot = _read(work, job)
    if snapshot is None or snapshot.status != Status.CREATING:
        return nothing
    made = work.driver.create_snapshot(snapshot)

    def record(session: Session) -> None:
        now = work.now()
        results.keep_private(session, snapshot.instance_id, made.private)
        snapshot_results.keep_exports(session, snapshot.share.share_id, snapshot.instance_id, made.exports, now)
        move(
            session,
            SnapshotInstanceRow,
            snapshot.instance_id,
            of=[Status.CREATING],
            to=Status.AVAILABLE,
            now=now,
            provider_location=made.provider_location,
            progress="100%",
        )

    return record


def _create_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_failed(work, job, error, of=Status.CREATING, to=Status.ERROR, action=Action.CREATE)


def _delete(work: Work, job: Job) -> Record:
    snapshot = _read(work, job)
    if snapshot is None:
        return nothing
    remove_snapshot(work, snapshot, forced=bool(job.argument.get("force")))
    return lambda session: forget(session, snapshot)


def forget(session: Session, snapshot: SnapshotFacts) -> None:
    """Remove the rows of a snapshot instance that its back end has no more."""
    results.forget_private(session, snapshot.instance_id)
    snapshots.forget(session, snapshot.instance_id)


def _delete_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_failed(work, job, error, of=Status.DELETING, to=Status.ERROR_DELETING, action=Action.DELETE)


def _manage(work: Work, job: Job) -> Record:
    snapshot = _read(work, job)
    if snapshot is None or snapshot.status != Status.MANAGE_STARTING:
        return nothing
    found = work.driver.manage_snapshot(snapshot, job.argument.get("driver_options") or {})
    size = found.size_gib or snapshot.share.size_gib

    def record(session: Session) -> None:
        now = work.now()
        moved = move(
            session,
            SnapshotInstanceRow,
            snapshot.instance_id,
            of=[Status.MANAGE_STARTING],
            to=Status.AVAILABLE,
            now=now,
            provider_location=found.provider_location or snapshot.provider_location,
            progress="100%",
            size=size,
        )
        if not moved:
            return
        session.execute(update(SnapshotRow).where(SnapshotRow.id == snapshot.snapshot_id).values(size=size))
        results.keep_private(session, snapshot.instance_id, found.private)
        snapshot_results.keep_exports(session, snapshot.share.share_id, snapshot.instance_id, found.exports, now)
        # Beyond the quota too, as Manila: the bytes are there, and the administrator knows.
        usage.count(session, _owner(session, snapshot), {"snapshots": 1, "snapshot_gigabytes": size})

    return record


def _owner(session: Session, snapshot: SnapshotFacts) -> usage.Owner:
    row = session.get_one(SnapshotRow, snapshot.snapshot_id)
    return usage.Owner(row.project_id, row.user_id, snapshot.share.share_type_id)


def _manage_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    # It keeps the size 0: it was never counted, and is not given back when the row goes.
    return _say_failed(work, job, error, of=Status.MANAGE_STARTING, to=Status.MANAGE_ERROR, action=Action.CREATE)


def _unmanage(work: Work, job: Job) -> Record:
    snapshot = _read(work, job)
    if snapshot is None:
        return nothing
    # Without a size it was never taken under management.
    if snapshot.size_gib:
        work.driver.unmanage_snapshot(snapshot)
    return lambda session: snapshots.forget(session, snapshot.instance_id)


def _unmanage_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _say_failed(work, job, error, of=Status.UNMANAGE_STARTING, to=Status.UNMANAGE_ERROR, action=Action.DELETE)


def _update_access(work: Work, job: Job) -> Record:
    snapshot = _read(work, job)
    if snapshot is None or snapshot.status in GOING:
        return nothing
    with work.database.transaction() as session:
        change = snapshot_rules.begin(session, snapshot.instance_id)
    outcomes = work.driver.update_snapshot_access(snapshot, change)

    def record(session: Session) -> None:
        snapshot_rules.end(session, snapshot.instance_id, outcomes)
        for outcome in outcomes.values():
            if outcome.error is not None:
                _say_access(session, work, job, Detail.UNSUPPORTED_CLIENT_ACCESS, outcome.error)

    return record


def _update_access_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    def record(session: Session) -> None:
        snapshot_rules.fail(session, job.argument["snapshot_instance_id"])
        _say_access(session, work, job, Detail.UNKNOWN_ERROR, error.message)

    return record


def _say_failed(work: Work, job: Job, error: IsthmusError, *, of: Status, to: Status, action: Action) -> Record:
    """Return what records a failure: the status after it, and a user message that says why."""

    def record(session: Session) -> None:
        identity = job.argument["snapshot_instance_id"]
        if move(session, SnapshotInstanceRow, identity, of=[of], to=to, now=work.now()):
            _say(session, work, job, action=action, detail=Detail.UNKNOWN_ERROR, text=error.message)

    return record


def _say_access(session: Session, work: Work, job: Job, detail: Detail, text: str) -> None:
    _say(session, work, job, action=Action.UPDATE_ACCESS_RULES, detail=detail, text=text)


def _say(session: Session, work: Work, job: Job, *, action: Action, detail: Detail, text: str) -> None:
    row = session.get(SnapshotInstanceRow, job.argument["snapshot_instance_id"])
    if row is None:
        return
    messages.say(
        session,
        project_id=row.project_id,
        action=action,
        detail=detail,
        resource_id=row.snapshot_id or row.id,
        resource_type=Resource.SHARE_SNAPSHOT,
        request_id=job.request_id,
        text=text,
        now=work.now(),
    )


OPERATIONS = {
    Kind.CREATE_SNAPSHOT: Operation(_create, _create_failed),
    Kind.DELETE_SNAPSHOT: Operation(_delete, _delete_failed),
    Kind.MANAGE_SNAPSHOT: Operation(_manage, _manage_failed),
    Kind.UNMANAGE_SNAPSHOT: Operation(_unmanage, _unmanage_failed),
    Kind.UPDATE_SNAPSHOT_ACCESS: Operation(_update_access, _update_access_failed),
}
