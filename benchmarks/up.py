"""How long `isthmus up` takes and how much memory the control plane uses: `python -m benchmarks.up`.

Writes build/bench/up.json. Seconds are those of the whole command `isthmus up --detach`, from nothing (the first
start) and again after `isthmus down` (later starts); memory is PSS, so that shared pages count once. The load of the
machine stands beside the figures: they mean something on an idle machine only.
"""

import json
import os
import statistics
import time
from pathlib import Path

import psutil
from lab.control_plane import ControlPlane

LATER_STARTS = 3
SETTLE_SECONDS = 5.0
GOALS = {"first_start_seconds": 90.0, "later_start_seconds": 20.0}
RESULT = Path("build/bench/up.json")


def measure() -> dict[str, object]:
    """Start a control plane from nothing, then several times again, and return the figures."""
    load = os.getloadavg()[0]
    plane = ControlPlane()
    try:
        first = _seconds_to_start(plane)
        later = []
        for _ in range(LATER_STARTS):
            plane.stop()
            later.append(_seconds_to_start(plane))
        time.sleep(SETTLE_SECONDS)
        memory = {part: int(str(row["memory"])) for part, row in plane.parts().items()}
        memory["supervisor"] = psutil.Process(plane.supervisor()).memory_full_info().pss
    finally:
        plane.close()
    return {
        "first_start_seconds": first,
        "later_start_seconds": later,
        "later_start_seconds_median": statistics.median(later),
        "memory_bytes": memory,
        "memory_bytes_total": sum(memory.values()),
        "load_average_before": load,
        "goals": GOALS,
        "goals_met": first < GOALS["first_start_seconds"] and max(later) < GOALS["later_start_seconds"],
    }


def _seconds_to_start(plane: ControlPlane) -> float:
    began = time.monotonic()
    plane.start()
    return round(time.monotonic() - began, 2)


def main() -> None:
    """Measure, write the report, print it."""
    report = json.dumps(measure(), indent=2)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(report + "\n")
    print(report)


if __name__ == "__main__":
    main()
