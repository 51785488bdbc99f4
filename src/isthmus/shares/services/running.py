"""Takes jobs from the queue and carries them out: a few at once, each under a lease that is kept while it runs."""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from isthmus.control import metrics
from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.contract import DriverFailed
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind
from isthmus.shares.services.operations import OPERATIONS
from isthmus.shares.services.work import Record, Work
from isthmus.shares.store import jobs, messages
from isthmus.shares.store.deadlocks import in_transaction
from isthmus.shares.store.jobs import Job

log = logging.getLogger(__name__)

SHORTEST_WAIT, LONGEST_WAIT = 1.0, 30.0
TRIES_OF_A_BROKEN_JOB = 3
"""How often a job is begun that ends in an error nobody foresaw."""


class Runner:
    """Carries out the jobs of several back ends, by `machine@back end`; `owner` names this process in leases."""

    def __init__(
        self, works: Mapping[str, Work], owner: str, meter: metrics.Work, *, threads: int, lease_seconds: float
    ) -> None:
        self._works = dict(works)
        self._owner = owner
        self._meter = meter
        self._threads = threads
        self._lease = timedelta(seconds=lease_seconds)
        self._running: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._freed = threading.Event()
        self._stopping = threading.Event()

    def add(self, work: Work) -> None:
        """Begin to take the jobs of one more back end."""
        self._works[work.backend] = work

    def run(self, poll_seconds: float) -> None:
        """Work until `stop`; running jobs are finished first."""
        keeper = threading.Thread(target=self._keep_leases, name="leases", daemon=True)
        keeper.start()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="job") as pool:
            while not self._stopping.is_set():
                try:
                    found = self._claim()
                except SQLAlchemyError as error:
                    log.warning("the queue cannot be read now: %s", type(error).__name__)
                    found = []
                for job in found:
                    pool.submit(self._carry_out, job)
                if not found:
                    self._freed.wait(poll_seconds)
                    self._freed.clear()
        keeper.join()

    def stop(self) -> None:
        """Take no more jobs."""
        self._stopping.set()
        self._freed.set()

    def _claim(self) -> list[Job]:
        free = self._threads - len(self._running)
        if not self._works or free <= 0:
            return []
        database = next(iter(self._works.values())).database
        now = next(iter(self._works.values())).now()
        with database.transaction() as session:
            found = jobs.claim(
                session, backends=tuple(self._works), owner=self._owner, now=now, lease=self._lease, limit=free
            )
        with self._lock:
            self._running.update({job.id: job for job in found})
        return found

    def _carry_out(self, job: Job) -> None:
        work = self._works[job.backend]
        try:
            with self._meter.measured(str(job.kind)):
                carry_out(work, job, self._owner)
        except Exception:
            # Nothing was recorded, and it may be done again.
            log.exception("job %s (%s of %s) broke off", job.id, job.kind, job.subject)
            self._hand_back(work, job)
        finally:
            with self._lock:
                self._running.pop(job.id, None)
            # There may be a next job of the same subject.
            self._freed.set()

    def _hand_back(self, work: Work, job: Job) -> None:
        try:
            _put_back(work, job, self._owner, None)
        except SQLAlchemyError as error:
            log.warning("job %s is taken again when its lease has lapsed: %s", job.id, type(error).__name__)

    def _keep_leases(self) -> None:
        pause = self._lease.total_seconds() / 3
        while not self._stopping.wait(pause) or self._running:
            with self._lock:
                held = {identity: self._works[job.backend] for identity, job in self._running.items()}
            if not held:
                continue
            work = next(iter(held.values()))
            try:
                with work.database.transaction() as session:
                    jobs.renew(session, owner=self._owner, ids=list(held), until=work.now() + self._lease)
            except SQLAlchemyError as error:
                log.warning("leases cannot be kept now: %s", type(error).__name__)
            if self._stopping.is_set():
                time.sleep(0.1)


def carry_out(work: Work, job: Job, owner: str) -> None:
    """Do one job and record its result, or put it back if its back end does not answer."""
    operation = OPERATIONS[job.kind]
    try:
        record = operation.perform(work, job)
    except IsthmusError as error:
        if error.retryable:
            _put_back(work, job, owner, error)
            return
        record = operation.fail(work, job, error)
    except SQLAlchemyError:
        raise
    except Exception as error:
        if job.attempts < TRIES_OF_A_BROKEN_JOB:
            log.exception("job %s (%s of %s) failed; it is tried again", job.id, job.kind, job.subject)
            _put_back(work, job, owner, None)
            return
        log.exception("job %s (%s of %s) failed for good", job.id, job.kind, job.subject)
        record = operation.fail(work, job, _unforeseen(work, error))
    try:
        _record(work, job, owner, record)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if job.attempts < TRIES_OF_A_BROKEN_JOB:
            raise
        # Such as an export that is longer than the database keeps: it would fail for ever, without a word.
        log.exception("what job %s (%s of %s) came to cannot be recorded", job.id, job.kind, job.subject)
        _record(work, job, owner, operation.fail(work, job, _unforeseen(work, error)))


def _unforeseen(work: Work, error: Exception) -> DriverFailed:
    return DriverFailed(f"back end {work.backend} failed in a way nobody foresaw ({type(error).__name__})")


def _record(work: Work, job: Job, owner: str, record: Record) -> None:
    def finish(session: Session) -> None:
        if jobs.finish(session, job, owner):
            record(session)
        else:
            log.warning("job %s (%s of %s) is another's by now: nothing recorded", job.id, job.kind, job.subject)

    in_transaction(work.database, finish)


def _put_back(work: Work, job: Job, owner: str, error: IsthmusError | None) -> None:
    """Try again later and later; the object's owner is told once."""
    wait = min(SHORTEST_WAIT * 2 ** (job.attempts - 1), LONGEST_WAIT) if job.attempts < 10 else LONGEST_WAIT
    now = work.now()
    with work.database.transaction() as session:
        jobs.put_back(session, job, owner, now + timedelta(seconds=wait))
        if error is not None and job.attempts == 1 and job.project_id:
            messages.say(
                session,
                project_id=job.project_id,
                action=ACTIONS.get(job.kind, Action.UPDATE),
                detail=Detail.UNKNOWN_ERROR,
                resource_id=job.subject,
                request_id=job.request_id,
                text=f"{error.message}; it goes on by itself when the back end answers",
                now=now,
            )


ACTIONS = {
    Kind.CREATE_SHARE: Action.CREATE,
    Kind.CREATE_SNAPSHOT: Action.CREATE,
    Kind.CREATE_GROUP: Action.CREATE,
    Kind.CREATE_GROUP_SNAPSHOT: Action.CREATE,
    Kind.MANAGE_SHARE: Action.CREATE,
    Kind.MANAGE_SNAPSHOT: Action.CREATE,
    Kind.DELETE_SHARE: Action.DELETE,
    Kind.DELETE_SNAPSHOT: Action.DELETE,
    Kind.DELETE_GROUP: Action.DELETE,
    Kind.DELETE_GROUP_SNAPSHOT: Action.DELETE,
    Kind.EXTEND_SHARE: Action.EXTEND,
    Kind.SHRINK_SHARE: Action.SHRINK,
    Kind.REVERT_SHARE: Action.REVERT_TO_SNAPSHOT,
    Kind.UPDATE_ACCESS: Action.UPDATE_ACCESS_RULES,
    Kind.UPDATE_SNAPSHOT_ACCESS: Action.UPDATE_ACCESS_RULES,
    Kind.CREATE_REPLICA: Action.CREATE,
    Kind.DELETE_REPLICA: Action.DELETE,
    Kind.PROMOTE_REPLICA: Action.PROMOTE,
    Kind.CREATE_REPLICATED_SNAPSHOT: Action.CREATE,
    Kind.DELETE_REPLICATED_SNAPSHOT: Action.DELETE,
}
