"""What a manager does about access rules: one job brings all queued changes of an instance to its back end."""

from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.facts import ShareFacts
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.share_jobs import read
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import messages, rules
from isthmus.shares.store.jobs import Job

GONE = frozenset({Status.DELETING, Status.UNMANAGE_STARTING, Status.MANAGE_ERROR_UNMANAGE_STARTING})


def _update(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None or share.status in GONE:
        return nothing
    with work.database.transaction() as session:
        # Of many changes at once the first job takes all that are queued: those after it find nothing to do.
        if not job.argument.get("whole") and rules.hold_already(session, share.instance_id):
            return lambda session: rules.end(session, share.instance_id, {}, work.now())
        change = rules.begin(session, share.instance_id, work.now())
    outcomes = work.driver.update_access(share, change)

    def record(session: Session) -> None:
        rules.end(session, share.instance_id, outcomes, work.now())
        for outcome in outcomes.values():
            if outcome.error is not None:
                _tell(session, work, job, share, detail=Detail.UNSUPPORTED_CLIENT_ACCESS, text=outcome.error)

    return record


def _update_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    share = read(work, job)
    if share is None:
        return nothing

    def record(session: Session) -> None:
        rules.fail(session, share.instance_id, work.now())
        _tell(session, work, job, share, detail=Detail.UNKNOWN_ERROR, text=error.message)

    return record


def _tell(session: Session, work: Work, job: Job, share: ShareFacts, *, detail: Detail, text: str) -> None:
    messages.say(
        session,
        project_id=share.project_id,
        action=Action.UPDATE_ACCESS_RULES,
        detail=detail,
        resource_id=share.share_id,
        request_id=job.request_id,
        text=text,
        now=work.now(),
    )


OPERATIONS = {Kind.UPDATE_ACCESS: Operation(_update, _update_failed)}
