"""The steps of a transfer's executions. Each is called again after a crash at any point, and then finds its own work.

A step takes the call, the worker's site, a report and the number of the attempt, and returns what it learned.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from isthmus.control.errors import IsthmusError, StepFailed
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import Channel, CopyJob, CopyReport, Reads, Side
from isthmus.migration.disks.measuring import data_bytes
from isthmus.migration.disks.staging import room_for
from isthmus.migration.disks.wire import WireLost
from isthmus.migration.machine import DestinationDisk, PowerState
from isthmus.migration.model import TaskType
from isthmus.migration.planning.mapping import map_disks, map_nics
from isthmus.migration.planning.work import Replica
from isthmus.migration.providers.contract import ChangeSource, DestinationProvider, ExportedDisk, Reading
from isthmus.migration.reporting import Level, Report
from isthmus.migration.workflows.calls import ReceiverOffer, StepCall, StepOutcome
from isthmus.migration.workflows.channel_steps import NOWHERE, Crossing, crossing_of
from isthmus.migration.workflows.site import Site, side_of, writing_owner

StepFunction = Callable[[StepCall, Site, Report, int], StepOutcome]

READS = {
    ChangeSource.ALLOCATION: Reads.ALLOCATION,
    ChangeSource.DIRTY_BITMAP: Reads.DIRTY,
    ChangeSource.HASH_MAP: Reads.COMPARE,
}


def validate_source(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Learn whether the machine can be replicated at all."""
    work = call.work
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        cloud.validate_connection()
        machine = cloud.validate_source(call.step.instance, work.source_environment)
    report.event(Level.INFO, f"{machine.name} can be replicated: {len(machine.disks)} disks")
    return StepOutcome(call.facts)


def get_instance_info(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Look at the machine; a running one was not stopped by us, whatever we did before."""
    work, replica = call.work, call.facts.replica
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        machine = cloud.validate_source(call.step.instance, work.source_environment)
    ran = machine.power_state is not PowerState.OFF
    if ran:
        replica = replace(replica, stopped_by=None, source_stopped_at=None, deployed=False)
    size = sum(disk.size_bytes for disk in machine.disks)
    report.event(Level.INFO, f"{machine.name} is {machine.power_state}, with {size} bytes of disks")
    return StepOutcome(
        replace(call.facts, replica=replace(replica, machine=machine), source_ran=ran),
        {"machine": asdict(machine)},
    )


def validate_destination(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Learn before the copy whether all that the machine needs is at the destination, also the space."""
    work, machine = call.work, call.facts.replica.machine
    if machine is None:
        raise StepFailed(f"nothing is known of {call.step.instance} yet: run the transfer again")
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        backends, default = cloud.list_storage()
        environment_default = work.destination_environment.get("storage_pool")
        disks = map_disks(machine, work.storage_mappings, backends, environment_default or default)
        nics = map_nics(machine, work.network_map, cloud.list_networks())
        cloud.validate_destination(work.transfer_id, machine, work.destination_environment, disks, nics)
    report.event(Level.INFO, f"{machine.name} can arrive at {work.destination.type}")
    return StepOutcome(replace(call.facts, disk_mappings=disks, nic_mappings=nics))


def deploy_disks(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Make the replica's disks, or find those of the execution before. New disks begin a new series of passes."""
    work, replica = call.work, call.facts.replica
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        if replica.home is not None and not replica.disks:
            replica = _adopted(cloud, call, report)
        disks = tuple(
            cloud.ensure_disks(
                work.transfer_id, call.step.instance, work.destination_environment, call.facts.disk_mappings
            )
        )
    known = replica.point is not None or replica.partial
    lost = known and _are_new(replica.disks, disks)
    if lost:
        report.event(Level.WARNING, "the replica's disks were gone and are made anew: everything is copied again")
    if replica.partial and not lost:
        report.event(Level.INFO, "going on with what an earlier execution has copied")
    fresh = not known or lost or replica.tainted
    replica = replace(
        replica,
        disks=disks,
        point=None if lost else replica.point,
        partial=replica.partial and not lost,
        generation=work.execution_id if fresh else replica.generation,
    )
    return StepOutcome(replace(call.facts, replica=replica), {"disks": [asdict(disk) for disk in disks]})


def _adopted(cloud: DestinationProvider, call: StepCall, report: Report) -> Replica:
    """Begin the replica with a copy of the machine at home, made there; what it lacks is then found by comparing."""
    replica, home = call.facts.replica, str(call.facts.replica.home)
    mappings = call.facts.disk_mappings
    copies = tuple(cloud.adopt_machine(call.work.transfer_id, call.step.instance, home, mappings, report))
    if not copies:
        return replica
    report.event(Level.INFO, f"{len(copies)} disks begin as copies of those of {home}")
    return replace(replica, disks=copies, partial=True, generation=call.work.execution_id)


def _are_new(before: Sequence[DestinationDisk], now: Sequence[DestinationDisk]) -> bool:
    known = {disk.disk_id: disk.volume_id for disk in before}
    return any(disk.is_zero or known.get(disk.disk_id) not in {None, disk.volume_id} for disk in now)


def open_target(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Open the disks for writing, so that a destination that cannot is known before the source is touched."""
    work = call.work
    owner = writing_owner(work.transfer_id, call.step.instance)
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        cloud.open_writing(owner, call.facts.replica.disks)
    report.event(Level.INFO, "the replica's disks are open for writing")
    return StepOutcome(call.facts)


def shut_down(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Stop the source for the last increment. The down time begins before it is asked to stop."""
    work, replica = call.work, call.facts.replica
    asked_at = site.now().isoformat()
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        stopped = cloud.shut_down(call.step.instance, work.source_environment, report)
    # An attempt that was killed after the machine stopped has its successor find it off: it was us all the same.
    if stopped or call.facts.source_ran:
        replica = replace(replica, stopped_by=work.execution_id, source_stopped_at=asked_at)
    report.event(Level.INFO, "the source machine is off")
    return StepOutcome(replace(call.facts, replica=replica), {"source_stopped_at": replica.source_stopped_at})


def replicate(call: StepCall, site: Site, report: Report, attempt: int) -> StepOutcome:
    """Copy what has changed. Opening is idempotent, so every attempt opens both sides itself and goes on.

    Where this worker does not stand beside the destination, one that does is asked to receive.
    """
    work, replica, instance = call.work, call.facts.replica, call.step.instance
    generation = replica.generation or work.execution_id
    crossing = crossing_of(call, site)
    if crossing and not crossing.stage:
        crossing.ask()
    with ExitStack() as stack:
        source = stack.enter_context(site.clouds.source(work.origin, work.trust_id))
        reading = source.open_reading(
            work.transfer_id,
            instance,
            work.source_environment,
            point=work.execution_id,
            since=None if replica.tainted else replica.point,
            report=report,
        )
        if crossing and crossing.stage:
            crossing.ask(*_wanted_room(call, reading, report))
        offer = crossing.receiver(report) if crossing else None
        staging = offer.staging if offer else ""
        site.forget_state(work.transfer_id, instance, but_generations=(generation, staging or generation))
        ends = _ends(call, site, crossing, offer, stack)
        jobs = _jobs(call, site, reading, ends, staging=staging, attempt=attempt)
        reports = _copied(jobs, site, report, crossing)
    return replace(_replicated(call, reading, jobs, reports, report, staging=staging), staged=staging)


def _wanted_room(call: StepCall, reading: Reading, report: Report) -> tuple[Sequence[int], int]:
    """Return the size of each of the replica's disks, and the bytes that all of them take where they are stored."""
    there = {disk.disk_id: disk.size_bytes for disk in reading.disks}
    gone = [disk.disk_id for disk in call.facts.replica.disks if disk.disk_id not in there]
    if gone:
        raise StepFailed(
            f"disk {gone[0]} of {call.step.instance} was removed while the execution ran: execute it again"
        )
    sizes = [there[disk.disk_id] for disk in call.facts.replica.disks]
    return sizes, room_for(data_bytes([_draft(call, reading, disk) for disk in reading.disks], report), sizes)


End = Side | Channel


def _ends(
    call: StepCall, site: Site, crossing: Crossing | None, offer: ReceiverOffer | None, stack: ExitStack
) -> Mapping[str, End]:
    """Return where each disk is written to."""
    work, replica = call.work, call.facts.replica
    if crossing and offer:
        return crossing.channels(offer, [disk.disk_id for disk in replica.disks])
    destination = stack.enter_context(site.clouds.destination(work.destination, work.trust_id))
    opened = destination.open_writing(writing_owner(work.transfer_id, call.step.instance), replica.disks)
    return {disk.disk_id: side_of(disk) for disk in opened}


def _copied(jobs: Sequence[CopyJob], site: Site, report: Report, crossing: Crossing | None) -> Sequence[CopyReport]:
    settings = site.settings
    try:
        return copy_disks(
            jobs, bandwidth_limit=settings.bandwidth_limit, connections=settings.nbd_connections, report=report
        )
    except WireLost as lost:
        raise crossing.reason(lost, report) if crossing else lost from None


def _draft(call: StepCall, reading: Reading, disk: ExportedDisk) -> CopyJob:
    """Return what is known of a disk's copy before it is known where it goes."""
    replica = call.facts.replica
    return CopyJob(
        disk_id=disk.disk_id,
        source=side_of(disk),
        destination=NOWHERE,
        size_bytes=disk.size_bytes,
        reads=Reads.COMPARE if replica.tainted or replica.partial else READS[disk.changes],
        state_file=Path(),
        point=reading.point,
        dirty_context=disk.dirty_context,
    )


def _jobs(
    call: StepCall, site: Site, reading: Reading, ends: Mapping[str, End], *, staging: str, attempt: int
) -> list[CopyJob]:
    work, replica, instance = call.work, call.facts.replica, call.step.instance
    generation = replica.generation or work.execution_id
    made = {disk.disk_id: disk for disk in replica.disks}
    site.state_directory(work.transfer_id).mkdir(parents=True, exist_ok=True)
    jobs = []
    for disk in reading.disks:
        if disk.disk_id not in ends:
            raise StepFailed(
                f"disk {disk.disk_id} of {call.step.instance} was added while the execution ran: execute it again"
            )
        if staging:
            state = site.adopt_state(work.transfer_id, instance, disk.disk_id, staging, since=generation)
        else:
            state = site.state_file(work.transfer_id, instance, disk.disk_id, generation)
        end = ends[disk.disk_id]
        jobs.append(
            replace(
                _draft(call, reading, disk),
                destination=end if isinstance(end, Side) else NOWHERE,
                state_file=state,
                leg=", leg 1 of 2" if staging else "",
                # Another attempt may have written; only its journal, if it is here, knows where.
                destination_is_zero=made[disk.disk_id].is_zero and (attempt == 1 or state.exists()),
                channel=end if isinstance(end, Channel) else None,
            )
        )
    return jobs


def _replicated(
    call: StepCall,
    reading: Reading,
    jobs: Sequence[CopyJob],
    reports: Sequence[CopyReport],
    report: Report,
    *,
    staging: str,
) -> StepOutcome:
    replica = call.facts.replica
    seconds = max((each.seconds for each in reports), default=0.0)
    sent = sum(each.bytes_sent for each in reports)
    reads = {job.disk_id: job.reads.value for job in jobs}
    summary: dict[str, Any] = {
        "execution_id": call.work.execution_id,
        "point": reading.point,
        "disks": [{**asdict(each), "reads": reads[each.disk_id]} for each in reports],
        "bytes_read": sum(each.bytes_read for each in reports),
        "bytes_sent": sent,
        "seconds": seconds,
        "bytes_per_second": sent / seconds if seconds else 0.0,
        "source_stopped_at": replica.source_stopped_at,
    }
    place = "where it is staged" if staging else "at the destination"
    report.event(Level.INFO, f"{sent} bytes sent in {seconds:.1f} s; every chunk is verified {place}")
    disks = tuple(replace(disk, is_zero=False) for disk in replica.disks)
    replica = replace(replica, disks=disks, point=reading.point, tainted=False, partial=False, last_pass=summary)
    return StepOutcome(replace(call.facts, replica=replica), summary)


def close_source(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Stop reading and keep at the source only what the next increment starts from."""
    work, replica = call.work, call.facts.replica
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        cloud.close_reading(work.transfer_id, call.step.instance, keep=replica.point)
    report.event(Level.INFO, "reading is closed at the source")
    if replica.point is None and not replica.partial:
        site.forget_state(work.transfer_id, call.step.instance)
    return StepOutcome(call.facts)


def close_target(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Stop writing."""
    work = call.work
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        cloud.close_writing(writing_owner(work.transfer_id, call.step.instance))
    report.event(Level.INFO, "writing is closed at the destination")
    return StepOutcome(call.facts)


def delete_source_points(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Remove all that the transfer keeps at the source, and its hash maps."""
    work = call.work
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        cloud.close_reading(work.transfer_id, call.step.instance, keep=None)
    site.forget_state(work.transfer_id, call.step.instance)
    report.event(Level.INFO, "nothing of the transfer is left at the source")
    # Without a checkpoint and a hash map the replica's content counts for nothing.
    return StepOutcome(replace(call.facts, replica=replace(call.facts.replica, point=None, last_pass=None)))


def delete_disks(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Delete the replica's disks, also those of a `deploy_disks` that was cut short before it could name them."""
    work, facts = call.work, call.facts
    disks: Sequence[DestinationDisk] = facts.replica.disks
    with site.clouds.destination(work.destination, work.trust_id) as cloud:
        cloud.close_writing(writing_owner(work.transfer_id, call.step.instance))
        if not disks and facts.disk_mappings:
            try:
                # Making them is how they are found by name. If they cannot be made, none is left (by contract).
                disks = cloud.ensure_disks(
                    work.transfer_id, call.step.instance, work.destination_environment, facts.disk_mappings
                )
            except IsthmusError as error:
                if error.retryable:
                    raise
        cloud.delete_disks(disks)
    report.event(Level.INFO, "the replica's disks are deleted")
    kept = facts.replica
    replica = Replica(
        machine=kept.machine,
        stopped_by=kept.stopped_by,
        deployed=kept.deployed,
        source_stopped_at=kept.source_stopped_at,
        home=kept.home,
    )
    return StepOutcome(replace(facts, replica=replica))


def start_source(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Start the source that we stopped: there is no other machine to take its place."""
    work, replica = call.work, call.facts.replica
    with site.clouds.source(work.origin, work.trust_id) as cloud:
        cloud.start(call.step.instance)
    report.event(Level.INFO, f"{call.step.instance} runs again at its source")
    return StepOutcome(replace(call.facts, replica=replace(replica, stopped_by=None, source_stopped_at=None)))


def update_source(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Learn whether the machine can be replicated with the new source environment."""
    outcome = validate_source(call, site, report, 1)
    report.event(Level.INFO, "the new source environment fits")
    return outcome


def update_destination(call: StepCall, site: Site, report: Report, _: int) -> StepOutcome:
    """Learn whether the machine can arrive with the new values, and that its replica's disks can stay where they are.

    A replica does not move by itself: making its disks at another storage would leave the present ones behind.
    """
    outcome = validate_destination(call, site, report, 1)
    with site.clouds.destination(call.work.destination, call.work.trust_id) as cloud:
        backends, _default = cloud.list_storage()
    ids = {key: backend.id for backend in backends for key in (backend.id, backend.name)}
    wanted = {
        each.disk.id: ids.get(each.destination_storage, each.destination_storage)
        for each in outcome.facts.disk_mappings
    }
    for disk in call.facts.replica.disks:
        to = wanted.get(disk.disk_id)
        if to is not None and to != ids.get(disk.storage, disk.storage):
            raise StepFailed(
                f"the replica of disk {disk.disk_id} of {call.step.instance} is on storage {disk.storage!r} and cannot "
                f"move to {to!r}: keep its mapping, or delete the transfer's disks first and update it then"
            )
    report.event(Level.INFO, "the new destination environment and mappings fit")
    return StepOutcome(replace(outcome.facts, replica=call.facts.replica))


STEPS: Mapping[TaskType, StepFunction] = {
    TaskType.VALIDATE_TRANSFER_SOURCE_INPUTS: validate_source,
    TaskType.GET_INSTANCE_INFO: get_instance_info,
    TaskType.VALIDATE_TRANSFER_DESTINATION_INPUTS: validate_destination,
    TaskType.UPDATE_SOURCE_TRANSFER: update_source,
    TaskType.UPDATE_DESTINATION_TRANSFER: update_destination,
    TaskType.DEPLOY_TRANSFER_DISKS: deploy_disks,
    TaskType.DEPLOY_TRANSFER_TARGET_RESOURCES: open_target,
    TaskType.SHUTDOWN_INSTANCE: shut_down,
    TaskType.REPLICATE_DISKS: replicate,
    TaskType.DELETE_TRANSFER_SOURCE_RESOURCES: close_source,
    TaskType.DELETE_TRANSFER_TARGET_RESOURCES: close_target,
    TaskType.DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS: delete_source_points,
    TaskType.DELETE_TRANSFER_DISKS: delete_disks,
    TaskType.START_SOURCE_INSTANCE: start_source,
}
