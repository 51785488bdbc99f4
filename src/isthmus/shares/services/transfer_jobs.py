"""What a manager does when a share was handed over: its rules go, if they shall, and the back end takes note.

A back end that will not take note changes nothing: the share is its new owner's, who is told.
"""

from dataclasses import replace

from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.facts import ShareFacts
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.services.share_jobs import read
from isthmus.shares.services.work import Operation, Record, Work, nothing
from isthmus.shares.store import messages, rules
from isthmus.shares.store.jobs import Job
from isthmus.shares.store.moving import move
from isthmus.shares.tables import InstanceRow

GOING = frozenset({Status.DELETING, Status.UNMANAGE_STARTING})


def _transfer(work: Work, job: Job) -> Record:
    share = read(work, job)
    if share is None or share.status in GOING:
        return nothing
    clear_rules = bool(job.argument.get("clear_rules"))
    with work.database.transaction() as session:
        waits = share.status == Status.AWAITING_TRANSFER
        change = rules.begin(session, share.instance_id, work.now()) if waits else None
        held = () if clear_rules else tuple(rules.all_of(session, share.instance_id))
    outcomes = {} if change is None else work.driver.update_access(share, change)
    refused = _refusal(work, replace(share, rules=held), clear_rules=clear_rules)

    def record(session: Session) -> None:
        if change is not None:
            rules.end(session, share.instance_id, outcomes, work.now())
        _free(session, work, share.instance_id)
        if refused is not None:
            _tell(session, work, job, share, detail=Detail.DRIVER_FAILED_TRANSFER_ACCEPT, text=refused)

    return record


def _refusal(work: Work, share: ShareFacts, *, clear_rules: bool) -> str | None:
    """Tell the back end whose the share is; return why it would not know, None if it took note."""
    try:
        work.driver.accept_transfer(share, share.project_id, share.user_id, clear_rules)
    except IsthmusError as error:
        if error.retryable:
            raise
        return error.message
    return None


def _transfer_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    """The share is its new owner's all the same; its rules are in error, which any change of them puts right."""
    share = read(work, job)
    if share is None:
        return nothing

    def record(session: Session) -> None:
        rules.fail(session, share.instance_id, work.now())
        _free(session, work, share.instance_id)
        _tell(session, work, job, share, detail=Detail.UNKNOWN_ERROR, text=error.message)

    return record


def _tell(session: Session, work: Work, job: Job, share: ShareFacts, *, detail: Detail, text: str) -> None:
    messages.say(
        session,
        project_id=share.project_id,
        action=Action.TRANSFER_ACCEPT,
        detail=detail,
        resource_id=share.share_id,
        request_id=job.request_id,
        text=text,
        now=work.now(),
    )


def _free(session: Session, work: Work, instance_id: str) -> None:
    of = [Status.AWAITING_TRANSFER]
    move(session, InstanceRow, instance_id, of=of, to=Status.AVAILABLE, now=work.now())


OPERATIONS = {Kind.TRANSFER_SHARE: Operation(_transfer, _transfer_failed)}
