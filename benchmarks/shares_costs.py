"""What a service's processes use: CPU seconds and memory, by program."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

Processes = Callable[[], Mapping[str, list[psutil.Process]]]
"""Returns the processes of each program as they are now."""

MIB = 1 << 20


def cpu_seconds(processes: Processes) -> dict[str, float]:
    """Return the CPU seconds that each program has used so far, its ended children included."""
    used = {}
    for program, members in processes().items():
        times = [time for member in members if (time := _times(member)) is not None]
        used[program] = sum(times)
    return used


def memory_mib(processes: Processes) -> dict[str, dict[str, float]]:
    """Return RSS and PSS (shared pages divided by those who share them) of each program, in MiB."""
    rows = {}
    for program, members in processes().items():
        facts = [member.memory_full_info() for member in members if member.is_running()]
        rows[program] = {
            "processes": len(facts),
            "rss": round(sum(fact.rss for fact in facts) / MIB, 1),
            "pss": round(sum(fact.pss for fact in facts) / MIB, 1),
        }
    return rows


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each program used between two looks; one that has started since counts from its start."""
    return {program: after[program] - before.get(program, 0.0) for program in after}


def _times(process: psutil.Process) -> float | None:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return None
