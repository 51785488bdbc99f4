"""What the database holds now, as Prometheus' gauges: asked at each look at the conductor's /metrics."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from isthmus.control.database import Database, utc_now
from isthmus.control.outbox import OutboxRow
from isthmus.migration.model import ACTIVE, AssessmentStatus
from isthmus.migration.placement_tables import PlacementRow
from isthmus.migration.store import workers
from isthmus.migration.tables import AssessmentRow, ExecutionRow


class Gauges(Collector):
    """Executions under way by type and status, assessments under way, the outbox's entries, workers and their line."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count; while the database is away `isthmus_database_up` is 0 and the others are missing."""
        up = GaugeMetricFamily("isthmus_database_up", "Whether the database answers.")
        try:
            found = list(self._counted())
        except SQLAlchemyError:
            found = []
        up.add_metric([], float(bool(found)))
        yield up
        yield from found

    def _counted(self) -> Iterator[GaugeMetricFamily]:
        executions = GaugeMetricFamily("isthmus_executions", "Executions under way.", labels=("type", "status"))
        assessments = GaugeMetricFamily("isthmus_assessments", "Assessments under way.")
        known = GaugeMetricFamily("isthmus_workers", "Workers, by whether they are up.", labels=("status",))
        placed = GaugeMetricFamily("isthmus_disk_steps", "Disk steps that have a place, or wait.", labels=("state",))
        waiting = GaugeMetricFamily("isthmus_outbox_entries", "What the engine has not been told yet.")
        grouped = (ExecutionRow.type, ExecutionRow.status)
        with self._database.transaction() as session:
            wanted = select(*grouped, func.count()).where(ExecutionRow.status.in_(ACTIVE)).group_by(*grouped)
            for kind, status, count in session.execute(wanted):
                executions.add_metric([kind, status], count)
            running = select(func.count()).where(
                AssessmentRow.status == AssessmentStatus.RUNNING, AssessmentRow.deleted_at.is_(None)
            )
            assessments.add_metric([], session.scalar(running) or 0)
            waiting.add_metric([], session.scalar(select(func.count()).select_from(OutboxRow)) or 0)
            up = [workers.is_up(row, utc_now()) for row in workers.known(session)]
            for status, count in (("UP", sum(up)), ("DOWN", len(up) - sum(up))):
                known.add_metric([status], count)
            held = select(PlacementRow.worker_id.is_not(None), func.count()).group_by(
                PlacementRow.worker_id.is_not(None)
            )
            counts = {bool(has): count for has, count in session.execute(held)}
            for state, has in (("placed", True), ("waiting", False)):
                placed.add_metric([state], counts.get(has, 0))
        yield from (executions, assessments, waiting, known, placed)
