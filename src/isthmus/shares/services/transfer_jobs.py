"""What a manager does when a share was handed over without its access rules: it takes them away."""

from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.share_jobs import read
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import messages, rules
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import InstanceRow


def _transfer(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None or share.status != Status.AWAITING_TRANSFER:
        return nothing
    with work.database.transaction() as session:
        change = rules.begin(session, share.instance_id, work.now())
    outcomes = work.driver.update_access(share, change)

    def record(session: Session) -> None:
        rules.end(session, share.instance_id, outcomes, work.now())
        _free(session, work, share.instance_id)

    return record


def _transfer_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    """The share is its new owner's all the same; its rules are in error, which any change of them puts right."""
    share = read(work, job)
    if share is None:
        return nothing

    def record(session: Session) -> None:
        rules.fail(session, share.instance_id, work.now())
        _free(session, work, share.instance_id)
        messages.say(
            session,
            project_id=share.project_id,
            action=Action.TRANSFER_ACCEPT,
            detail=Detail.UNKNOWN_ERROR,
            resource_id=share.share_id,
            request_id=job.request_id,
            text=error.message,
            now=work.now(),
        )

    return record


def _free(session: Session, work: Work, instance_id: str) -> None:
    of = [Status.AWAITING_TRANSFER]
    move(session, InstanceRow, instance_id, of=of, to=Status.AVAILABLE, now=work.now())


OPERATIONS = {Kind.TRANSFER_SHARE: Operation(_transfer, _transfer_failed)}
