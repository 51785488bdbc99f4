"""The migration service: what its control plane costs, and many disks at once: `python -m benchmarks.migration`.

Writes build/bench/migration.json. Everything is real: `isthmus up`, its API with tokens, and machines of 1 MiB in
directories of images, whose steps do next to nothing, so that what is left is the control plane. The peer's figures
beside ours were measured once on such a machine (Coriolis with a provider whose tasks do nothing); the disks' peer
runs here, in the same run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from benchmarks.shares_costs import Processes, cpu_seconds, memory_mib
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from sqlalchemy import create_engine, func, insert, select

from isthmus.control.configuration import load
from isthmus.control.database import utc_now
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, Reads, Side
from isthmus.migration.tables import TransferRow

RESULT = Path("build/bench/migration.json")
MIB = 1 << 20
OURS = ("api", "conductor", "worker", "temporal")
TABLES = (100, 1_000, 10_000)
DISKS = (1, 4, 16)
PEER = {
    "execution of one, seconds": 18.5,
    "execution of two, seconds": 26.0,
    "deployment, seconds": 15.7,
    "list of 100 in detail, CPU ms": 41.0,
    "one transfer, CPU ms": 15.0,
    "memory, MiB": 1299.0,
}
GOALS = {
    "execution of one, seconds": 1.0,
    "execution of two, seconds": 1.2,
    "deployment, seconds": 1.0,
    "list of 100 in detail, CPU ms": 8.0,
    "one transfer, CPU ms": 3.0,
    "memory, MiB": 300.0,
    "takeover after a worker's death, seconds": 30.0,
}


class Silent:
    """A report nobody reads."""

    def event(self, level: object, message: str) -> None: ...

    def progress(self, progress: object) -> None: ...

    def check(self) -> None: ...


def main() -> None:
    """Measure all and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each figure is taken; medians count")
    parser.add_argument("--data", type=int, default=1024, help="MiB that all disks of the copies hold together")
    arguments = parser.parse_args()
    load_average = os.getloadavg()[0]
    result: dict[str, Any] = {"many disks": many_disks(arguments.data), "load_average_before": load_average}
    with tempfile.TemporaryDirectory(prefix="/tmp/bm-") as name, ControlPlane() as plane:
        result |= Bench(plane, Path(name), arguments.rounds).figures()
    figures = result["figures"]
    result["peer"], result["goals"] = PEER, GOALS
    result["over_peer"] = {name: round(figures[name] / value, 3) for name, value in PEER.items()}
    result["goals_met"] = {name: figures[name] <= goal for name, goal in GOALS.items()}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


class Bench:
    """The control plane under measurement, and two directories of images as clouds."""

    def __init__(self, plane: ControlPlane, place: Path, rounds: int) -> None:
        self.plane = plane
        self.rounds = rounds
        self.user = RestUser.of(plane.demo_environment)
        self.ends = {}
        for side in ("east", "west"):
            (place / side / "images").mkdir(parents=True)
            connection = {"path": str(place / side / "images")}
            body = {"name": side, "type": "images", "connection_info": connection}
            self.ends[side] = self.user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"]
        for machine in ("one", "two"):
            with (place / "east" / "images" / f"{machine}.raw").open("wb") as image:
                image.write(os.urandom(MIB))

    def figures(self) -> dict[str, Any]:
        """All that is measured here."""
        time.sleep(5)
        memory = memory_mib(self.processes())
        single, pair = self.transfer("one"), self.transfer("one", "two")
        before = cpu_seconds(
            self.processes(("api", "conductor", "worker", "temporal", "keystone", "barbican", "mariadb"))
        )
        ones = [self.execute(single) for _ in range(self.rounds)]
        twos = [self.execute(pair) for _ in range(self.rounds)]
        deployments = [self.deploy(single) for _ in range(self.rounds)]
        spent = self.since(before)
        takeovers = [self.takeover(single) for _ in range(3)]
        lists = {str(total): self.listing(total) for total in TABLES}
        return {
            "figures": {
                "execution of one, seconds": statistics.median(ones),
                "execution of two, seconds": statistics.median(twos),
                "deployment, seconds": statistics.median(deployments),
                "list of 100 in detail, CPU ms": lists["100"]["page of 100 in detail, CPU ms"],
                "one transfer, CPU ms": lists["100"]["one, CPU ms"],
                "memory, MiB": round(sum(part["pss"] for part in memory.values()), 1),
                "takeover after a worker's death, seconds": max(takeovers),
            },
            "takeovers_seconds": takeovers,
            "memory_mib": memory,
            "cpu_seconds_for_a_machine": {
                part: round(seconds / (self.rounds * 4), 3) for part, seconds in sorted(spent.items())
            },
            "by_size_of_the_table": lists,
        }

    # -- actions -----------------------------------------------------------------------------------------------------

    def transfer(self, *machines: str) -> str:
        """Make a transfer and run it once, so that later runs find the disks."""
        body = {
            "origin_endpoint_id": self.ends["east"],
            "destination_endpoint_id": self.ends["west"],
            "instances": list(machines),
            "network_map": {},
        }
        made = str(self.user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"])
        self.execute(made)
        return made

    def execute(self, transfer: str) -> float:
        """Seconds from the request to COMPLETED."""
        began = time.monotonic()
        path = f"/transfers/{transfer}/executions"
        made = self.user.made("POST", path, {"execution": {}})["execution"]["id"]
        return self.completed(f"{path}/{made}", "execution", began)

    def deploy(self, transfer: str) -> float:
        """Seconds from the request to COMPLETED; no morphing, and images cannot boot."""
        began = time.monotonic()
        body = {"transfer_id": transfer, "skip_os_morphing": True, "clone_disks": True}
        made = self.user.made("POST", "/deployments", {"deployment": body})["deployment"]["id"]
        return self.completed(f"/deployments/{made}", "deployment", began)

    def takeover(self, transfer: str) -> float:
        """Seconds by which the death of the only worker, at once after the request, delays an execution."""
        undisturbed = self.execute(transfer)
        began = time.monotonic()
        path = f"/transfers/{transfer}/executions"
        made = self.user.made("POST", path, {"execution": {}})["execution"]["id"]
        self.plane.kill("worker")
        return round(self.completed(f"{path}/{made}", "execution", began) - undisturbed, 2)

    def completed(self, path: str, key: str, began: float) -> float:
        """Wait for the end, which must be COMPLETED; seconds since `began`."""
        ended = self.user.ended(path, key)
        seconds = round(time.monotonic() - began, 3)
        status = ended["status" if key == "execution" else "last_execution_status"]
        assert status == "COMPLETED", ended
        return seconds

    # -- costs -------------------------------------------------------------------------------------------------------

    def processes(self, parts: tuple[str, ...] = OURS) -> Processes:
        """The processes of these parts, as they are whenever it is called."""

        def now() -> dict[str, list[psutil.Process]]:
            found = {}
            for part in parts:
                leader = psutil.Process(self.plane.pid(part))
                found[part] = [leader, *leader.children(recursive=True)]
            return found

        return now

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """CPU seconds of the same parts since then."""
        after = cpu_seconds(self.processes(tuple(before)))
        return {part: after[part] - seconds for part, seconds in before.items()}

    def listing(self, total: int) -> dict[str, float]:
        """Costs with `total` transfers in the table, in CPU ms of the API for each request."""
        fill(self.plane.configuration, total)
        shown = self.user.made("GET", "/transfers?limit=1")["transfers"][0]["id"]
        return {
            "page of 100 in detail, CPU ms": self.cost("/transfers/detail?limit=100"),
            "page of 100, CPU ms": self.cost("/transfers?limit=100"),
            "one, CPU ms": self.cost(f"/transfers/{shown}"),
        }

    def cost(self, path: str) -> float:
        """CPU ms of the API for a GET, after some that count for nothing."""
        for _ in range(5):
            self.user.made("GET", path)
        count = 10 * self.rounds
        before = cpu_seconds(self.processes(("api",)))
        for _ in range(count):
            self.user.made("GET", path)
        return round(self.since(before)["api"] / count * 1000, 2)


def fill(configuration: Path, total: int) -> None:
    """Put copies of the newest transfer straight into the database until there are `total`."""
    engine = create_engine(load(["--config-file", str(configuration)]).database.connection)
    table = TransferRow.__table__
    with engine.begin() as connection:
        model = connection.execute(select(table).order_by(table.c.created_at.desc()).limit(1)).mappings().one()
        have = connection.scalar(select(func.count()).select_from(table)) or 0
        rows = [{**model, "id": str(uuid.uuid4()), "created_at": utc_now()} for _ in range(have, total)]
        for first in range(0, len(rows), 1000):
            connection.execute(insert(TransferRow), rows[first : first + 1000])
    engine.dispose()


# -- many disks at once ------------------------------------------------------------------------------------------------


def many_disks(data_mib: int) -> dict[str, Any]:
    """The rate of 1, 4 and 16 disks at once over that of one nbdcopy of the same bytes; and what verification costs."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="/tmp/bm-") as name:
        place = Path(name)
        for count in DISKS:
            each = data_mib // count
            peer = timed_nbdcopy(place, data_mib)
            verified, unverified = (timed_copies(place, count, each, verify=verify) for verify in (True, False))
            found[str(count)] = {
                "seconds": round(verified, 2),
                "seconds_without_verification": round(unverified, 2),
                "seconds_nbdcopy_one_disk": round(peer, 2),
                "rate_over_nbdcopy": round(peer / verified, 2),
                "verification_overhead": round(verified / unverified - 1, 2),
            }
    return found


@contextmanager
def served(place: Path, name: str, size: int, *, data: bool) -> Iterator[str]:
    """A new raw disk, full of data or empty, behind qemu-nbd: its URI."""
    path, socket = place / name, place / f"{name}.sock"
    with path.open("wb") as disk:
        disk.truncate(size)
        for offset in range(0, size if data else 0, MIB):
            disk.seek(offset)
            disk.write(os.urandom(MIB))
    server = subprocess.Popen(["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-k", str(socket), str(path)])
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"nbd+unix:///?socket={socket}"
    finally:
        server.terminate()
        server.wait()
        path.unlink()


def timed_nbdcopy(place: Path, mib: int) -> float:
    """Seconds of one nbdcopy with a flush."""
    with (
        served(place, "source", mib * MIB, data=True) as origin,
        served(place, "target", mib * MIB, data=False) as target,
    ):
        return seconds(lambda: subprocess.run(["nbdcopy", "--flush", origin, target], check=True))


def timed_copies(place: Path, count: int, mib: int, *, verify: bool) -> float:
    """Seconds of one copy step with so many disks."""
    shutil.rmtree(place / "state", ignore_errors=True)
    (place / "state").mkdir()
    with ExitStack() as stack:
        jobs = [
            CopyJob(
                disk_id=f"disk{number}",
                source=Side(stack.enter_context(served(place, f"source{number}", mib * MIB, data=True))),
                destination=Side(stack.enter_context(served(place, f"target{number}", mib * MIB, data=False))),
                size_bytes=mib * MIB,
                reads=Reads.ALLOCATION,
                state_file=place / "state" / str(number),
                point="first",
                destination_is_zero=True,
                verify=verify,
            )
            for number in range(count)
        ]
        return seconds(lambda: copy_disks(jobs, bandwidth_limit=0, connections=4, report=Silent()))


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
