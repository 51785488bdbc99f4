"""What a manager does about replicas: make, promote, remove, and look how they stand."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError, NotSupported
from isthmus.shares.drivers.facts import AccessChange, AccessRule, ReplicaChange, ShareFacts
from isthmus.shares.messages import Action, Detail, Resource
from isthmus.shares.model import TRANSITIONAL, Kind, ReplicaState, Status
from isthmus.shares.services.removing import shut_out
from isthmus.shares.services.share_jobs import read
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import facts, jobs, messages, placing, replicas, results, rules
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import force, move
from isthmus.shares.tables import InstanceRow, SnapshotInstanceRow

_SETTABLE = frozenset({ReplicaState.IN_SYNC, ReplicaState.OUT_OF_SYNC, ReplicaState.ERROR})
"""What a back end may say of a replica that is not active; only a promotion makes it so."""


def _all(work: Work, share_id: str) -> list[ShareFacts]:
    with work.database.transaction() as session:
        return facts.replicas(session, share_id)


def active_of(found: Sequence[ShareFacts]) -> ShareFacts | None:
    """Return the active one of a share's replicas, rather one that is available."""
    active = [each for each in found if each.replica_state == ReplicaState.ACTIVE]
    return min(active, key=lambda each: each.status != Status.AVAILABLE, default=None)


def _create(work: Work, job: Job) -> Record:
    replica = read(work, job)
    if replica is None or replica.status != Status.CREATING:
        return nothing
    found = _all(work, replica.share_id)
    active = active_of([each for each in found if each.status == Status.AVAILABLE])
    if active is None:
        return _in_error(work, job, replica, Action.CREATE, "The share has no active replica.")
    with work.database.transaction() as session:
        rules.begin(session, replica.instance_id, work.now())
        wanted = rules.all_of(session, replica.instance_id)
        snapshots = facts.replica_snapshots(session, active, replica)
    made = work.driver.create_replica(found, replica, wanted, snapshots)

    def record(session: Session) -> None:
        now = work.now()
        results.keep_private(session, replica.instance_id, made.private)
        results.keep_exports(session, replica.instance_id, made.exports, now)
        rules.end(session, replica.instance_id, made.rules, now)
        of = [Status.CREATING]
        if move(
            session,
            InstanceRow,
            replica.instance_id,
            of=of,
            to=Status.AVAILABLE,
            now=now,
            launched_at=now,
            progress="100%",
        ):
            replicas.set_state(session, replica.instance_id, now, replica_state=made.state)
        for snapshot in snapshots:
            _look_at_snapshot(session, work, job, replica, snapshot.own.instance_id)

    return record


def _look_at_snapshot(session: Session, work: Work, job: Job, replica: ShareFacts, snapshot_instance_id: str) -> None:
    jobs.enqueue(
        session,
        host=replica.host,
        kind=Kind.UPDATE_REPLICATED_SNAPSHOT,
        subject=job.subject,
        argument={"snapshot_instance_id": snapshot_instance_id},
        now=work.now(),
        project_id=job.project_id,
    )


def _create_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    replica = read(work, job)
    if replica is None:
        return nothing
    failed = _in_error(work, job, replica, Action.CREATE, error.message)

    def record(session: Session) -> None:
        failed(session)
        rules.fail(session, replica.instance_id, work.now())

    return record


def _in_error(work: Work, job: Job, replica: ShareFacts, action: Action, text: str) -> Record:
    """Return what records that a replica cannot be what it shall: it is in error, and its owner is told why."""

    def record(session: Session) -> None:
        now = work.now()
        force(session, InstanceRow, replica.instance_id, to=Status.ERROR, now=now, but=[Status.DELETING])
        replicas.set_state(session, replica.instance_id, now, replica_state=ReplicaState.ERROR)
        _say(session, work, job, replica, action=action, text=text)

    return record


def _delete(work: Work, job: Job) -> Record:
    replica = read(work, job)
    if replica is None:
        return nothing
    forced = bool(job.argument.get("force"))
    with work.database.transaction() as session:
        held = tuple(rules.all_of(session, replica.instance_id))
        own = facts.snapshots(session, SnapshotInstanceRow.instance_id == replica.instance_id)
    if held:
        change = AccessChange(wanted=(), removed=held)
        shut_out(lambda: work.driver.update_access(replica, change), f"replica {replica.instance_id}", forced)
    try:
        work.driver.delete_replica(_all(work, replica.share_id), replica, own)
    except IsthmusError:
        # Forced: an administrator says that the back end is not worth waiting for.
        if not forced:
            raise

    def record(session: Session) -> None:
        results.forget_replica(session, replica.instance_id)
        placing.give_room_back(session, replica.host, replica.size_gib)

    return record


def _delete_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    replica = read(work, job)
    if replica is None:
        return nothing

    def record(session: Session) -> None:
        now = work.now()
        move(session, InstanceRow, replica.instance_id, of=[Status.DELETING], to=Status.ERROR_DELETING, now=now)
        replicas.set_state(session, replica.instance_id, now, replica_state=ReplicaState.ERROR)
        _say(session, work, job, replica, action=Action.DELETE, text=error.message)

    return record


def _promote(work: Work, job: Job) -> Record:
    replica = read(work, job)
    if replica is None or replica.status != Status.REPLICATION_CHANGE:
        return nothing
    found = _all(work, replica.share_id)
    with work.database.transaction() as session:
        wanted = rules.as_they_are(session, replica.instance_id)
    changes = work.driver.promote_replica(found, replica, wanted, job.argument.get("quiesce_wait_seconds"))
    return lambda session: _record_promotion(session, work, job, replica, changes)


def _record_promotion(
    session: Session, work: Work, job: Job, replica: ShareFacts, changes: Mapping[str, ReplicaChange]
) -> None:
    now, was = work.now(), job.argument.get("was", {})
    if not move(
        session,
        InstanceRow,
        replica.instance_id,
        of=[Status.REPLICATION_CHANGE],
        to=Status.AVAILABLE,
        now=now,
    ):
        return
    only_read = replica.replication_type == "readable"
    for each in facts.replicas(session, replica.share_id):
        change = changes.get(each.instance_id, ReplicaChange())
        if change.exports is not None:
            results.keep_exports(session, each.instance_id, change.exports, now)
        if each.instance_id == replica.instance_id:
            state, cast = change.state or ReplicaState.ACTIVE, False
        elif each.instance_id in was:
            state, cast = change.state or ReplicaState.OUT_OF_SYNC, only_read
            whole = was[each.instance_id] == Status.AVAILABLE and state is not ReplicaState.ERROR
            to = Status.AVAILABLE if whole else Status.ERROR
            move(session, InstanceRow, each.instance_id, of=[Status.REPLICATION_CHANGE], to=to, now=now)
        elif change.state is not None:
            state, cast = change.state, each.read_only
        else:
            continue
        replicas.set_state(session, each.instance_id, now, replica_state=state, cast_rules_to_readonly=cast)
        if each.read_only != cast:
            _apply_rules(session, work, job, each)
    _give_up_snapshots_under_way(session, work, replica)


def _apply_rules(session: Session, work: Work, job: Job, replica: ShareFacts) -> None:
    """Have the whole set of rules put right: who may write has changed."""
    jobs.enqueue(
        session,
        host=replica.host,
        kind=Kind.UPDATE_ACCESS,
        subject=replica.share_id,
        argument={"instance_id": replica.instance_id, "whole": True},
        now=work.now(),
        project_id=job.project_id,
        request_id=job.request_id,
    )


def _give_up_snapshots_under_way(session: Session, work: Work, replica: ShareFacts) -> None:
    """Put snapshots in error that had not come to the promoted replica yet: what they were copied from is not it."""
    under_way = [Status.CREATING, Status.DELETING]
    found = select(SnapshotInstanceRow.id).where(
        SnapshotInstanceRow.instance_id == replica.instance_id, SnapshotInstanceRow.status.in_(under_way)
    )
    for identity in session.scalars(found).all():
        move(session, SnapshotInstanceRow, identity, of=under_way, to=Status.ERROR, now=work.now())


def _promote_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    replica = read(work, job)
    if replica is None:
        return nothing
    was = job.argument.get("was", {})
    # A back end that does not know how has changed nothing.
    unchanged = isinstance(error, NotSupported)

    def record(session: Session) -> None:
        for each in facts.replicas(session, replica.share_id):
            if each.status == Status.REPLICATION_CHANGE:
                was_whole = was.get(each.instance_id, Status.AVAILABLE) == Status.AVAILABLE
                to = Status.AVAILABLE if unchanged and was_whole else Status.ERROR
                of = [Status.REPLICATION_CHANGE]
                move(session, InstanceRow, each.instance_id, of=of, to=to, now=work.now())
        _say(session, work, job, replica, action=Action.PROMOTE, text=error.message)

    return record


def _update(work: Work, job: Job) -> Record:
    replica = read(work, job)
    if replica is None or replica.replica_state == ReplicaState.ACTIVE:
        return nothing
    if replica.status in TRANSITIONAL or replica.status == Status.ERROR_DELETING:
        return nothing
    found = _all(work, replica.share_id)
    active = active_of(found)
    if active is None:
        return lambda session: replicas.set_state(
            session, replica.instance_id, work.now(), replica_state=ReplicaState.ERROR
        )
    with work.database.transaction() as session:
        wanted: list[AccessRule] = rules.all_of(session, replica.instance_id)
        snapshots = facts.replica_snapshots(session, active, replica)
    state = work.driver.state_of_replica(found, replica, wanted, snapshots)
    if state not in _SETTABLE:
        return nothing
    return lambda session: replicas.set_state(session, replica.instance_id, work.now(), replica_state=state)


def _update_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    replica = read(work, job)
    if replica is None:
        return nothing
    return _in_error(work, job, replica, Action.UPDATE, error.message)


def _say(session: Session, work: Work, job: Job, replica: ShareFacts, *, action: Action, text: str) -> None:
    messages.say(
        session,
        project_id=replica.project_id,
        resource_id=replica.instance_id,
        resource_type=Resource.SHARE_REPLICA,
        request_id=job.request_id,
        action=action,
        detail=Detail.UNKNOWN_ERROR,
        text=text,
        now=work.now(),
    )


OPERATIONS = {
    Kind.CREATE_REPLICA: Operation(_create, _create_failed),
    Kind.DELETE_REPLICA: Operation(_delete, _delete_failed),
    Kind.PROMOTE_REPLICA: Operation(_promote, _promote_failed),
    Kind.UPDATE_REPLICA: Operation(_update, _update_failed),
}
