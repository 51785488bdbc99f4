"""Many disks at once: their aggregate rate over that of one nbdcopy of the same bytes, and what proof costs.

The disks are raw, full of random bytes, served by qemu-nbd on both sides; all are flushed at the end. Isthmus hashes
each chunk, reads it back and compares, but where it is told not to (`verify=False`), which only this benchmark does.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, Reads, Side
from isthmus.migration.reporting import Silence

WORK = Path("build/bench-work")
MIB = 1 << 20
DISKS = (1, 4, 16)
ROUNDS = 3


def measure(data_mib: int) -> dict[str, Any]:
    """Return the rate of 1, 4 and 16 disks at once over nbdcopy's of one, and the price of verification; medians."""
    found: dict[str, Any] = {"data_mib": data_mib}
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as name:
        bench = Bench(Path(name).resolve(), data_mib)
        for count in DISKS:
            rounds = [(bench.nbdcopy(), bench.copies(count), bench.copies(count, verify=False)) for _ in range(ROUNDS)]
            peer, verified, unverified = (statistics.median(each) for each in zip(*rounds, strict=True))
            found[f"{count} at once"] = {
                "seconds": round(verified, 2),
                "seconds_without_verification": round(unverified, 2),
                "seconds_nbdcopy_one_disk": round(peer, 2),
                "rate_over_nbdcopy": round(peer / verified, 2),
                "verification_overhead": round(verified / unverified - 1, 2),
                "rounds": [[round(each, 2) for each in times] for times in rounds],
            }
    return found


class Bench:
    """A directory with so much random data, of which each source disk is a part."""

    def __init__(self, place: Path, data_mib: int) -> None:
        self._place = place
        self._data_mib = data_mib
        with (place / "data").open("wb") as file:
            for _ in range(data_mib):
                file.write(os.urandom(MIB))

    def nbdcopy(self) -> float:
        """Seconds of one nbdcopy with a flush."""
        with self._source(0, self._data_mib) as origin, self._target(0, self._data_mib) as target:
            return _seconds(lambda: subprocess.run(["nbdcopy", "--flush", origin, target], check=True))

    def copies(self, count: int, *, verify: bool = True) -> float:
        """Seconds of one copy step with so many disks."""
        states = self._place / "states"
        shutil.rmtree(states, ignore_errors=True)
        states.mkdir()
        mib = self._data_mib // count
        with ExitStack() as stack:
            jobs = [
                CopyJob(
                    disk_id=f"disk{number}",
                    source=Side(stack.enter_context(self._source(number, mib))),
                    destination=Side(stack.enter_context(self._target(number, mib))),
                    size_bytes=mib * MIB,
                    reads=Reads.ALLOCATION,
                    state_file=states / str(number),
                    point="first",
                    destination_is_zero=True,
                    verify=verify,
                )
                for number in range(count)
            ]
            return _seconds(lambda: copy_disks(jobs, bandwidth_limit=0, connections=4, report=Silence()))

    @contextmanager
    def _source(self, number: int, mib: int) -> Iterator[str]:
        part = f"driver=raw,offset={number * mib * MIB},size={mib * MIB}"
        options = f"{part},file.driver=file,file.filename={self._place / 'data'}"
        with self._served(f"source{number}", ["--read-only", "--image-opts", options]) as uri:
            yield uri

    @contextmanager
    def _target(self, number: int, mib: int) -> Iterator[str]:
        path = self._place / f"target{number}"
        with path.open("wb") as disk:
            disk.truncate(mib * MIB)
        try:
            with self._served(f"target{number}", ["--format=raw", "--discard=unmap", str(path)]) as uri:
                yield uri
        finally:
            path.unlink()

    @contextmanager
    def _served(self, name: str, what: list[str]) -> Iterator[str]:
        socket = self._place / f"{name}.sock"
        command = ["qemu-nbd", "--persistent", "--shared=16", f"--socket={socket}", *what]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield f"nbd+unix:///?socket={socket}"
        finally:
            server.terminate()
            server.wait()


def _seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began
