"""The migration service measured: control plane, many disks at once, whole machines: `python -m benchmarks.migration`.

Writes build/bench/migration.json, after each part anew, so that a broken run tells too; `--only` measures one part and
keeps what the file has of the others. The parts are in `migration_control` (with instant steps, beside what was
measured once of the real Coriolis with tasks that do nothing), `migration_disks` (beside nbdcopy, in the same run) and
`migration_machines` (beside virt-v2v, in the same run). The load average stands beside each part: wall times mean
something on a calm machine only, CPU times suffer less.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import migration_control, migration_disks, migration_machines

RESULT = Path("build/bench/migration.json")
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "control": lambda wanted: migration_control.measure(wanted.rounds),
    "disks": lambda wanted: migration_disks.measure(wanted.data),
    "machines": lambda wanted: migration_machines.measure(wanted.data, wanted.machine_rounds),
}


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each figure of the control plane is taken")
    parser.add_argument("--data", type=int, default=1024, help="MiB that the copied disks hold together")
    parser.add_argument("--machine-rounds", type=int, default=3, help="how often a whole machine is converted")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="parts to measure; all by default")
    wanted = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if wanted.only and RESULT.exists() else {}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    for name in wanted.only or PARTS:
        load, began = os.getloadavg()[0], time.monotonic()
        found = PARTS[name](wanted)
        loads = {"load_average_before": load, "load_average_after": os.getloadavg()[0]}
        result[name] = {**found, **loads, "seconds": round(time.monotonic() - began)}
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps({name: result[name]}, indent=2), flush=True)


if __name__ == "__main__":
    main()
