"""The control plane as a whole: started in the foreground or detached, and stopped."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from isthmus.control.errors import Conflict, InvalidInput, StepFailed
from isthmus.embedded import (
    access,
    barbican,
    credentials,
    keystone,
    mariadb,
    network,
    neutron,
    ports,
    processes,
    services,
    share_servers,
    shares,
    temporal,
)
from isthmus.embedded.layout import Layout, make_directories
from isthmus.embedded.part import Part, Site
from isthmus.embedded.requirements import check_installed
from isthmus.embedded.supervisor import Announce, Supervisor, read_reports
from isthmus.embedded.watch import State, last_lines

PART_NAMES: tuple[str, ...] = (
    "mariadb",
    "keystone",
    "barbican",
    "temporal",
    "api",
    "conductor",
    "worker",
    *shares.PART_NAMES,
)
EVERY_PART_NAME = (*PART_NAMES, *network.PART_NAMES)
LEFTOVERS_LIMIT = 30.0
READY_LIMIT = 300.0
STOP_LIMIT = 180.0
_POLL_SECONDS = 0.05


class Lock:
    """Held by whoever runs the control plane of a state directory; the kernel lets go of it when that process dies."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write_pid(self) -> None:
        """Say in the file who holds the lock."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of this process's hold (another that inherited it keeps its own)."""
        os.close(self.descriptor)


def take_lock(layout: Layout) -> Lock:
    """Take the state directory for this process. Raises Conflict naming the holder."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"a control plane already runs on {layout.state_dir} (supervisor pid {holder}): "
            "see `isthmus status`, stop it with `isthmus down`, or choose another --state-dir"
        ) from error
    lock = Lock(descriptor)
    lock.write_pid()
    return lock


def supervisor_pid(layout: Layout) -> int | None:
    """Return the pid of the supervisor that holds the lock, None if nobody does."""
    if not layout.lock.exists():
        return None
    descriptor = os.open(layout.lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode().strip()
        return int(holder) if holder else None
    else:
        return None
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Wishes:
    """What one start is asked for; None keeps the last start's. `ports` are by name.

    `shares_config` is an operator's file with share back ends; `networks` says whether this machine has networks,
    `nfs3` whether it serves shares by NFS 3, too.
    """

    ports: Mapping[str, int | None] = field(default_factory=dict)
    shares_config: Path | None = None
    networks: bool | None = None
    nfs3: bool | None = None


def make_ready(layout: Layout, wishes: Wishes) -> Site:
    """Clear what a killed supervisor left, check what can be and write all configuration. The lock must be held.

    Raises Conflict naming a taken port and its owner, NotSupported naming what is not installed.
    """
    check_installed()
    processes.end_leftovers(layout.state_dir, LEFTOVERS_LIMIT)
    layout.parts.unlink(missing_ok=True)
    network.CHOICE.choose(layout, wanted=wishes.networks)
    with_networks = network.CHOICE.is_chosen(layout)
    if with_networks:
        network.check(layout)
    chosen = ports.choose(layout, **wishes.ports)
    ports.check_free(chosen, () if with_networks else (neutron.PART,))
    ports.remember(layout, chosen)
    shares.choose(layout, wishes.shares_config, nfs3_wanted=wishes.nfs3)
    shares.check_installed(layout, chosen.nfs)
    site = Site(layout, chosen, credentials.load_or_make(layout))
    for room in (mariadb, keystone, barbican, services, shares, *([network] if with_networks else [])):
        room.configure(site)
    access.write_clouds(site)
    return site


def all_parts(site: Site) -> list[Part]:
    """Return all parts, in the order people read them."""
    return [
        mariadb.part(site),
        keystone.part(site, network.directory(site)),
        barbican.part(site),
        temporal.part(site),
        *services.parts(site),
        *shares.parts(site),
        *(network.parts(site) if network.CHOICE.is_chosen(site.layout) else ()),
    ]


def choose_parts(site: Site, only: tuple[str, ...]) -> list[Part]:
    """Return the parts to run: all, or `only` those named and what they depend on. Raises InvalidInput."""
    by_name = {part.name: part for part in all_parts(site)}
    unknown = set(only) - set(by_name)
    if unknown:
        raise InvalidInput(f"there is no part {', '.join(sorted(unknown))}: the parts are {', '.join(by_name)}")
    chosen: set[str] = set()
    pending = list(only or by_name)
    while pending:
        name = pending.pop()
        if name not in chosen:
            chosen.add(name)
            pending += by_name[name].depends_on
    return [part for name, part in by_name.items() if name in chosen]


def run(layout: Layout, wishes: Wishes, only: tuple[str, ...], announce: Announce) -> None:
    """Run the control plane in this process until a signal ends it."""
    make_directories(layout)
    lock = take_lock(layout)
    try:
        site = make_ready(layout, wishes)
        supervise(site, only, announce)
    finally:
        lock.release()


def supervise(site: Site, only: tuple[str, ...], announce: Announce) -> None:
    """Keep the parts alive until a signal ends it, then end them and take away what they leave in the kernel.

    The switch's interfaces are in this process's network namespace, where whoever says `isthmus down` need not be.
    """
    try:
        Supervisor(site.layout, choose_parts(site, only), announce).run()
    finally:
        network.release(site.layout)


def start_detached(layout: Layout, wishes: Wishes, only: tuple[str, ...], announce: Announce) -> None:
    """Start the control plane in a process of its own and return when every part is ready.

    Raises Conflict as `run` does, StepFailed naming the part that does not start.
    """
    make_directories(layout)
    lock = take_lock(layout)
    try:
        choose_parts(make_ready(layout, wishes), only)
        processes.rotate(layout.log("supervisor"))
        with layout.log("supervisor").open("ab") as log:
            # The lock goes over to the new process, so that nobody can come in between.
            child = subprocess.Popen(
                [sys.executable, "-m", "isthmus.embedded.detached", str(layout.state_dir), str(lock.descriptor), *only],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=[lock.descriptor],
            )
    finally:
        lock.release()
    _wait_ready(layout, child, announce)


def _wait_ready(layout: Layout, child: subprocess.Popen[bytes], announce: Announce) -> None:
    deadline = time.monotonic() + READY_LIMIT
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise StepFailed(f"the supervisor ended at once:\n{last_lines(layout, 'supervisor')}")
        reports = read_reports(layout)
        announce(reports)
        for report in reports:
            if report.state is State.FAILED:
                how = report.message.partition(";")[0]
                raise StepFailed(
                    f"{report.name} {how}: see `isthmus logs {report.name}`; it is tried again until `isthmus down`"
                )
        if reports and all(report.state is State.RUNNING for report in reports):
            return
        time.sleep(_POLL_SECONDS)
    raise StepFailed(
        f"not every part was ready within {READY_LIMIT:.0f} s: see `isthmus status` and `isthmus logs PART`"
    )


def stop(layout: Layout, announce: Announce) -> bool:
    """Stop the control plane, wherever it runs, and whatever a killed supervisor left; say whether anything ran."""
    if not layout.run.exists():
        return False
    pid = supervisor_pid(layout)
    if pid is not None:
        _end_supervisor(layout, pid, announce)
    ended = processes.end_leftovers(layout.state_dir, LEFTOVERS_LIMIT)
    share_servers.release(layout)
    network.release(layout)
    return ended > 0 or pid is not None


def _end_supervisor(layout: Layout, pid: int, announce: Announce) -> None:
    with suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(pid)
        supervisor.terminate()
        if not _wait(lambda: supervisor_pid(layout) is None, lambda: announce(read_reports(layout))):
            supervisor.kill()
            supervisor.wait()


def _wait(done: Callable[[], bool], meanwhile: Callable[[], None]) -> bool:
    deadline = time.monotonic() + STOP_LIMIT
    while not done():
        if time.monotonic() > deadline:
            return False
        meanwhile()
        time.sleep(_POLL_SECONDS)
    return True
