"""A morphing's stages, one after another. Each is idempotent: a morphing that was killed begins again at the first."""

from collections.abc import Callable, Sequence

from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing import first_boot
from isthmus.migration.morphing.contract import GuestAccess, MorphRequest
from isthmus.migration.reporting import Progress, Report

Stage = Callable[[], list[str]]


def run(stages: Sequence[Stage], report: Report) -> list[str]:
    """Run the stages in their order; return their changes. Raises `Cancelled` between two of them."""
    changes: list[str] = []
    for number, stage in enumerate(stages):
        report.check()
        report.progress(Progress("morphing", number, len(stages), unit="steps"))
        changes.extend(stage())
    report.progress(Progress("morphing", len(stages), len(stages), unit="steps"))
    return changes


def run_user_scripts(guest: GuestAccess, request: MorphRequest) -> list[str]:
    """Run the scripts for a Linux guest's mounted root, and have those for its first boot run then."""
    now = [script.payload for script in request.scripts if script.phase == ScriptPhase.POST_OS_MOUNT]
    later = [script.payload for script in request.scripts if script.phase == ScriptPhase.FIRST_BOOT]
    changes = [first_boot.run_in_guest(guest, script, request.script_timeout_seconds) for script in now]
    return changes + first_boot.install(guest, later)
