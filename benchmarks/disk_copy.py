"""Disk copy against nbdcopy and qemu-img convert, on the same disks in the same run: build/bench/disk-copy.json.

Every contender ends with the target's data on the disk (nbdcopy --flush, and an fsync of the target file afterwards
for all). Isthmus and nbdcopy read and write through qemu-nbd servers of the same kind, started for each run; Isthmus
hashes every chunk, reads it back and compares as well. qemu-img convert needs no servers. The source is dropped from
the page cache before every run, and six rounds have all orders: who comes after whom matters, as the memory that one
has given back is dear to the next on some virtual machines. Medians of all rounds count; those of the best rounds are
beside them for a machine with other work, and the load average says whether it was one. CPU seconds include the
servers.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import permutations
from pathlib import Path
from typing import Any

from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.extents import CHUNK
from isthmus.migration.disks.image_file import ImageFile
from isthmus.migration.disks.job import CopyJob, CopyReport, Reads, Side
from isthmus.migration.reporting import Silence

WORK = Path("build/bench-work")
RESULT = Path("build/bench/disk-copy.json")
GIB = 1 << 30
MIB = 1 << 20
CASES = (("qcow2", "raw"), ("qcow2", "qcow2"), ("raw", "qcow2"))
CONNECTIONS = 4


def main() -> None:
    """Measure all and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="a multiple of six, so that the order is fair")
    parser.add_argument("--size", type=int, default=4 * GIB, help="bytes of each disk; a third of it is data")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(json.loads(arguments.child))
        return
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        result = measure(arguments.rounds, arguments.size)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def measure(rounds: int, size: int) -> dict[str, Any]:
    """All cases, memory and increments."""
    data_bytes = make_disks(size)
    cases = {f"{source}->{target}": measure_case(source, target, size, rounds) for source, target in CASES}
    peaks = [case["peak_memory_mib"] for case in cases.values()]
    return {
        "disk_bytes": size,
        "data_bytes": data_bytes,
        "rounds": rounds,
        "hash_verification": True,
        "cases": cases,
        "peak_memory_mib": {"4 GiB": max(peaks), "1 TiB sparse": sparse_peak()},
        "increment_bytes_sent_over_changed": increments(size),
    }


# -- the disks ---------------------------------------------------------------------------------------------------------


def make_disks(size: int) -> int:
    """A raw and a qcow2 disk alike: text-like and random data by turns, in many extents; returns the data's bytes."""
    chance = random.Random(20)
    line = b"".join(f"{chance.getrandbits(40):x} GET /index.html 200\n".encode() for _ in range(2000))
    text = (line * (1 + 8 * MIB // len(line)))[: 8 * MIB]
    wanted, written, offset = size // 3, 0, 0
    with (WORK / "source.raw").open("wb") as disk:
        disk.truncate(size)
        while written < wanted and offset < size - 8 * MIB:
            length = chance.choice((4096, 65536, 262144, MIB, 8 * MIB))
            disk.seek(offset)
            disk.write(chance.randbytes(length) if chance.random() < 0.5 else text[:length])
            written += length
            offset += length + chance.randrange(0, 6 * MIB, 4096)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", WORK / "source.raw", WORK / "source.qcow2")
    return written


def run(*words: object) -> None:
    """Run a program to its end."""
    subprocess.run([str(word) for word in words], check=True)


@contextmanager
def served(path: Path, kind: str, *more: str, ends: Callable[[float], None] = lambda _: None) -> Iterator[str]:
    """`path` as an NBD export: its URI; afterwards `ends` is told the server's CPU seconds."""
    socket = WORK / f"{path.name}.sock"
    socket.unlink(missing_ok=True)
    server = subprocess.Popen(["qemu-nbd", "-t", "-e", "16", "-f", kind, "-k", str(socket.resolve()), *more, str(path)])
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"nbd+unix:///?socket={socket.resolve()}"
    finally:
        server.terminate()
        _, _, usage = os.wait4(server.pid, 0)
        server.returncode = 0
        ends(usage.ru_utime + usage.ru_stime)


# -- the contenders ----------------------------------------------------------------------------------------------------


def run_child(order: dict[str, Any]) -> None:
    """One copy by Isthmus in a process of its own, so that CPU and memory are its own."""
    source, destination = [ImageFile(Path(path), kind) for path, kind in order["images"]] or (None, None)
    job = CopyJob(
        disk_id="bench",
        source=Side(order["source"], image=source),
        destination=Side(order["destination"], image=destination),
        size_bytes=order["size"],
        reads=Reads(order["reads"]),
        state_file=Path(order["state"]),
        point=order["point"],
        dirty_context=order.get("dirty"),
        destination_is_zero=True,
    )
    (report,) = copy_disks([job], bandwidth_limit=0, connections=CONNECTIONS, report=Silence())
    Path(order["result"]).write_text(json.dumps({"report": asdict(report), "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """This process's peak resident memory; rusage would count what the parent had before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def isthmus(source: str, destination: str, size: int, *images: Path, **more: str) -> list[str]:
    """The command for one copy by Isthmus; `images` are the files behind the two, if it shall use them."""
    order = {"source": source, "destination": destination, "size": size, "reads": "allocation", "point": "first"}
    order["images"] = [(str(image), image.suffix.removeprefix(".")) for image in images]
    order |= {"state": str(WORK / "state"), "result": str(WORK / "result.json"), **more}
    return [sys.executable, "-m", "benchmarks.disk_copy", "--child", json.dumps(order)]


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and CPU seconds of a command."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime


def contend(name: str, source: str, target: str, size: int) -> tuple[float, float]:
    """One run of one contender, from cold: seconds, CPU seconds."""
    path = WORK / f"target.{target}"
    for old in (path, WORK / "state"):
        old.unlink(missing_ok=True)
    run("qemu-img", "create", "-q", "-f", target, path, size)
    forget(WORK / f"source.{source}")
    if name == "qemu-img convert":
        words = ["qemu-img", "convert", "-n", "--target-is-zero", "-W", "-m", "8", "-t", "writeback", "-f", source]
        seconds, cpu = timed([*words, "-O", target, str(WORK / f"source.{source}"), str(path)])
        return seconds + sync(path), cpu
    servers: list[float] = []
    with (
        served(WORK / f"source.{source}", source, "-r", ends=servers.append) as origin,
        served(path, target, "--discard=unmap", ends=servers.append) as destination,
    ):
        if name.startswith("isthmus"):
            command = isthmus(
                origin, destination, size, *([WORK / f"source.{source}", path] if name == "isthmus" else [])
            )
        else:
            command = ["nbdcopy", "--flush", "--destination-is-zero", origin, destination]
        seconds, cpu = timed(command)
        seconds += sync(path)
    return seconds, cpu + sum(servers)


def forget(path: Path) -> None:
    """Drop a file from the page cache; /proc/sys/vm/drop_caches would wait for every file system on the machine."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync(path: Path) -> float:
    """Seconds to bring a file to the disk."""
    began = time.monotonic()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return time.monotonic() - began


def measure_case(source: str, target: str, size: int, rounds: int) -> dict[str, Any]:
    """One pair of formats: every contender in every round, in all orders by turns."""
    names = ("isthmus", "nbdcopy", "qemu-img convert")
    orders = list(permutations(names))
    peaks: list[int] = []
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in orders[number % len(orders)]:
            taken[name].append(contend(name, source, target, size))
            run("qemu-img", "compare", "-q", WORK / f"source.{source}", WORK / f"target.{target}")
        peaks.append(result()[1])
    rest = names[1:]
    seconds, cpu = ({name: statistics.median(one[index] for one in taken[name]) for name in names} for index in (0, 1))
    best, least = ({name: min(one[index] for one in taken[name]) for name in names} for index in (0, 1))
    return {
        "seconds": {name: round(seconds[name], 2) for name in names},
        "cpu_seconds": {name: round(cpu[name], 2) for name in names},
        "peak_memory_mib": max(peaks),
        "throughput_over": {name: round(seconds[name] / seconds["isthmus"], 2) for name in rest},
        "cpu_over": {name: round(cpu["isthmus"] / cpu[name], 2) for name in rest},
        "best_throughput_over": {name: round(best[name] / best["isthmus"], 2) for name in rest},
        "best_cpu_over": {name: round(least["isthmus"] / least[name], 2) for name in rest},
        "load_average": round(os.getloadavg()[0], 1),
    }


# -- memory and increments ---------------------------------------------------------------------------------------------


def sparse_peak() -> int:
    """Peak MiB of a copy of a 1 TiB disk with 64 KiB of data in each GiB."""
    size, chance = 1024 * GIB, random.Random(7)
    paths = WORK / "huge.raw", WORK / "huge-target.raw"
    for path in paths:
        with path.open("wb") as disk:
            disk.truncate(size)
    with paths[0].open("r+b") as disk:
        for number in range(1024):
            disk.seek(number * GIB + chance.randrange(0, GIB - CHUNK, 4096))
            disk.write(chance.randbytes(CHUNK))
    (WORK / "state").unlink(missing_ok=True)
    with served(paths[0], "raw", "-r") as origin, served(paths[1], "raw") as destination:
        timed(isthmus(origin, destination, size, *paths))
    for path in paths:
        path.unlink()
    return result()[1]


def increments(size: int) -> dict[str, float]:
    """Bytes sent by an increment over bytes changed, by dirty bitmap and by hash map."""
    disk, chance = WORK / "source.qcow2", random.Random(3)
    copies = {Reads.DIRTY: WORK / "dirty.qcow2", Reads.COMPARE: WORK / "compare.qcow2"}
    run("qemu-img", "bitmap", "--add", disk, "inc")
    for reads, path in copies.items():
        run("qemu-img", "create", "-q", "-f", "qcow2", path, size)
        pass_over(disk, path, Reads.ALLOCATION, reads, size)
    changed = 0
    writes: list[str] = []
    for length in [65536] * 40 + [MIB] * 40 + [4 * MIB] * 8:
        offset = chance.randrange(0, size - length, 65536 if length == 65536 else 4096)
        writes += ["-c", f"write -q -P {chance.randrange(1, 255)} {offset} {length}"]
        changed += length
    run("qemu-io", "-f", "qcow2", *writes, disk)
    ratios = {}
    for reads, path in copies.items():
        report = pass_over(disk, path, reads, reads, size)
        run("qemu-img", "compare", "-q", disk, path)
        ratios["dirty bitmap" if reads is Reads.DIRTY else "hash map"] = round(report.bytes_sent / changed, 3)
    return ratios


def pass_over(disk: Path, path: Path, reads: Reads, leads_to: Reads, size: int) -> CopyReport:
    """One pass in a process of its own; a full copy and the increment it leads to share their state."""
    more = {"reads": reads.value, "point": reads.value, "state": str(WORK / f"state-{leads_to.value}")}
    with served(disk, "qcow2", "-r", "-B", "inc") as origin, served(path, "qcow2") as destination:
        command = isthmus(origin, destination, size, **more, dirty="qemu:dirty-bitmap:inc")
        timed(command)
    return result()[0]


def result() -> tuple[CopyReport, int]:
    """What the last copy by Isthmus did, and its peak MiB."""
    answer = json.loads((WORK / "result.json").read_text())
    return CopyReport(**answer["report"]), round(answer["peak_mib"])


if __name__ == "__main__":
    main()
