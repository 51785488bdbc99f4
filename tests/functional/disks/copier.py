"""One copy in a process of its own, to be killed or measured: `python -m tests.functional.disks.copier JSON`.

Prints one line for each progress report and at the end the copy's report and the process's peak memory in bytes.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, Reads, Side
from isthmus.migration.reporting import Level, Progress


class Printer:
    """Tells how far it is on standard output."""

    def event(self, level: Level, message: str) -> None:
        print(message, flush=True)

    def progress(self, progress: Progress) -> None:
        print(progress.done, flush=True)

    def check(self) -> None: ...


def peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def main() -> None:
    order = json.loads(sys.argv[1])
    job = CopyJob(
        disk_id="vda",
        source=Side(order["source"]),
        destination=Side(order["destination"]),
        size_bytes=order["size"],
        reads=Reads.ALLOCATION,
        state_file=Path(order["state"]),
        point="first",
        destination_is_zero=True,
    )
    (report,) = copy_disks([job], bandwidth_limit=order.get("limit", 0), connections=2, report=Printer())
    print(json.dumps(asdict(report) | {"peak": peak()}))


if __name__ == "__main__":
    main()
