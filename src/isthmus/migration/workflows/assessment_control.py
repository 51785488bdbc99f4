"""The control activities of an assessment: what the database says is asked, and what is written down of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from statistics import fmean, median
from typing import Any

from sqlalchemy.orm import Session
from temporalio import activity

from isthmus.control.database import Database
from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import Machine, StorageBackend
from isthmus.migration.model import AssessmentStatus
from isthmus.migration.planning.concerns import (
    Arrival,
    Concern,
    Observed,
    Severity,
    Wishes,
    concerns,
    same_addresses,
    space_needed,
    together,
)
from isthmus.migration.planning.estimating import Basis, Rate, Rates, estimate
from isthmus.migration.store import assessments, measures, recording
from isthmus.migration.tables import AssessedMachineRow, AssessmentRow
from isthmus.migration.workflows.asked import endpoint_ref
from isthmus.migration.workflows.assessment_calls import (
    END_ASSESSMENT,
    NEXT_BATCH,
    OUTLINE_ASSESSMENT,
    RECORD_BATCH,
    RECORD_LISTING,
    AssessmentEnd,
    Batch,
    Listing,
    Outline,
)
from isthmus.migration.workflows.control import recorded

MACHINES_OF_A_BATCH = 25
LEAST_BYTES = 16 << 20
"""A copy of less tells more of its beginning and end than of the way's rate."""


class AssessmentActivities:
    """What the conductor offers to assessments. `now` tells UTC without a zone."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (
            self.outline_assessment,
            self.record_listing,
            self.next_batch,
            self.record_batch,
            self.end_assessment,
        )

    @activity.defn(name=OUTLINE_ASSESSMENT)
    @recorded
    def outline_assessment(self, assessment_id: str) -> Outline | None:
        """Return what is asked, the named machines written down; None if there is nothing to do any more."""
        with self._database.transaction() as session:
            row = assessments.running(session, assessment_id)
            if row is None:
                return None
            if row.instances is not None:
                assessments.add_machines(session, row, row.instances, self._now())
            to = row.destination_endpoint_id
            return Outline(
                endpoint=endpoint_ref(session, row.endpoint_id),
                destination=endpoint_ref(session, to) if to else None,
                trust_id=row.trust_id,
                source_environment=row.wishes.get("source_environment") or {},
                wishes=wishes_of(row.wishes),
                listed=row.total is not None,
            )

    @activity.defn(name=RECORD_LISTING)
    @recorded
    def record_listing(self, listing: Listing) -> None:
        """Write down all machines of an endpoint."""
        with self._database.transaction() as session:
            row = assessments.running(session, listing.assessment_id)
            if row is not None:
                assessments.add_machines(session, row, listing.instances, self._now())

    @activity.defn(name=NEXT_BATCH)
    @recorded
    def next_batch(self, assessment_id: str) -> list[str]:
        """Return the machines to look at next; none once all are done, or the assessment has ended or was deleted."""
        with self._database.transaction() as session:
            if assessments.running(session, assessment_id) is None:
                return []
            return assessments.waiting(session, assessment_id, MACHINES_OF_A_BATCH)

    @activity.defn(name=RECORD_BATCH)
    @recorded
    def record_batch(self, batch: Batch) -> None:
        """Write down what was found of some machines."""
        with self._database.transaction() as session:
            row = assessments.running(session, batch.assessment_id)
            if row is None:
                return
            now = self._now()
            rates = rates_between(session, row)
            machines = assessments.by_instance(session, row.id, [each.instance for each in batch.observed])
            for observed in batch.observed:
                _write(machines[observed.instance], observed, batch, rates, now)
            if batch.arrival is not None:
                row.destination = [asdict(each) for each in batch.arrival.storage]
            assessments.count_done(session, row, now)

    @activity.defn(name=END_ASSESSMENT)
    @recorded
    def end_assessment(self, end: AssessmentEnd) -> None:
        """Make the final move, with the summary of all that was found."""
        with self._database.transaction() as session:
            row = assessments.running(session, end.assessment_id)
            if row is None:
                return
            found = assessments.machines(session, row.id, after=None, limit=None, severity=None)
            status = AssessmentStatus.ERROR if end.error else AssessmentStatus.COMPLETED
            result = recording.json_of(_summary(row, found, rates_between(session, row)))
            assessments.end(row, status, self._now(), error=end.error, result=result)


def wishes_of(stored: dict[str, Any]) -> Wishes:
    """Return what an assessment's row says of the migration."""
    return Wishes(
        network_map=stored.get("network_map") or {},
        storage_mappings=stored.get("storage_mappings") or {},
        destination_environment=stored.get("destination_environment") or {},
        skip_os_morphing=bool(stored.get("skip_os_morphing")),
        clone_disks=stored.get("clone_disks") is not False,
    )


def rates_between(session: Session, row: AssessmentRow) -> Rates:
    """Return what earlier work of the project between the two endpoints measured, and defaults for the rest."""
    defaults = Rates()
    if row.destination_endpoint_id is None:
        return defaults
    way = (row.project_id, row.endpoint_id, row.destination_endpoint_id)
    passes = measures.passes(session, *way)
    shares = measures.changed_shares(passes)
    rests = [max(0.0, down - last_pass) for down, last_pass in measures.downtimes(session, *way)]
    return Rates(
        copy=_mean_rate(measures.copied(passes, "allocation", "bytes_sent"), defaults.copy),
        scan=_mean_rate(measures.copied(passes, "compare", "bytes_read"), defaults.scan),
        changed=Rate(fmean(shares), Basis.MEASURED, len(shares)) if shares else defaults.changed,
        rest=Rate(median(rests), Basis.MEASURED, len(rests)) if rests else defaults.rest,
    )


def _mean_rate(measured: Sequence[tuple[int, float]], default: Rate) -> Rate:
    counted = [(size, seconds) for size, seconds in measured if size >= LEAST_BYTES and seconds > 0]
    if not counted:
        return default
    rate = sum(size for size, _ in counted) / sum(seconds for _, seconds in counted)
    return Rate(rate, Basis.MEASURED, len(counted))


def _write(row: AssessedMachineRow, observed: Observed, batch: Batch, rates: Rates, now: datetime) -> None:
    found = concerns(observed, batch.arrival, batch.wishes)
    row.concerns = recording.json_of(found)
    row.severity = found[0].severity if found else None
    row.assessed_at = now
    if observed.machine is None:
        return
    row.facts = recording.json_of(observed.machine)
    row.needs = _needs(observed.machine, batch.arrival, batch.wishes)
    guess = estimate(observed.machine, rates)
    row.bytes_to_move, row.seconds, row.downtime_seconds = guess.bytes_to_move, guess.seconds, guess.downtime_seconds


def _needs(machine: Machine, arrival: Arrival | None, wishes: Wishes) -> dict[str, int]:
    if arrival is None:
        return {}
    try:
        return space_needed(machine, arrival, wishes)
    except InvalidInput:
        return {}  # told as UNMAPPED_STORAGE


def _summary(row: AssessmentRow, machines: Sequence[AssessedMachineRow], rates: Rates) -> dict[str, Any]:
    """Return `assessment.result`; its shape is in docs/assessments.md."""
    storage = [StorageBackend(**each) for each in row.destination or ()]
    overall: list[Concern] = [
        *together((each.needs or {} for each in machines), storage),
        *same_addresses(
            (nic["mac_address"], each.facts["name"]) for each in machines if each.facts for nic in each.facts["nics"]
        ),
    ]
    counts = {severity.value: sum(each.severity == severity for each in machines) for severity in Severity}
    return {
        "machines": {"assessed": len(machines), **counts, "clear": sum(each.severity is None for each in machines)},
        "concerns": overall,
        "bytes_to_move": sum(each.bytes_to_move or 0 for each in machines),
        "seconds": round(sum(each.seconds or 0.0 for each in machines), 1),
        "longest_downtime_seconds": max((each.downtime_seconds or 0.0 for each in machines), default=0.0),
        "rates": rates,
    }
