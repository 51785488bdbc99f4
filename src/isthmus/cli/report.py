"""The report at the end of a migration, built from the API's answers alone.

The shapes of a REPLICATE_DISKS task's `result` and of a deployment's `transfer_result` are described in
`isthmus.migration.store.recording`. All sizes are bytes, all times seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.cli.answers import Deployment, Execution, Task
from isthmus.cli.sequence import passes, stops_machine
from isthmus.cli.watching import COMPLETED

COPY = "REPLICATE_DISKS"
KIB = 1024


@dataclass(frozen=True)
class Pass:
    """One completed copy. `kind` is "full" (everything allocated was read) or "increment"; `stopped`: the last one."""

    execution_id: str
    kind: str
    stopped: bool
    bytes_read: int
    bytes_sent: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """The rate at which data was sent; 0 if there was nothing to send."""
        return self.bytes_sent / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class MigrationReport:
    """What a migration did. None stands for what nobody measured (no probe, no morphing)."""

    transfer_id: str
    deployment_id: str
    instance: str
    machine: str
    passes: tuple[Pass, ...]
    bytes_full: int
    bytes_increment: int
    bytes_verified: int
    bytes_per_second: float
    downtime_seconds: float | None
    guest_os: str | None
    morphing_changes: tuple[str, ...]
    morphing_seconds: float | None
    boot_seconds: float | None
    probe: str | None
    console_tail: tuple[str, ...]


def build(executions: Sequence[Execution], deployment: Deployment) -> MigrationReport:
    """Return the report of a completed deployment of one machine, from all its transfer's executions."""
    instance = deployment.instances[0] if deployment.instances else ""
    result = (deployment.transfer_result or {}).get(instance) or {}
    copies = [(item, task) for item in passes(executions) if item.status == COMPLETED for task in _copies(item)]
    done = tuple(_pass(execution, task) for execution, task in copies)
    sent, seconds = sum(each.bytes_sent for each in done), sum(each.seconds for each in done)
    morphing, probe = result.get("morphing") or {}, result.get("probe") or {}
    return MigrationReport(
        transfer_id=deployment.transfer_id,
        deployment_id=deployment.id,
        instance=instance,
        machine=str((result.get("machine") or {}).get("name") or instance),
        passes=done,
        bytes_full=sum(each.bytes_sent for each in done if each.kind == "full"),
        bytes_increment=sum(each.bytes_sent for each in done if each.kind == "increment"),
        bytes_verified=sum(int(disk.get("bytes_verified", 0)) for _, task in copies for disk in _disks(task)),
        bytes_per_second=sent / seconds if seconds else 0.0,
        downtime_seconds=result.get("downtime_seconds"),
        guest_os=(morphing.get("os") or {}).get("product_name"),
        morphing_changes=tuple(morphing.get("changes") or ()),
        morphing_seconds=morphing.get("seconds"),
        boot_seconds=probe.get("seconds"),
        probe=probe.get("saw"),
        console_tail=tuple(probe.get("console_tail") or ()),
    )


def _copies(execution: Execution) -> list[Task]:
    return [task for task in execution.tasks if task.task_type == COPY and task.result]


def _disks(task: Task) -> Sequence[Mapping[str, Any]]:
    disks: Sequence[Mapping[str, Any]] = (task.result or {}).get("disks") or ()
    return disks


def _pass(execution: Execution, task: Task) -> Pass:
    result = task.result or {}
    full = all(disk.get("reads") == "allocation" for disk in _disks(task))
    return Pass(
        execution_id=execution.id,
        kind="full" if full else "increment",
        stopped=stops_machine(execution),
        bytes_read=int(result.get("bytes_read", 0)),
        bytes_sent=int(result.get("bytes_sent", 0)),
        seconds=float(result.get("seconds", 0.0)),
    )


def lines(report: MigrationReport) -> dict[str, str]:
    """Return the report as people read it."""
    changes = [f"- {change}" for change in report.morphing_changes] or ["nothing"]
    return {
        "machine": report.machine,
        "transfer": report.transfer_id,
        "deployment": report.deployment_id,
        "bytes moved": f"{size(report.bytes_full)} in full, {size(report.bytes_increment)} as increments, "
        f"{size(report.bytes_verified)} verified at the destination",
        "passes": "\n".join(_pass_line(number, each) for number, each in enumerate(report.passes, start=1)),
        "rate": f"{size(report.bytes_per_second)}/s",
        "down time": _seconds(report.downtime_seconds),
        "guest": report.guest_os or "not inspected",
        "morphing changed": "\n".join(changes),
        "probe saw": report.probe or "no probe was asked for",
        "boot": _seconds(report.boot_seconds),
    }


def _pass_line(number: int, each: Pass) -> str:
    state = "stopped" if each.stopped else "running"
    rate = f"{size(each.bytes_per_second)}/s"
    return f"{number}. {each.kind}, machine {state}: {size(each.bytes_sent)} in {each.seconds:.1f} s ({rate})"


def _seconds(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds:.1f} s"


def size(count: float) -> str:
    """Return a number of bytes for people, in binary units."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} TiB"
