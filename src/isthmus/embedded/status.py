"""What runs now, as seen from outside: what the supervisor published, checked against the processes themselves."""

from dataclasses import dataclass

import psutil

from isthmus.embedded import plane, processes
from isthmus.embedded.layout import Layout
from isthmus.embedded.supervisor import read_reports
from isthmus.embedded.watch import State


@dataclass(frozen=True)
class PartStatus:
    """One part. `memory` is the PSS in bytes of its processes: each shared page counts by its share."""

    name: str
    state: State
    pid: int | None
    address: str
    memory: int | None
    restarts: int


def of_parts(layout: Layout) -> list[PartStatus]:
    """Return the parts of the last start, in order; without a living supervisor each is stopped or left behind."""
    supervised = plane.supervisor_pid(layout) is not None
    found = []
    for report in read_reports(layout):
        alive = processes.marked(layout.state_dir, report.name)
        state = report.state
        if not supervised:
            # Left behind by a killed supervisor; the next `up` or `down` ends it.
            state = State.STOPPING if alive else State.STOPPED
        pid = report.pid if any(process.pid == report.pid for process in alive) else None
        found.append(PartStatus(report.name, state, pid, report.address, memory_of(alive), report.restarts))
    return found


def memory_of(alive: list[psutil.Process]) -> int | None:
    """Return the bytes of memory (PSS) that the processes use together; None if there are none."""
    if not alive:
        return None
    total = 0
    for process in alive:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # it ended while we looked
    return total
