"""How disk steps get their places: the planner's decisions, made one after another and kept in the database.

Every decision serves the whole line. A step that got its place while its workflow was waiting is told through the
outbox; if that is lost, the workflow asks again by itself.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from isthmus.control import outbox
from isthmus.control.database import Database
from isthmus.control.queues import own_queue
from isthmus.migration.placement_tables import PlacementRow, WorkerRow
from isthmus.migration.planning.placement import (
    Held,
    Limits,
    Never,
    Outcome,
    Place,
    Wait,
    Wish,
    Worker,
    keeper,
    serve,
)
from isthmus.migration.reporting import Level, Progress
from isthmus.migration.store import placements, recording, workers
from isthmus.migration.workflows.calls import PLACED, StepBegun, StepStart

LOG = logging.getLogger(__name__)

WAITING = "waiting for a worker"
_WISH = TypeAdapter(Wish)


class Placing:
    """Gives places to steps and takes them back. `now` tells UTC without a zone."""

    def __init__(self, database: Database, limits: Limits, now: Callable[[], datetime]) -> None:
        self._database = database
        self._limits = limits
        self._now = now

    def begin(self, start: StepStart) -> StepBegun:
        """Return where a step runs, that it waits, or why it never can. Already done: it has its place and keeps it."""
        if start.wish is None:
            return StepBegun()
        wish = replace(start.wish, avoid=start.lost or start.wish.avoid)
        if not wish.reserve:
            return self._beside_its_maps(wish)
        with self._database.transaction() as session:
            number = placements.take_turn(session)
            now = self._now()
            row = placements.find(session, start.step_id)
            if row is None:
                row = _newcomer(start, wish, number, now)
                placements.join(session, row)
            if start.lost is not None and row.worker_id == start.lost:
                placements.take_back(row, recording.json_of(wish))
            outcome = self._serve(session, now, asking=row)
            begun = _told(session, row, outcome, now, waited=row.number != number)
            if isinstance(outcome, Never):
                placements.leave(session, start.step_id)
            return begun

    def end(self, step_id: str) -> None:
        """Take a step's place back, or take it out of the line, and serve those who wait. Already done: it has none."""
        with self._database.transaction() as session:
            placements.take_turn(session)
            if placements.leave(session, step_id) and placements.anybody_waits(session):
                self._serve(session, self._now())

    def look(self) -> int:
        """Take back the places of executions that have ended, serve the line; return how many were taken back."""
        with self._database.transaction() as session:
            lost = placements.of_ended_executions(session)
            if not lost and not placements.anybody_waits(session):
                return 0
        with self._database.transaction() as session:
            placements.take_turn(session)
            taken = sum(placements.leave(session, each) for each in placements.of_ended_executions(session))
            if placements.anybody_waits(session):
                self._serve(session, self._now())
        return taken

    def _serve(self, session: Session, now: datetime, asking: PlacementRow | None = None) -> Outcome | None:
        """Serve the line; return what became of the step that asks. The others are told through the outbox."""
        rows = placements.everything(session)
        wishes = {row.step_id: _WISH.validate_python(row.wish) for row in rows}
        known = observed(session, now)
        held = [
            Held(
                row.worker_id,
                wishes[row.step_id].staging_bytes,
                row.bandwidth,
                wishes[row.step_id].uses,
                wishes[row.step_id].stores,
            )
            for row in rows
            if row.worker_id is not None
        ]
        line = {row.step_id: wishes[row.step_id] for row in rows if row.worker_id is None}
        found = serve(line, known, held, self._limits)
        for row in rows:
            outcome = found.get(row.step_id)
            if isinstance(outcome, Place):
                placements.give(row, outcome.worker.id, outcome.bandwidth, now)
            elif outcome is not None:
                row.waits_for = outcome.reason
            if row is not asking and isinstance(outcome, Place | Never):
                _tell(session, row, now)
        session.flush()
        if asking is None:
            return None
        return found.get(asking.step_id) or _kept(asking, known)

    def _beside_its_maps(self, wish: Wish) -> StepBegun:
        with self._database.transaction() as session:
            found = keeper(wish, observed(session, self._now()))
        return StepBegun(queue=own_queue(found.id), worker=found.id) if found is not None else StepBegun()


def _told(session: Session, row: PlacementRow, outcome: Outcome | None, now: datetime, *, waited: bool) -> StepBegun:
    """Show in a step's task what became of it, and return it for its workflow."""
    wish = _WISH.validate_python(row.wish)
    task_id = wish.shown_at or row.step_id
    match outcome:
        case Place(worker, bandwidth):
            if waited:
                _progress(session, task_id, 1, 1, now)
                recording.add_conductor_event(session, task_id, Level.INFO, _placed(wish, worker), now)
            return StepBegun(queue=own_queue(worker.id), worker=worker.id, bandwidth=bandwidth)
        case Never(reason):
            return StepBegun(refused=reason)
        case Wait(reason):
            _progress(session, task_id, 0, _in_line(session, row.step_id), now)
            recording.add_conductor_event(session, task_id, Level.INFO, f"waits in line: {reason}", now)
            return StepBegun(begun=False, waits=True)
    raise AssertionError(outcome)


def _newcomer(start: StepStart, wish: Wish, number: int, now: datetime) -> PlacementRow:
    return PlacementRow(
        step_id=start.step_id,
        execution_id=start.execution_id,
        number=number,
        wish=recording.json_of(wish),
        bandwidth=0,
        created_at=now,
    )


def _placed(wish: Wish, worker: Worker) -> str:
    lost = wish.avoid
    if wish.stores:
        return f"worker {worker.name} has room to stage {wish.staging_bytes} bytes now"
    if lost is None:
        return f"worker {worker.name} has a place for it now"
    if worker.id == lost:
        return f"worker {worker.name} stopped answering and is asked once more"
    return (
        f"worker {lost[:8]} stopped answering: the step goes on at worker {worker.name}, which reads the destination "
        "to learn what is there already, as the journal lies with the other"
    )


def _kept(row: PlacementRow, known: Sequence[Worker]) -> Outcome:
    """Return the place that a step has from an earlier turn, also if its worker is not known any more."""
    worker_id = str(row.worker_id)
    worker = next((each for each in known if each.id == worker_id), None)
    return Place(worker or Worker(worker_id, "a host that is forgotten", (), (), 1), row.bandwidth)


def _tell(session: Session, row: PlacementRow, now: datetime) -> None:
    outbox.signal(session, workflow_id=f"execution-{row.execution_id}", name=PLACED, now=now, argument=row.step_id)


def _in_line(session: Session, step_id: str) -> int:
    waiting = [row.step_id for row in placements.everything(session) if row.worker_id is None]
    return waiting.index(step_id) + 1


def _progress(session: Session, step_id: str, done: int, total: int, now: datetime) -> None:
    """Show a step's place in the line: `total` steps until it is served, itself counted."""
    recording.save_progress(session, step_id, [Progress(WAITING, done, total, "steps")], now)


def observed(session: Session, now: datetime) -> list[Worker]:
    """Return all workers as the planner takes them."""
    disabled = workers.disabled_hosts(session)
    return [worker_of(row, now, enabled=row.host not in disabled) for row in workers.known(session)]


def worker_of(row: WorkerRow, now: datetime, *, enabled: bool) -> Worker:
    """Return a worker's row as the planner takes it."""
    return Worker(
        id=row.id,
        host=row.host,
        regions=tuple(row.regions),
        platforms=tuple(row.platforms),
        slots=row.slots,
        running=row.running,
        staging_total=row.staging_total,
        staging_free=row.staging_free,
        link_bandwidth=row.link_bandwidth,
        copy_limit=row.copy_limit,
        up=workers.is_up(row, now),
        enabled=enabled,
    )


def limits_of(options: Mapping[str, int]) -> Limits:
    """Return the `[placement]` options as the planner takes them."""
    return Limits(
        hypervisor=options["hypervisor_copies"],
        datastore=options["datastore_copies"],
        link=options["link_copies"],
        copy_bandwidth=options["copy_bandwidth"],
    )
