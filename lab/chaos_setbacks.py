"""Rounds that a kill makes harder and that no retry can mend: each must end rolled back; and one that morphs a guest.

`FullStorage` copies a machine, stopped for it, into storage that has too little room. `NoSystem` deploys a machine
that holds nothing a morpher could change. In both something is killed on the way, be it in the undoing; afterwards
the source has to run again, and nothing may be left on either side. `Morphed` kills while a guest is being changed: the
guest must arrive changed, its file system whole.
"""

import json
import subprocess
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from xml.etree import ElementTree as ET

from isthmus.cli.answers import Deployment, Task
from lab import bad_guests
from lab.chaos_round import Kill, Round, Site
from lab.clouds import LibvirtCloud

SMALL_POOL = "small"
SMALL_POOL_MIB = 48
_TOO_MUCH_MIB = 2 * SMALL_POOL_MIB


def add_small_pool(cloud: LibvirtCloud) -> None:
    """Give a cloud a second pool with little room: a tmpfs in the cloud's own mount namespace, which goes with it."""
    place = cloud.directory / SMALL_POOL
    place.mkdir()
    done = cloud.run("mount", "-t", "tmpfs", "-o", f"size={SMALL_POOL_MIB}m", SMALL_POOL, str(place))
    if done.returncode:
        raise RuntimeError(f"no small pool in cloud {cloud.name}: {done.stderr}")
    with closing(cloud.connect()) as connection:
        target = f"<target><path>{place}</path></target>"
        connection.storagePoolDefineXML(f"<pool type='dir'><name>{SMALL_POOL}</name>{target}</pool>").create()


class _OddMachine(Round):
    """A migration of one of `lab.bad_guests`; `morphs` it on its way if that is asked for."""

    image = ""
    stops = True
    morphs = False

    def __init__(self, site: Site, name: str, kill: Kill) -> None:
        super().__init__(site, name, [], self.image, kill)
        self._disks = [site.east.pool_directory / f"{name}.{self.image}"]

    def _start(self) -> None:
        with closing(self._site.east.connect()) as connection:
            connection.lookupByName(self._name).create()

    def _wishes(self) -> dict[str, Any]:
        return {"skip_os_morphing": not self.morphs}

    def _cross(self) -> None:
        api = self._site.api
        self._transfer_id = self._created(
            source_environment={"shutdown_timeout": 1, "force_shutdown": True},
            destination_environment={"virt_type": "qemu", "morphing_way_in": "worker-kernel", "allow_overcommit": True},
            **self._wishes(),
        )
        begun = self._ask(lambda: api.execute(self._transfer_id, shutdown_instances=self.stops))
        run = self._watch("full", lambda: api.execution(self._transfer_id, begun.id))
        if run.status != "COMPLETED":
            return self._judge_failure("full", run.status, run.tasks)
        wanted = {"transfer_id": self._transfer_id, "clone_disks": True, "skip_os_morphing": not self.morphs}
        made = self._ask(lambda: api.deploy(wanted))
        ended = self._watch("deployment", lambda: api.deployment(made.id))
        if ended.last_execution_status != "COMPLETED":
            return self._judge_failure("deployment", ended.last_execution_status, ended.tasks)
        return self._judge_success(ended)


class _Setback(_OddMachine):
    """A migration that cannot succeed: `failing` is the step that has to fail, `reason` what it has to say."""

    failing = ""
    reason = ""

    def __init__(self, site: Site, name: str, kill: Kill) -> None:
        super().__init__(site, name, kill)
        self.verdict.must_end = "rolled back"

    def _judge_success(self, ended: Deployment) -> None:
        self._wrong(f"deployment {ended.id} is complete, though {self.failing} had to fail")

    def _judge_failure(self, phase: str, status: str, tasks: Iterable[Task]) -> None:
        known = list(tasks)
        super()._judge_failure(phase, status, known)
        failed = {task.task_type: task.exception_details or "" for task in known if task.status == "ERROR"}
        if list(failed) != [self.failing] or self.reason not in failed[self.failing]:
            self._wrong(f"{self.failing} had to fail with {self.reason!r}, and nothing else")
        unfinished = [task.task_type for task in known if task.status in {"PENDING", "RUNNING"}]
        if unfinished:
            self._wrong(f"not ended: {unfinished}")


class FullStorage(_Setback):
    """The destination's storage fills up in mid-copy, the source having been stopped for it."""

    image = "qcow2"
    failing = "REPLICATE_DISKS"
    reason = "destination is full"

    def _define(self) -> None:
        # Compressed: the room that it takes at the source does not tell beforehand that it will not fit.
        bad_guests.packed(self._site.east, self._name, _TOO_MUCH_MIB)
        self._start()

    def _wishes(self) -> dict[str, Any]:
        return {**super()._wishes(), "storage_mappings": {"default": SMALL_POOL}}

    def _left(self) -> list[str]:
        with closing(self._site.west.connect()) as connection:
            pool = connection.storagePoolLookupByName(SMALL_POOL)
            pool.refresh()
            return [*super()._left(), *(f"west: volume {SMALL_POOL}/{each}" for each in pool.listVolumes())]


class NoSystem(_Setback):
    """The machine's disk holds no operating system; it was stopped for its last pass."""

    image = "raw"
    morphs = True
    failing = "OS_MORPHING"
    reason = "no file system"

    def _define(self) -> None:
        bad_guests.talker(self._site.east, self._name)
        self._start()


class Morphed(_OddMachine):
    """A guest that a morpher can change. It is off and cannot boot: it is judged by what its disk holds."""

    image = "raw"
    stops = False
    morphs = True

    def __init__(self, site: Site, name: str, kill: Kill) -> None:
        super().__init__(site, name, kill)
        self.verdict.must_end = "completed"

    def _define(self) -> None:
        bad_guests.debian(self._site.east, self._name)

    def _judge_success(self, ended: Deployment) -> None:
        self.verdict.outcome = "completed"
        result = (ended.transfer_result or {})[self._name]
        if not (result.get("morphing") or {}).get("changes"):
            self._wrong("the guest was not changed")
        with closing(self._site.west.connect()) as connection:
            domain = connection.lookupByName(self._name)
            if not domain.isActive():
                self._wrong("the machine does not run at the destination")
        whole, rebuilt = _root_of(self._site.west, self._name)
        if whole:
            self._wrong(f"the guest's file system is damaged: {whole}")
        if not rebuilt:
            self._wrong("the guest's initramfs was not rebuilt")


def _root_of(cloud: LibvirtCloud, machine: str) -> tuple[str, str]:
    """What e2fsck objects to in the root of a deployed synthetic guest, and its record of rebuilt initramfs."""
    with closing(cloud.connect()) as connection:
        domain = ET.fromstring(connection.lookupByName(machine).XMLDesc())
    (disk,) = [each.get("file", "") for each in domain.iterfind("devices/disk/source")]
    copy = cloud.directory / f"{machine}.root"
    try:
        _run("qemu-img", "convert", "-U", "-O", "raw", disk, str(copy))
        table = json.loads(_run("sfdisk", "--json", str(copy)))["partitiontable"]
        root = f"{copy}?offset={table['partitions'][0]['start'] * table.get('sectorsize', 512)}"
        checked = subprocess.run(["e2fsck", "-fn", root], capture_output=True, text=True, check=False, timeout=60)
        return checked.stdout if checked.returncode else "", _run("debugfs", "-R", "cat var/log/update-initramfs", root)
    finally:
        copy.unlink(missing_ok=True)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
