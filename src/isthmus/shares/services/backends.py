"""One back end of a manager: its driver is started, asked for figures, and has its shares served again.

A manager is ready at once, however many shares its back ends have and whether they answer: each back end is brought
up behind, and its jobs are taken as soon as its driver has started.
"""

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from isthmus.control.errors import IsthmusError, Unavailable
from isthmus.shares.drivers.facts import BackendReport, ExportLocation, Pool, ShareFacts
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.scheduling.capabilities import capabilities_of
from isthmus.shares.services.work import Work
from isthmus.shares.store import facts, jobs, messages, reports, results
from isthmus.shares.tables import InstanceRow

log = logging.getLogger(__name__)

SERVED = (
    Status.AVAILABLE,
    Status.EXTENDING,
    Status.EXTENDING_ERROR,
    Status.SHRINKING,
    Status.SHRINKING_ERROR,
    Status.REVERTING,
    Status.REVERTING_ERROR,
    Status.UNMANAGE_ERROR,
    Status.AWAITING_TRANSFER,
    Status.ENSURING,
)
BATCH = 500
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 30.0


def bring_up(work: Work, name: str, stopping: threading.Event, started: Callable[[Work], None]) -> None:
    """Start the driver, however long it takes, and have its shares served; then report until told to stop."""
    wait = SHORTEST_WAIT
    while not stopping.is_set():
        try:
            work.driver.start()
            report(work, name)
            break
        except Unavailable as error:
            _say_silent(work, error)
        except IsthmusError as error:
            log.warning("back end %s cannot be used: %s", name, error.message)
            _say_silent(work, error)
        except Exception:
            log.exception("back end %s did not start", name)
        stopping.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    if stopping.is_set():
        return
    started(work)
    wait = SHORTEST_WAIT
    while not _guarded(work, name, "serving its shares again", lambda: ensure(work, stopping)):
        if stopping.wait(wait):
            return
        wait = min(2 * wait, LONGEST_WAIT)
        _guarded(work, name, "its report", lambda: report(work, name))
    while not stopping.wait(work.conf.shares.report_interval):
        _guarded(work, name, "its report", lambda: report(work, name))


def report(work: Work, name: str) -> None:
    """Ask the driver for its figures and keep them."""
    found = work.driver.report()
    pools = [_figures(work, name, found, pool) for pool in found.pools]
    with work.database.transaction() as session:
        reports.say_health(session, work.backend, answers=found.answers, trouble=found.trouble)
        if found.answers:
            reports.keep_pools(session, work.backend, pools, work.now())


def _figures(work: Work, name: str, found: BackendReport, pool: Pool) -> reports.PoolFigures:
    return reports.PoolFigures(
        host=f"{work.backend}#{pool.name}",
        total_gib=_gib(pool.total_gib),
        free_gib=_gib(pool.free_gib),
        allocated_gib=_gib(pool.allocated_gib),
        capabilities=capabilities_of(name, found, pool),
    )


def _gib(size: float | None) -> float | None:
    # JSON and SQL have no infinity.
    return reports.ENDLESS if size is not None and math.isinf(size) else size


def ensure(work: Work, stopping: threading.Event) -> None:
    """Have all shares of the back end served again, a batch at a time; their rules too where exports have changed.

    A share that cannot be served is told to its owner and keeps no other from being served. Raises what may be well
    the next time: that the back end or the database does not answer. Done twice: the same.
    """
    after = ""
    while not stopping.is_set():
        with work.database.transaction() as session:
            batch = facts.shares_of_backend(session, work.backend, SERVED, after=after, most=BATCH)
        if not batch:
            return
        after = batch[-1].instance_id
        changed = _ensured(work, batch)
        with work.database.transaction() as session:
            for share in batch:
                if share.instance_id in changed:
                    _keep(session, work, share, changed[share.instance_id])


def _ensured(work: Work, batch: Sequence[ShareFacts]) -> Mapping[str, tuple[ExportLocation, ...]]:
    try:
        return work.driver.ensure_shares(batch)
    except Exception as error:
        if isinstance(error, IsthmusError) and error.retryable:
            raise
        log.warning("back end %s cannot serve %s shares at once (%s): each by itself", work.backend, len(batch), error)
    changed: dict[str, tuple[ExportLocation, ...]] = {}
    for share in batch:
        try:
            changed |= work.driver.ensure_shares([share])
        except IsthmusError as error:
            if error.retryable:
                raise
            _say_unserved(work, share, error.message)
        except Exception as error:
            log.exception("back end %s does not serve share instance %s again", work.backend, share.instance_id)
            _say_unserved(work, share, f"share instance {share.instance_id}: {type(error).__name__}")
    return changed


def _keep(session: Session, work: Work, share: ShareFacts, exports: Sequence[ExportLocation]) -> None:
    # It may have been deleted while it was being served again.
    there = select(InstanceRow.id).where(InstanceRow.id == share.instance_id, InstanceRow.status.in_(SERVED))
    if session.scalar(there.with_for_update()) is None:
        return
    now = work.now()
    results.keep_exports(session, share.instance_id, exports, now)
    jobs.enqueue(
        session,
        host=share.host,
        kind=Kind.UPDATE_ACCESS,
        subject=share.share_id,
        argument={"instance_id": share.instance_id, "whole": True},
        now=now,
    )


def _say_unserved(work: Work, share: ShareFacts, trouble: str) -> None:
    with work.database.transaction() as session:
        messages.say(
            session,
            project_id=share.project_id,
            action=Action.UPDATE,
            detail=Detail.UNKNOWN_ERROR,
            resource_id=share.share_id,
            text=f"the share is not served again: {trouble}",
            now=work.now(),
        )


def _say_silent(work: Work, error: IsthmusError) -> None:
    try:
        with work.database.transaction() as session:
            reports.say_health(session, work.backend, answers=False, trouble=error.message)
    except SQLAlchemyError as silent:
        log.warning("the database does not answer: %s", type(silent).__name__)


def _guarded(work: Work, name: str, what: str, act: Callable[[], None]) -> bool:
    """Do something that may fail today and is done again tomorrow; say whether it is done."""
    try:
        act()
    except IsthmusError as error:
        log.warning("back end %s: %s failed: %s", name, what, error.message)
        _say_silent(work, error)
    except SQLAlchemyError as error:
        log.warning("back end %s: %s failed: the database does not answer (%s)", name, what, type(error).__name__)
    except Exception:
        # A driver's defect must not end the reports for good.
        log.exception("back end %s: %s failed", name, what)
    else:
        return True
    return False
