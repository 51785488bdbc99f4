"""Morph one machine's disks: open them, find the guest, change it, close them."""

import platform
import time

from stevedore import ExtensionManager

from isthmus.control.errors import NotSupported
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing.appliance import ApplianceDisks
from isthmus.migration.morphing.contract import (
    GuestDisks,
    GuestOS,
    Morpher,
    MorphReport,
    MorphRequest,
    WayIn,
)
from isthmus.migration.morphing.first_boot import must_succeed
from isthmus.migration.morphing.mounting import WAY_ON, mount_guest
from isthmus.migration.morphing.support import MORPHERS
from isthmus.migration.morphing.worker_kernel import WorkerKernelDisks
from isthmus.migration.reporting import Level, Report


def morph(request: MorphRequest, report: Report) -> MorphReport:
    """Change the guest so that it boots on `request.target`; blocks for seconds to minutes.

    Running it again, after a success or a kill at any point, ends in the same state.
    Raises `NotSupported` (naming skip_os_morphing) for a guest that no morpher knows, `StepFailed` for a guest that
    cannot be changed, `Unavailable` if a disk's NBD server does not answer, `Cancelled` if `report` says so.
    """
    begun = time.monotonic()
    with open_disks(request, report) as disks:
        changes = _run_before_mount(disks, request)
        mount_guest(disks)
        morpher, guest_os = find_morpher(disks)
        _see_architecture(guest_os, request.way_in)
        report.event(Level.INFO, f"the guest is {guest_os.product_name}")
        changes.extend(morpher.morph(disks, request, report))
    return MorphReport(guest_os, tuple(changes), round(time.monotonic() - begun, 3))


def open_disks(request: MorphRequest, report: Report) -> GuestDisks:
    """Return the disks by the request's way in, not yet opened."""
    if request.way_in == WayIn.APPLIANCE:
        return ApplianceDisks(request.disk_uris, report, request.luks_keys)
    return WorkerKernelDisks(request.disk_uris, report)


def find_morpher(disks: GuestDisks) -> tuple[Morpher, GuestOS]:
    """Return the first morpher that knows the guest. Raises `NotSupported` if none does."""
    for extension in ExtensionManager(MORPHERS):
        guest_os = extension.plugin.detect(disks)
        if guest_os:
            return extension.plugin(), guest_os
    release = (disks.read("/etc/os-release") or "").partition('PRETTY_NAME="')[2].partition('"')[0]
    raise NotSupported(f"the guest's operating system ({release or 'unknown'}) has no morpher: {WAY_ON}")


def _run_before_mount(disks: GuestDisks, request: MorphRequest) -> list[str]:
    changes = []
    for script in request.scripts:
        if script.phase == ScriptPhase.PRE_OS_MOUNT:
            result = disks.run_before_mount(script.payload, timeout_seconds=request.script_timeout_seconds)
            must_succeed(result, "the user script before mounting", request.script_timeout_seconds)
            changes.append("user script: ran before mounting")
    return changes


def _see_architecture(guest_os: GuestOS, way_in: WayIn) -> None:
    """The guest's programs run on the worker's processor, in the appliance as well."""
    if guest_os.architecture and guest_os.architecture not in (platform.machine(), "i686"):
        raise NotSupported(
            f"the guest is {guest_os.architecture} and this worker is {platform.machine()} ({way_in}): "
            f"run a worker of the guest's architecture, or {WAY_ON}"
        )
