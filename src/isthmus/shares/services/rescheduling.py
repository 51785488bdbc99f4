"""A share that its back end could not make is tried in another pool, until there is none or it was tried enough."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.facts import ShareFacts
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.work import Work
from isthmus.shares.store import jobs, messages, placing
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.store.placing import Placement
from isthmus.shares.tables import InstanceRow


def reschedule(session: Session, work: Work, job: Job, share: ShareFacts, error: IsthmusError) -> None:
    """Place the share elsewhere and have it made there; put it in error, with a message, if that cannot be."""
    now = work.now()
    status = session.scalar(select(InstanceRow.status).where(InstanceRow.id == share.instance_id))
    if status not in {Status.CREATING, Status.CREATING_FROM_SNAPSHOT}:
        return
    tried = [*job.argument.get("tried", []), share.host]
    # What a group, a snapshot or an administrator bound to a pool cannot go elsewhere.
    bound = share.share_group_id is not None or bool(job.argument.get("bound"))
    if not bound and len(tried) < work.conf.shares.scheduler_max_attempts:
        request = placing.request_for(session, share.instance_id, tried=tuple(tried), zone=job.argument.get("zone"))
        placed = placing.place(session, work.conf, request, now)
        if placed.host is not None:
            # A share that stays where it failed keeps its room until it is deleted.
            placing.give_room_back(session, share.host, share.size_gib)
            _make_there(session, job, share, placed, tried=tried, now=now)
            return
    give_up_creation(session, job, share, error, now)


def _make_there(
    session: Session, job: Job, share: ShareFacts, placed: Placement, *, tried: list[str], now: datetime
) -> None:
    session.execute(
        update(InstanceRow)
        .where(InstanceRow.id == share.instance_id)
        .values(host=placed.host, availability_zone=placed.availability_zone, updated_at=now)
    )
    jobs.enqueue(
        session,
        host=placed.host or "",
        kind=Kind.CREATE_SHARE,
        subject=job.subject,
        argument={**job.argument, "tried": tried},
        now=now,
        project_id=job.project_id,
        request_id=job.request_id,
    )


def give_up_creation(session: Session, job: Job, share: ShareFacts, error: IsthmusError, now: datetime) -> None:
    """Put a share that could not be made in error, and tell its owner why."""
    move(
        session,
        InstanceRow,
        share.instance_id,
        of=[Status.CREATING, Status.CREATING_FROM_SNAPSHOT],
        to=Status.ERROR,
        now=now,
    )
    from_snapshot = share.status == Status.CREATING_FROM_SNAPSHOT
    messages.say(
        session,
        project_id=share.project_id,
        action=Action.CREATE,
        detail=Detail.DRIVER_FAILED_CREATING_FROM_SNAPSHOT if from_snapshot else Detail.NO_VALID_HOST,
        resource_id=share.share_id,
        request_id=job.request_id,
        text=error.message,
        now=now,
    )
