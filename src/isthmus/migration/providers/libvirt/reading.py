"""A consistent point in time of a machine's disks, exported by QEMU through libvirt's pull-mode backup job.

One job covers all disks, so they are of one moment. qcow2 disks get a checkpoint with it, from which the next pass
counts changes. The guest of a stopped machine never runs (`waking`).
"""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt

from isthmus.control.errors import Conflict, IsthmusError, StepFailed, Unavailable
from isthmus.migration.providers.contract import ChangeSource, ExportedDisk, Reading
from isthmus.migration.providers.libvirt import backup, checkpoints, endpoints, names, waking
from isthmus.migration.providers.libvirt.backup import DiskPlan, Identity, OpenJob
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.endpoints import Endpoint
from isthmus.migration.providers.libvirt.faults import is_gone, is_unreachable, translate, translated
from isthmus.migration.providers.libvirt.inventory import DomainDisk, domain_disks, domain_tree, find_domain
from isthmus.migration.reporting import Level, Report

JOB_END_SECONDS = 60


@dataclass(frozen=True)
class Wanted:
    """What the caller of `open_reading` asked for."""

    transfer_id: str
    point: str
    since: str | None


def open_reading(hypervisor: Hypervisor, instance: str, wanted: Wanted, report: Report) -> Reading:
    """Open the reading, or return the one of the same point that is still open (see the contract)."""
    domain = find_domain(hypervisor, instance)
    with translated(f"machine {instance}"):
        waking.wake(domain, wanted.transfer_id)
        disks = domain_disks(hypervisor, domain_tree(domain))
        if not disks:
            raise StepFailed(f"machine {instance} has no disk to read; leave it out of the transfer")
        job = OpenJob.of(domain)
        if job is not None:
            again = _same_reading(hypervisor, job, wanted, domain)
            if again is not None:
                return again
            _refuse_foreign(domain, job, wanted.transfer_id)
            _end_job(domain)
        return _begin(hypervisor, domain, disks, wanted, report)


def close_reading(hypervisor: Hypervisor, instance: str, transfer_id: str, keep: str | None) -> None:
    """End the job, delete the transfer's checkpoints but `keep`, and put a woken machine back (see the contract)."""
    try:
        domain = find_domain(hypervisor, instance)
    except IsthmusError as error:
        if error.code == "not-found":
            return
        raise
    with translated(f"machine {instance}"):
        job = OpenJob.of(domain) if domain.isActive() else None
        if job is not None and job.transfer == names.short(transfer_id):
            _end_job(domain)
        kept = names.checkpoint(transfer_id, keep) if keep is not None else None
        unwanted = [name for name in checkpoints.of_transfer(domain, transfer_id) if name != kept]
        if unwanted:
            waking.wake(domain, transfer_id)  # bitmaps can be removed only by a QEMU that has the images open
        for name in unwanted:
            checkpoints.delete(domain, name)
        if waking.woken_by(domain) in (transfer_id, None):
            waking.put_back(domain)
    endpoints.forget_socket(hypervisor, _purpose(transfer_id, domain))


def _purpose(transfer_id: str, domain: Any) -> str:
    return f"reading {transfer_id} {domain.UUIDString()}"


def _same_reading(hypervisor: Hypervisor, job: OpenJob, wanted: Wanted, domain: Any) -> Reading | None:
    """Return the open job as a reading if it was begun for the wanted point."""
    if (job.transfer, job.point) != (names.short(wanted.transfer_id), names.short(wanted.point)):
        return None
    identity = Identity(wanted.transfer_id, wanted.point, "" if job.suffix == "0" else job.suffix)
    purpose = _purpose(wanted.transfer_id, domain)
    if endpoints.is_unix(hypervisor):
        endpoint = Endpoint(socket=str(endpoints.socket_path(hypervisor, purpose)))
    else:
        endpoint = endpoints.at_port(hypervisor, job.port)
    incremental = {name: name in job.incremental for name in job.disks}
    return _reading(domain, identity, wanted.since, incremental, endpoint)


def _refuse_foreign(domain: Any, job: OpenJob, transfer_id: str) -> None:
    if job.transfer == names.short(transfer_id):
        return
    whose = "another transfer" if job.transfer else "a backup program"
    raise Conflict(
        f"machine {domain.name()} has a backup job of {whose} on disks {', '.join(job.disks)}; "
        "libvirt allows one at a time: try again when that one has ended"
    )


def _end_job(domain: Any) -> None:
    """Abort the backup job and wait until libvirt has let go of it (its scratch files go with it)."""
    domain.abortJob()
    deadline = time.monotonic() + JOB_END_SECONDS
    while OpenJob.of(domain) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"the backup job of machine {domain.name()} does not end; it will be tried again")
        time.sleep(0.05)


def _begin(hypervisor: Hypervisor, domain: Any, disks: Sequence[DomainDisk], wanted: Wanted, report: Report) -> Reading:
    """Begin a job with as much tracking of changes as the hypervisor grants, and say what it does not."""
    tracked = [disk for disk in disks if disk.can_track_changes]
    since = names.checkpoint(wanted.transfer_id, wanted.since) if wanted.since is not None else None
    followed = checkpoints.disks_in(domain, since) if since is not None else frozenset()
    if since is not None and tracked and not followed:
        _tell_lost(domain, wanted, "its checkpoint is gone", report)
    suffix = secrets.token_hex(4) if not tracked or _forget_lost(domain, wanted) else ""
    identity = Identity(wanted.transfer_id, wanted.point, suffix)
    if followed:
        plans = [DiskPlan(disk, disk in tracked, since if disk.target in followed else None) for disk in disks]
        try:
            return _start(hypervisor, domain, identity, plans, wanted.since)
        except libvirt.libvirtError as error:
            _raise_unless_refused(error, domain)
            _tell_lost(domain, wanted, error.get_error_message(), report)
            for name in checkpoints.of_transfer(domain, wanted.transfer_id):
                checkpoints.delete(domain, name)
    if tracked:
        plans = [DiskPlan(disk, disk in tracked, None) for disk in disks]
        try:
            return _start(hypervisor, domain, identity, plans, wanted.since)
        except libvirt.libvirtError as error:
            _raise_unless_refused(error, domain)
            report.event(
                Level.WARNING,
                f"machine {domain.name()} can have no checkpoint now ({error.get_error_message()}); "
                "the next pass will compare all that its disks hold",
            )
    identity = Identity(wanted.transfer_id, wanted.point, secrets.token_hex(4))
    return _start(hypervisor, domain, identity, [DiskPlan(disk, False, None) for disk in disks], wanted.since)


def _raise_unless_refused(error: libvirt.libvirtError, domain: Any) -> None:
    """Raise what beginning otherwise could not mend; return for a refusal of this way to begin."""
    if is_unreachable(error) or is_gone(error):
        raise translate(error, f"machine {domain.name()}") from error


def _tell_lost(domain: Any, wanted: Wanted, why: str, report: Report) -> None:
    report.event(
        Level.WARNING,
        f"machine {domain.name()} no longer knows what changed since {wanted.since} ({why}); "
        "this pass compares all that its disks hold",
    )


def _forget_lost(domain: Any, wanted: Wanted) -> bool:
    """Delete the checkpoints of earlier, lost readings under the wanted point; return whether there were any.

    A checkpoint without its job means that the reading was lost: what was read under it is of another moment.
    """
    plain = re.escape(names.checkpoint(wanted.transfer_id, wanted.point))
    lost = [
        name
        for name in checkpoints.of_transfer(domain, wanted.transfer_id)
        if re.fullmatch(plain + "(-[0-9a-f]{8})?", name)
    ]
    for name in lost:
        checkpoints.delete(domain, name)
    return bool(lost)


def _start(
    hypervisor: Hypervisor, domain: Any, identity: Identity, plans: Sequence[DiskPlan], since: str | None
) -> Reading:
    """Begin the job at the first place where QEMU can listen."""
    checkpoint = backup.checkpoint_xml(names.checkpoint(identity.transfer_id, identity.full_point), plans)
    scratch = hypervisor.nbd.get("scratch_directory")
    for endpoint in endpoints.candidates(hypervisor, _purpose(identity.transfer_id, domain)):
        try:
            domain.backupBegin(backup.job_xml(identity, plans, endpoint, scratch), checkpoint)
        except libvirt.libvirtError as error:
            if endpoint.socket is None and "Address already in use" in str(error):
                continue
            raise
        incremental = {plan.disk.target: plan.since is not None for plan in plans}
        return _reading(domain, identity, since, incremental, endpoint)
    raise Unavailable(f"all NBD ports of {hypervisor.label} are taken; widen the endpoint's range")


def _reading(
    domain: Any, identity: Identity, since: str | None, incremental: Mapping[str, bool], endpoint: Endpoint
) -> Reading:
    exported = []
    for disk_id, is_incremental in incremental.items():
        changes = backup.change_source(incremental=is_incremental, since=since)
        dirty = f"qemu:dirty-bitmap:{backup.BITMAP}" if changes is ChangeSource.DIRTY_BITMAP else None
        size = domain.blockInfo(disk_id)[0]
        uri = endpoint.uri(identity.export_name(disk_id))
        exported.append(ExportedDisk(disk_id, uri, size, changes, dirty, endpoint.certificates))
    return Reading(identity.full_point, tuple(exported))
