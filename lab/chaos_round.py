"""One migration in which one process is killed, and the verdict on it.

The machine has two disks: the tiny guest's own, on which it keeps writing, and one with random data that takes long
enough to copy to be interrupted. It is synchronised in full, then (if that is where the kill is due) once more while
it runs, then stopped and synchronised for the last time; then it is deployed with a console probe. Its replica must
then hold the same bytes as its stopped source, as the deployed machine runs on clones.
"""

import contextlib
import re
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import libvirt_qemu

from isthmus.cli.answers import Deployment, Execution, Task
from isthmus.cli.client import MigrationApi
from isthmus.control.errors import IsthmusError, NotFound
from lab import leftovers
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.control_plane import ControlPlane
from lab.resending import Written, keep_states, needed
from lab.tiny_guest import domain_xml

MIB = 1 << 20
LIMIT_SECONDS = 600
"""For one phase: longer than it takes the engine to give a step up is needless, the machine may be slow."""
DATA_MIB = 192
"""Random bytes on the data disk, which the first pass has to send."""
CHANGED_MIB = {"increment": 96, "last": 32}
ENDED = frozenset({"COMPLETED", "ERROR", "CANCELED"})

Answer = TypeVar("Answer")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Kill:
    """Kill `part` when `task` of `phase` runs; of a copy, when `share` of it is done."""

    part: str
    phase: str
    task: str
    share: float = 0.0

    def __str__(self) -> str:
        share = f" at {self.share:.0%}" if self.task == "REPLICATE_DISKS" else ""
        return f"{self.part} in {self.phase} {self.task}{share}"


def _least(phase: str) -> int:
    """Return how many bytes a pass has to send at least."""
    return CHANGED_MIB.get(phase, DATA_MIB) * MIB


@dataclass
class Verdict:
    """How a round ended. `recovery_seconds`: from the kill until the work that it hit had ended, its rest included."""

    kill: str
    kind: str = "machine"
    killed: bool = False
    hit: list[str] = field(default_factory=list)
    outcome: str = "stuck"
    must_end: str = ""  # empty: completed or rolled back, as it comes
    problems: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    bytes_resent: int = 0
    bytes_needed: dict[str, int] = field(default_factory=dict)
    bytes_beyond: dict[str, int] = field(default_factory=dict)
    wrong_bytes: int = 0
    recovery_seconds: float | None = None
    usual_seconds: float | None = None
    seconds: float = 0.0

    @property
    def is_fine(self) -> bool:
        """Whether the round needs no looking into; one that has to fail tells its reasons as problems."""
        ended_well = self.outcome == self.must_end if self.must_end else not self.problems
        return ended_well and not self.leaked


@dataclass(frozen=True)
class Site:
    """Where rounds run: one control plane, a cloud at either end and their endpoints' ids."""

    plane: ControlPlane
    api: MigrationApi
    east: LibvirtCloud
    west: LibvirtCloud
    origin: str
    destination: str


class Round:
    """One migration of machine `name` with images of `disk_format` copied from `templates`."""

    def __init__(self, site: Site, name: str, templates: Sequence[Path], disk_format: str, kill: Kill) -> None:
        self._site = site
        self._name = name
        self._format = disk_format
        self._kill = kill
        self._templates = templates
        self._disks = [site.east.pool_directory / f"{name}-{index}.{disk_format}" for index in range(len(templates))]
        self._staging = site.plane.state_dir / "isthmus" / "staging"
        self._transfer_id = ""
        self.verdict = Verdict(str(kill))

    def run(self) -> Verdict:
        """Migrate, judge, clean up; never raises for what the migration did."""
        began = time.monotonic()
        try:
            self._define()
            self._cross()
        except (IsthmusError, TimeoutError, RuntimeError, LookupError) as error:
            self.verdict.problems.append(f"{type(error).__name__}: {error}")
        self._tidy()
        self.verdict.seconds = round(time.monotonic() - began, 1)
        return self.verdict

    def _define(self) -> None:
        for template, disk in zip(self._templates, self._disks, strict=True):
            subprocess.run(["cp", "--sparse=always", str(template), str(disk)], check=True)
        with closing(self._site.east.connect()) as connection:
            connection.storagePoolLookupByName("default").refresh()
            connection.defineXML(domain_xml(self._name, self._disks, self._format)).create()

    def _created(self, **wishes: Any) -> str:
        """Create the machine's transfer and return its id."""
        site = self._site
        wanted = {
            "origin_endpoint_id": site.origin,
            "destination_endpoint_id": site.destination,
            "instances": [self._name],
            "network_map": {"default": "default"},
            "clone_disks": True,
        }
        return self._ask(lambda: site.api.create_transfer({**wanted, **wishes})).id

    def _cross(self) -> None:
        with Console(self._site.east, self._name) as console:
            self._migrate(console)

    def _migrate(self, console: Console) -> None:
        site = self._site
        probe = {"type": "console", "marker": "GUEST-UP", "timeout_seconds": 300}
        environment = {"boot_probe": probe, "virt_type": "qemu"}
        self._transfer_id = self._created(destination_environment=environment, skip_os_morphing=True)
        for phase in ("full", *(["increment"] if self._kill.phase == "increment" else []), "last"):
            if phase == "last":
                console.wait_for("GUEST-UP", LIMIT_SECONDS)  # before that nobody listens to the power button
            run = self._pass(phase)
            if run.status != "COMPLETED":
                return self._judge_failure(phase, run.status, run.tasks)
        wanted = {"transfer_id": self._transfer_id, "clone_disks": True, "skip_os_morphing": True}
        begun = self._ask(lambda: site.api.deploy(wanted))
        ended = self._watch("deployment", lambda: site.api.deployment(begun.id))
        if ended.last_execution_status != "COMPLETED":
            return self._judge_failure("deployment", ended.last_execution_status, ended.tasks)
        return self._judge_success(ended)

    def _pass(self, phase: str) -> Execution:
        if phase in CHANGED_MIB:
            self._change(CHANGED_MIB[phase])
        api, transfer = self._site.api, self._transfer_id
        kept = self._site.east.directory / "states"
        self._staging.mkdir(exist_ok=True)
        keep_states(self._staging, kept)
        with Written(self._site.west) as written:
            begun = self._ask(lambda: api.execute(transfer, shutdown_instances=phase == "last"))
            run = self._watch(phase, lambda: api.execution(transfer, begun.id), written)
        if run.status == "COMPLETED":
            result = next(task.result or {} for task in run.tasks if task.task_type == "REPLICATE_DISKS")
            compared = any(disk["reads"] == "compare" for disk in result["disks"])
            had_to = needed(self._staging, kept, compared=compared)
            if had_to < _least(phase):
                raise RuntimeError(f"{phase} had only {had_to} bytes to send: the data disk was not changed")
            self.verdict.bytes_needed[phase] = had_to
            self.verdict.bytes_beyond[phase] = written.total - had_to
            self.verdict.bytes_resent = max(0, *self.verdict.bytes_beyond.values())
        return run

    def _change(self, mib: int) -> None:
        """Write to the data disk as the guest would, through the machine's own QEMU."""
        with closing(self._site.east.connect()) as connection:
            domain = connection.lookupByName(self._name)
            # Each phase has patterns of its own: what it writes differs from what is there.
            first = 1 + 120 * list(CHANGED_MIB.values()).index(mib)
            for start in range(0, mib, 16):
                pattern = first + zlib.crc32(f"{self._name} {mib} {start}".encode()) % 120
                write = f'qemu-io -d /machine/peripheral/virtio-disk1/virtio-backend "write -P {pattern} {start}M 16M"'
                said = libvirt_qemu.qemuMonitorCommand(domain, write, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
                if said.strip():
                    raise RuntimeError(f"the data disk of {self._name} was not written: {said}")

    def _watch(self, phase: str, look: Callable[[], Answer], written: Written | None = None) -> Answer:
        """Return the execution or deployment once it has ended; kill on the way if it is this phase's turn."""
        deadline = time.monotonic() + LIMIT_SECONDS
        waits = self._kill.phase == phase
        struck = 0.0
        while True:
            seen: Any = self._ask(look)
            if struck and self.verdict.recovery_seconds is None and self.verdict.hit and self._is_over(seen.tasks):
                self.verdict.recovery_seconds = round(time.monotonic() - struck, 1)
            if waits and self._is_time(seen.tasks, written) and self._strike(written):
                self.verdict.killed, waits, struck = True, False, time.monotonic()
                going = [task.task_type for task in seen.tasks if task.status == "RUNNING"]
                # A copy is met by the bytes that arrive; what the API told last may be older.
                self.verdict.hit = [self._kill.task] if self._kill.share else going
                self._site.plane.wait_ready()
                continue
            status = seen.last_execution_status if isinstance(seen, Deployment) else seen.status
            if status in ENDED:
                answer: Answer = seen
                return answer
            if time.monotonic() > deadline:
                going = [task.task_type for task in seen.tasks if task.status == "RUNNING"]
                raise TimeoutError(f"{phase} is {status} after {LIMIT_SECONDS} s, in {going}")
            time.sleep(0.15 if waits else 0.7)

    def _is_over(self, tasks: Iterable[Task]) -> bool:
        """Whether no step that was hit by the kill runs any more."""
        return not any(task.status == "RUNNING" and task.task_type in self.verdict.hit for task in tasks)

    def _is_time(self, tasks: Iterable[Task], written: Written | None) -> bool:
        """Whether the step runs; one that was too short to be seen, or failed so soon, counts until all has ended.

        How far a copy is, is seen at the destination: it is over too soon to be followed through the API.
        """
        begun = {task.task_type for task in tasks if task.status in {"RUNNING", "COMPLETED", "ERROR"}}
        if self._kill.task != "REPLICATE_DISKS" or written is None:
            return self._kill.task in begun
        deadline = time.monotonic() + 1
        while not begun.isdisjoint({"DEPLOY_TRANSFER_TARGET_RESOURCES", "REPLICATE_DISKS"}):
            if written.total >= self._kill.share * _least(self._kill.phase):
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return False

    def _strike(self, written: Written | None) -> bool:
        if self._kill.part == "nbd-server":
            return written is not None and written.kill() > 0
        self._site.plane.kill(self._kill.part)
        return True

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Ask the API until it answers: it may be the one that was killed."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            try:
                return question()
            except IsthmusError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise
            time.sleep(0.3)

    # -- the verdict -------------------------------------------------------------------------------------------------

    def _judge_success(self, ended: Deployment) -> None:
        self.verdict.outcome = "completed"
        result = (ended.transfer_result or {})[self._name]
        tail = "\n".join((result.get("probe") or {}).get("console_tail") or ())
        found = re.search(r"RECORDS ok=([1-9]\d*) last=\d+ bad=(\d+)", tail)
        if not found or int(found[2]):
            self._wrong(f"the records at the destination are not whole: {found and found[0]}")
        with closing(self._site.west.connect()) as connection:
            if not connection.lookupByName(self._name).isActive():
                self._wrong("the machine does not run at the destination")
        replicas = sorted(self._site.west.pool_directory.glob(f"isthmus-{self._transfer_id}-*.qcow2"))
        if len(replicas) != len(self._disks):
            self._wrong(f"the replica has {len(replicas)} disks instead of {len(self._disks)}")
        for source, replica in zip(self._disks, replicas, strict=False):
            formats = ["-f", self._format, "-F", "qcow2"]
            done = subprocess.run(
                ["qemu-img", "compare", "-U", *formats, str(source), str(replica)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                self.verdict.wrong_bytes += 1
                self._wrong(f"{source.name} differs: {done.stdout.strip()} {done.stderr.strip()}")

    def _judge_failure(self, phase: str, status: str, tasks: Iterable[Task]) -> None:
        """A clean way back: the source runs, and nothing works at the destination any more."""
        self.verdict.outcome = "rolled back"
        reasons = [task.exception_details for task in tasks if task.exception_details]
        self.verdict.problems.append(f"{phase} {status}: {'; '.join(reasons)}")
        with closing(self._site.east.connect()) as connection:
            if not connection.lookupByName(self._name).isActive():
                self._wrong("the source does not run")
        with closing(self._site.west.connect()) as connection:
            running = [domain.name() for domain in connection.listAllDomains()]
        if running:
            self._wrong(f"left at the destination: {running}")

    def _wrong(self, what: str) -> None:
        self.verdict.outcome = "stuck"
        self.verdict.problems.append(what)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Delete all through the API, then look for what should not be there."""
        site = self._site
        with contextlib.suppress(TimeoutError):
            site.plane.wait_ready()
        try:
            self._delete()
        except (IsthmusError, TimeoutError) as error:
            self._wrong(f"not deleted: {error}")
        leftovers.remove_machine(site.west, self._name)
        deadline = time.monotonic() + 60
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.5)
        self.verdict.leaked = left
        leftovers.remove_machine(site.east, self._name)
        self.verdict.leaked += [*leftovers.in_cloud(site.east)]
        for cloud in (site.east, site.west):
            leftovers.sweep(cloud)

    def _left(self) -> list[str]:
        """What is left while the source machine still stands: its own files do not count."""
        own = {f"{self._site.east.name}: file {disk.name}" for disk in self._disks}
        found = [*leftovers.in_cloud(self._site.east), *leftovers.in_cloud(self._site.west)]
        found += leftovers.on_worker(self._site.plane.state_dir)
        if self._format == "qcow2":
            with contextlib.suppress(FileNotFoundError):
                found += [line for disk in self._disks for line in leftovers.bitmaps(disk)]
        return [line for line in found if line not in own]

    def _delete(self) -> None:
        api = self._site.api
        if not self._transfer_id:
            return
        for deployment in self._ask(api.deployments):
            if deployment.transfer_id == self._transfer_id:
                self._ask(partial(api.delete_deployment, deployment.id))
        begun = self._ask(lambda: api.delete_disks(self._transfer_id))
        run = self._watch("delete", lambda: api.execution(self._transfer_id, begun.id))
        if run.status != "COMPLETED":
            self._wrong(f"the disks were not deleted: {[task.exception_details for task in run.tasks]}")
        with contextlib.suppress(NotFound):  # a repeated call may have done it
            self._ask(lambda: api.delete_transfer(self._transfer_id))
