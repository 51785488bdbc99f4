"""What a manager does when an administrator asks for it: serves all shares of its back end again."""

import threading

from sqlalchemy import update
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError
from isthmus.shares.model import Kind
from isthmus.shares.services.backends import ensure
from isthmus.shares.services.work import Operation, Record, Work
from isthmus.shares.store import reports
from isthmus.shares.store.jobs import Job
from isthmus.shares.tables import ServiceRow


def _ensure(work: Work, job: Job) -> Record:
    del job
    ensure(work, threading.Event())
    return lambda session: _ended(session, work)


def _ensure_failed(work: Work, job: Job, error: IsthmusError) -> Record:
    del job

    def record(session: Session) -> None:
        _ended(session, work)
        reports.say_health(session, work.backend, answers=False, trouble=error.message)

    return record


def _ended(session: Session, work: Work) -> None:
    session.execute(
        update(ServiceRow).where(ServiceRow.host == work.backend).values(ensuring=False, updated_at=work.now())
    )


OPERATIONS = {Kind.ENSURE_SHARES: Operation(_ensure, _ensure_failed)}
