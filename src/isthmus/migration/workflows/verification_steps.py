"""The steps of a verification: each side of a disk is hashed beside it, and the hashes are compared.

The source is read at a new point in time. Where it tracks changes, what it has written since the last pass is known and
left out; where it does not, a running machine's differences may be its own doing, and only a stopped one's count.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from isthmus.control.errors import StepFailed
from isthmus.migration.disks.hashing import DiskHashes, HashJob, hash_disk, stretch_bytes
from isthmus.migration.disks.limiter import Limiter
from isthmus.migration.model import TaskType
from isthmus.migration.planning.comparing import MOST_HASHES, DiskComparison, SideHashes, compare
from isthmus.migration.reporting import Level, Report
from isthmus.migration.workflows.calls import StepCall, StepOutcome
from isthmus.migration.workflows.site import Site, side_of, writing_owner
from isthmus.migration.workflows.transfer_steps import StepFunction

_AT_ONCE = 4


def hash_source(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Hash the source as it is now, but for what it has changed since the last pass."""
    work, replica = call.work, call.facts.replica
    if replica.point is None or not replica.disks:
        raise StepFailed(f"{call.step.instance} has no complete replica to verify: execute its transfer first")
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        reading = cloud.open_reading(
            work.transfer_id,
            call.step.instance,
            work.source_environment,
            point=work.execution_id,
            since=replica.point,
            report=report,
        )
        stretch = stretch_bytes(sum(disk.size_bytes for disk in reading.disks), MOST_HASHES - len(reading.disks))
        jobs = [
            HashJob(disk.disk_id, side_of(disk), disk.size_bytes, stretch, "source", disk.dirty_context)
            for disk in reading.disks
        ]
        found = _hashed(jobs, site, report)
    tracked = {disk.disk_id: disk.dirty_context is not None for disk in reading.disks}
    hashes = tuple(_facts(each, tracked=tracked[each.disk_id]) for each in found)
    report.event(Level.INFO, f"{sum(each.size_bytes for each in hashes)} bytes of {len(hashes)} disks are hashed")
    return StepOutcome(replace(call.facts, hashes=hashes))


def compare_destination(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Hash the replica where it lies and compare. A replica that differs is not trusted by the next execution."""
    work, replica = call.work, call.facts.replica
    owner = writing_owner(work.transfer_id, call.step.instance)
    sides = {each.disk_id: each for each in call.facts.hashes}
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        exported = {each.disk_id: each for each in cloud.open_writing(owner, replica.disks)}
        if set(sides) - set(exported):
            missing = ", ".join(sorted(set(sides) - set(exported)))
            raise StepFailed(f"disks {missing} of {call.step.instance} have no replica: execute its transfer again")
        jobs = [
            HashJob(
                each.disk_id,
                side_of(exported[each.disk_id]),
                each.size_bytes,
                each.stretch_bytes,
                "destination",
                skip=frozenset(each.changed),
            )
            for each in sides.values()
        ]
        found = {each.disk_id: each.hashes for each in _hashed(jobs, site, report)}
    compared = [compare(side, found[disk_id]) for disk_id, side in sides.items()]
    certain = {key for key, side in sides.items() if side.tracked or not call.facts.source_ran}
    wrong = [each.disk_id for each in compared if each.different and each.disk_id in certain]
    for each in compared:
        _tell(report, each)
    result = {
        "execution_id": work.execution_id,
        "point": replica.point,
        "verified_at": site.now().isoformat(),
        "equal": not any(each.different for each in compared),
        "wrong": wrong,
        "disks": [{**asdict(each), "tracked": sides[each.disk_id].tracked} for each in compared],
    }
    replica = replace(replica, tainted=replica.tainted or bool(wrong), last_verification=result)
    return StepOutcome(replace(call.facts, replica=replica, hashes=()), result)


def confirm(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Fail if the replica is not what it should be."""
    del site
    found = call.facts.replica.last_verification or {}
    if found.get("wrong"):
        raise StepFailed(
            f"the replica of {call.step.instance} differs from its source on {', '.join(found['wrong'])}: execute the "
            "transfer again, which compares everything and mends it"
        )
    report.event(Level.INFO, SAME if found.get("equal") else UNSURE)
    return StepOutcome(call.facts)


SAME = "the replica holds what its source held at the last pass"
UNSURE = "the source ran and does not track its changes: stop it and verify again to be certain of what differs"


def _tell(report: Report, found: DiskComparison) -> None:
    changed, different = (sum(length for _, length in each) for each in (found.changed, found.different))
    text = f"disk {found.disk_id}: {found.equal_bytes} bytes are equal"
    if changed:
        text += f", {changed} lie where the source has written since the last pass"
    if different:
        text += f", {different} differ, first at offset {found.different[0][0]}"
    report.event(Level.WARNING if different else Level.INFO, text)


def _hashed(jobs: Sequence[HashJob], site: Site, report: Report) -> list[DiskHashes]:
    limiter = Limiter(site.settings.bandwidth_limit)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hash") as pool:
        futures = [
            pool.submit(hash_disk, job, limiter=limiter, connections=site.settings.nbd_connections, report=report)
            for job in jobs
        ]
        return [future.result() for future in futures]


def _facts(found: DiskHashes, *, tracked: bool) -> SideHashes:
    return SideHashes(
        found.disk_id, found.size_bytes, found.stretch_bytes, found.hashes, found.changed, tracked=tracked
    )


STEPS: Mapping[TaskType, StepFunction] = {
    TaskType.HASH_SOURCE_DISKS: hash_source,
    TaskType.COMPARE_DESTINATION_DISKS: compare_destination,
    TaskType.CONFIRM_EQUALITY: confirm,
}
