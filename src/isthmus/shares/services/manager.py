"""`isthmus share-manager`: carries out what the API accepted, for one or several back ends.

Any number of managers may serve a back end: jobs are leased, and what is recorded is guarded.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil
from oslo_config.cfg import ConfigOpts
from oslo_log import log as oslo_log
from sqlalchemy.exc import SQLAlchemyError

from isthmus.control import metrics
from isthmus.control.database import Database, utc_now
from isthmus.control.errors import InvalidInput
from isthmus.control.readiness import say_ready
from isthmus.shares.configuration import backend_options
from isthmus.shares.drivers.registry import driver_class
from isthmus.shares.services import sweeping
from isthmus.shares.services.backends import bring_up
from isthmus.shares.services.running import Runner
from isthmus.shares.services.work import Work
from isthmus.shares.store import jobs, reports
from isthmus.shares.store.private_data import PrivateDataTable

log = logging.getLogger(__name__)


def run(conf: ConfigOpts, only: Sequence[str] = ()) -> None:
    """Serve the enabled back ends, or `only` those named, until SIGTERM or SIGINT."""
    oslo_log.setup(conf, "isthmus")
    metrics.listen(conf)
    names = _chosen(conf, only)
    # Beside jobs: two for what each back end reports, and those for leases, heartbeats, sweeps and the queue.
    connections = conf.shares.job_threads + 2 * len(names) + 4
    database = Database(conf.database.connection, connections=connections)
    machine = conf.shares.host or socket.gethostname()
    works = {name: _work(conf, database, machine, name) for name in names}
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    _register(conf, database, list(works.values()), machine, stopping)
    _serve(conf, works, machine, stopping)
    for work in works.values():
        work.driver.close()
    database.close()


def _chosen(conf: ConfigOpts, only: Sequence[str]) -> list[str]:
    enabled = list(conf.shares.enabled_backends)
    unknown = [name for name in only if name not in enabled]
    if unknown:
        raise InvalidInput(
            f"back end {unknown[0]} is not among [shares] enabled_backends ({', '.join(enabled) or 'none'}); add it"
        )
    if not enabled:
        raise InvalidInput("[shares] enabled_backends names no back end; add one, and a section of its name")
    return list(only) or enabled


def _work(conf: ConfigOpts, database: Database, machine: str, name: str) -> Work:
    options = backend_options(conf, name)
    driver = driver_class(options["driver"])(name, options)
    driver.keep_private_data_in(PrivateDataTable(database))
    return Work(conf, database, driver, f"{machine}@{name}", utc_now)


def _register(
    conf: ConfigOpts, database: Database, works: Sequence[Work], machine: str, stopping: threading.Event
) -> None:
    """Make the back ends known and free what a dead manager beside this one held; waits for the database."""
    while not stopping.is_set():
        try:
            with database.transaction() as session:
                for work in works:
                    zone = conf.shares.storage_availability_zone
                    reports.register(session, backend=work.backend, zone=zone, now=utc_now())
                for owner in jobs.owners(session):
                    if _is_dead(owner, machine):
                        jobs.release(session, owner)
        except SQLAlchemyError as error:
            log.warning("the database does not answer, waiting: %s", type(error).__name__)
            stopping.wait(1.0)
        else:
            return


def _serve(conf: ConfigOpts, works: dict[str, Work], machine: str, stopping: threading.Event) -> None:
    meter = metrics.Work("share_jobs", "Share jobs")
    runner = Runner({}, owner_of(machine), meter, threads=conf.shares.job_threads, lease_seconds=conf.shares.job_lease)
    threads = [
        threading.Thread(target=bring_up, args=(work, name, stopping, runner.add), name=f"backend-{name}", daemon=True)
        for name, work in works.items()
    ]
    threads.append(threading.Thread(target=_beat, args=(conf, list(works.values()), stopping), name="beat"))
    threads.append(
        threading.Thread(target=sweeping.run, args=(next(iter(works.values())), stopping), name="sweep", daemon=True)
    )
    threads.append(threading.Thread(target=_stop_with, args=(runner, stopping), name="stop"))
    for thread in threads:
        thread.start()
    say_ready()
    runner.run(conf.shares.job_poll_interval)
    for thread in threads:
        if not thread.daemon:
            thread.join()


def _stop_with(runner: Runner, stopping: threading.Event) -> None:
    stopping.wait()
    runner.stop()


def _beat(conf: ConfigOpts, works: Sequence[Work], stopping: threading.Event) -> None:
    backends = [work.backend for work in works]
    while not stopping.wait(conf.shares.heartbeat_interval):
        try:
            with works[0].database.transaction() as session:
                reports.beat(session, backends, works[0].now())
        except SQLAlchemyError as error:
            log.warning("no heartbeat could be written: %s", type(error).__name__)


def owner_of(machine: str) -> str:
    """Return this process's name in leases: machine, where its process ids count, its id and when it began."""
    return f"{machine}/{_process_ids()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def _is_dead(owner: str, machine: str) -> bool:
    """Say whether a lease's holder was a process beside this one that is no more.

    Several machines and containers may go by one `[shares] host`: of a process elsewhere nothing is known here, and
    its lease lapses by itself.
    """
    beside, _, began = owner.rpartition("/")
    where, _, process = beside.rpartition("/")
    if where != f"{machine}/{_process_ids()}":
        return False
    try:
        return f"{psutil.Process(int(process)).create_time():.2f}" != began
    except (psutil.NoSuchProcess, ValueError):
        return True


def _process_ids() -> str:
    """Return what all processes have in common that know each other's ids: the machine's boot and the namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
