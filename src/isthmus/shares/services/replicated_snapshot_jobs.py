"""What a manager does about snapshots of replicated shares: one call of the active replica's back end for all of them.

Replicas may follow late; their managers look until they have (`sweeping`).
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError, NotFound
from isthmus.shares.drivers.facts import ShareFacts, SnapshotFacts, SnapshotOutcome, SnapshotState
from isthmus.shares.messages import Action, Detail, Resource
from isthmus.shares.model import Kind, Status
from isthmus.shares.services import snapshot_jobs
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import facts, messages, snapshot_results
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import SnapshotInstanceRow

_UNDER_WAY = (Status.CREATING, Status.DELETING)


def _read(work: Work, job: Job) -> tuple[list[ShareFacts], list[SnapshotFacts]]:
    """Return all replicas of the share, and all instances of the snapshot."""
    with work.database.transaction() as session:
        found = facts.snapshots(session, SnapshotInstanceRow.snapshot_id == job.argument["snapshot_id"])
        return facts.replicas(session, job.subject), found


def _create(work: Work, job: Job) -> Record:
    replicas, snapshots = _read(work, job)
    if not any(each.status == Status.CREATING for each in snapshots):
        return nothing
    outcomes = work.driver.create_replicated_snapshot(replicas, snapshots)
    return lambda session: _record(session, work, snapshots, outcomes)


def _create_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _all_failed(work, job, error, of=Status.CREATING, to=Status.ERROR, action=Action.CREATE)


def _delete(work: Work, job: Job) -> Record:
    replicas, snapshots = _read(work, job)
    if not snapshots:
        return nothing
    if not job.argument.get("force"):
        outcomes = work.driver.delete_replicated_snapshot(replicas, snapshots)
        return lambda session: _record(session, work, snapshots, outcomes)
    try:
        work.driver.delete_replicated_snapshot(replicas, snapshots)
    except IsthmusError as error:
        # An administrator says that the back end is not worth waiting for: the owner is told what may be left.
        return _forgotten(work, snapshots, job, error)
    return _forgotten(work, snapshots, job, None)


def _forgotten(work: Work, snapshots: Sequence[SnapshotFacts], job: Job, error: IsthmusError | None) -> Record:
    def record(session: Session) -> None:
        for each in snapshots:
            snapshot_jobs.forget(session, each)
        if error is not None:
            _say(session, work, job, snapshots[0], action=Action.DELETE, text=error.message)

    return record


def _delete_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    return _all_failed(work, job, error, of=Status.DELETING, to=Status.ERROR_DELETING, action=Action.DELETE)


def _update(work: Work, job: Job) -> Record:
    with work.database.transaction() as session:
        snapshot = facts.snapshot(session, job.argument["snapshot_instance_id"])
        if snapshot is None or snapshot.status not in _UNDER_WAY:
            return nothing
        replicas = facts.replicas(session, snapshot.share.share_id)
        every = facts.snapshots(session, SnapshotInstanceRow.snapshot_id == snapshot.snapshot_id)
    try:
        outcome = work.driver.state_of_replicated_snapshot(replicas, snapshot.share, every, snapshot)
    except NotFound:
        # What shall go and is not there has gone.
        if snapshot.status != Status.DELETING:
            raise
        outcome = SnapshotOutcome(SnapshotState.DELETED)
    outcomes = {} if outcome is None else {snapshot.instance_id: outcome}
    return lambda session: _record(session, work, [snapshot], outcomes)


def _update_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    def record(session: Session) -> None:
        identity = job.argument["snapshot_instance_id"]
        snapshot = facts.snapshot(session, identity)
        if snapshot is None:
            return
        if move(session, SnapshotInstanceRow, identity, of=_UNDER_WAY, to=Status.ERROR, now=work.now()):
            _say(session, work, job, snapshot, action=Action.UPDATE, text=error.message)

    return record


def _record(
    session: Session, work: Work, snapshots: Sequence[SnapshotFacts], outcomes: Mapping[str, SnapshotOutcome]
) -> None:
    for snapshot in snapshots:
        outcome = outcomes.get(snapshot.instance_id)
        if outcome is not None:
            _record_one(session, work, snapshot, outcome)


def _record_one(session: Session, work: Work, snapshot: SnapshotFacts, outcome: SnapshotOutcome) -> None:
    identity, now = snapshot.instance_id, work.now()
    if outcome.state is SnapshotState.DELETED:
        snapshot_jobs.forget(session, snapshot)
        return
    if outcome.exports is not None:
        snapshot_results.keep_exports(session, snapshot.share.share_id, identity, outcome.exports, now)
    if outcome.state is SnapshotState.AVAILABLE:
        location = outcome.provider_location or snapshot.provider_location
        done = {"progress": "100%", "provider_location": location}
        move(session, SnapshotInstanceRow, identity, of=[Status.CREATING], to=Status.AVAILABLE, now=now, **done)
    elif outcome.state is SnapshotState.ERROR:
        move(session, SnapshotInstanceRow, identity, of=_UNDER_WAY, to=Status.ERROR, now=now)


def _all_failed(work: Work, job: Job, error: IsthmusError, *, of: Status, to: Status, action: Action) -> Record:
    _, snapshots = _read(work, job)

    def record(session: Session) -> None:
        moved = [
            move(session, SnapshotInstanceRow, each.instance_id, of=[of], to=to, now=work.now()) for each in snapshots
        ]
        if any(moved):
            _say(session, work, job, snapshots[0], action=action, text=error.message)

    return record


def _say(session: Session, work: Work, job: Job, snapshot: SnapshotFacts, *, action: Action, text: str) -> None:
    messages.say(
        session,
        project_id=job.project_id or snapshot.share.project_id,
        action=action,
        detail=Detail.UNKNOWN_ERROR,
        resource_id=snapshot.snapshot_id,
        resource_type=Resource.SHARE_SNAPSHOT,
        request_id=job.request_id,
        text=text,
        now=work.now(),
    )


OPERATIONS = {
    Kind.CREATE_REPLICATED_SNAPSHOT: Operation(_create, _create_failed),
    Kind.DELETE_REPLICATED_SNAPSHOT: Operation(_delete, _delete_failed),
    Kind.UPDATE_REPLICATED_SNAPSHOT: Operation(_update, _update_failed),
}
