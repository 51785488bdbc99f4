"""What the migration service's control plane costs when steps take no time.

The real control plane as `isthmus up` starts it, its API with tokens, and `instant_cloud` at both ends. Wall times are
from the request to the end as the API shows it; memory is PSS; CPU is that of the named processes.
"""

import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from benchmarks import instant_cloud
from benchmarks.shares_costs import Processes, cpu_seconds, memory_mib
from lab.control_plane import ControlPlane
from lab.rest_user import ENDED, RestUser
from sqlalchemy import create_engine, func, insert, select

from isthmus.control.configuration import load
from isthmus.control.database import utc_now
from isthmus.migration.tables import TransferRow

MIGRATION = ("keystone", "barbican", "temporal", "api", "conductor", "worker")
OURS = ("api", "conductor", "worker")
ENGINE = ("temporal",)
COUNTED = (*OURS, *ENGINE, "keystone", "barbican", "mariadb")
TABLES = (100, 1_000, 10_000)
WAVE = 20
LIMIT_SECONDS = 120
POLL_SECONDS = 0.02
PEER = {
    "execution of one, seconds": 18.5,
    "execution of two, seconds": 26.0,
    "deployment, seconds": 15.7,
    "list of 100 in detail, CPU ms": 41.0,
    "one transfer, CPU ms": 15.0,
    "memory of the services, MiB": 1299.0,
}
"""The real Coriolis on such a machine, with a provider whose tasks do nothing. A killed worker's task stays RUNNING."""
GOALS = {
    "execution of one, seconds": 1.0,
    "execution of two, seconds": 1.2,
    "deployment, seconds": 1.0,
    "list of 100 in detail, CPU ms": 8.0,
    "one transfer, CPU ms": 3.0,
    "memory of the services, MiB": 300.0,
    "takeover after a worker's death, seconds": 30.0,
}


def measure(rounds: int) -> dict[str, Any]:
    """Return the figures, the peer's, the goals, and which goals are met."""
    with (
        tempfile.TemporaryDirectory(prefix="/tmp/bm-") as name,
        instant_cloud.installed(),
        ControlPlane(only=MIGRATION) as plane,
    ):
        found = Bench(plane, Path(name), rounds).figures()
    figures = found["figures"]
    return {
        **found,
        "peer": PEER,
        "over_peer": {name: round(figures[name] / value, 3) for name, value in PEER.items()},
        "goals": GOALS,
        "goals_met": {name: figures[name] <= goal for name, goal in GOALS.items()},
    }


class Bench:
    """The control plane under measurement, and two instant clouds."""

    def __init__(self, plane: ControlPlane, place: Path, rounds: int) -> None:
        self.plane = plane
        self.rounds = rounds
        self.hold = place / "hold"
        self.user = RestUser.of(plane.demo_environment)
        self.ends = {}
        for side in ("east", "west"):
            connection = {"name": side, **({"hold": str(self.hold)} if side == "east" else {})}
            body = {"name": side, "type": instant_cloud.PLATFORM, "connection_info": connection}
            self.ends[side] = self.user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"]

    def figures(self) -> dict[str, Any]:
        """All that is measured here."""
        single, pair = self.transfer("one"), self.transfer("one", "two")
        time.sleep(5)
        memory = memory_mib(self.processes((*OURS, *ENGINE)))
        times, spent = self.timed(single, pair)
        takeovers = [self.takeover(single) for _ in range(3)]
        wave = self.wave()
        lists = {str(total): self.listing(total) for total in TABLES}
        return {
            "figures": {
                **{name: statistics.median(seconds) for name, seconds in times.items()},
                "list of 100 in detail, CPU ms": lists["100"]["page of 100 in detail, CPU ms"],
                "one transfer, CPU ms": lists["100"]["one, CPU ms"],
                "memory of the services, MiB": round(sum(memory[part]["pss"] for part in OURS), 1),
                "takeover after a worker's death, seconds": max(takeovers),
            },
            "rounds_seconds": times,
            "takeovers_seconds": takeovers,
            "memory_mib": memory,
            "cpu_seconds_for_a_machine": spent,
            "wave": wave,
            "by_size_of_the_table": lists,
        }

    def timed(self, single: str, pair: str) -> tuple[dict[str, list[float]], dict[str, float]]:
        """Seconds of each round by what is done, and CPU seconds of each part for one machine that was worked on."""
        before = cpu_seconds(self.processes(COUNTED))
        times = {
            "execution of one, seconds": [self.execute(single) for _ in range(self.rounds)],
            "execution of two, seconds": [self.execute(pair) for _ in range(self.rounds)],
            "deployment, seconds": [self.deploy(single) for _ in range(self.rounds)],
        }
        worked_on = self.rounds * 4
        return times, {part: round(used / worked_on, 3) for part, used in sorted(self.since(before).items())}

    # -- actions -----------------------------------------------------------------------------------------------------

    def transfer(self, *machines: str, run: bool = True) -> str:
        """Make a transfer and run it once, so that later runs find the replica."""
        body = {
            "origin_endpoint_id": self.ends["east"],
            "destination_endpoint_id": self.ends["west"],
            "instances": list(machines),
            "network_map": {},
        }
        made = str(self.user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"])
        if run:
            self.execute(made)
        return made

    def execute(self, transfer: str) -> float:
        """Seconds from the request to COMPLETED."""
        began = time.monotonic()
        path = f"/transfers/{transfer}/executions"
        made = self.user.made("POST", path, {"execution": {}})["execution"]["id"]
        return self.completed(f"{path}/{made}", "execution", began)

    def deploy(self, transfer: str) -> float:
        """Seconds from the request to COMPLETED; no morphing, no probe."""
        began = time.monotonic()
        body = {"transfer_id": transfer, "skip_os_morphing": True, "clone_disks": True}
        made = self.user.made("POST", "/deployments", {"deployment": body})["deployment"]["id"]
        return self.completed(f"/deployments/{made}", "deployment", began)

    def takeover(self, transfer: str) -> float:
        """Seconds from the death of the only worker, in the midst of a step, to the execution's end."""
        self.hold.touch()
        path = f"/transfers/{transfer}/executions"
        made = self.user.made("POST", path, {"execution": {}})["execution"]["id"]
        while "REPLICATE_DISKS" not in self.running(f"{path}/{made}"):
            time.sleep(POLL_SECONDS)
        time.sleep(1)  # the step has told that it lives, as any that takes longer has
        began = time.monotonic()
        self.plane.kill("worker")
        self.hold.unlink()
        return self.completed(f"{path}/{made}", "execution", began)

    def running(self, path: str) -> set[str]:
        """Return the steps that run."""
        tasks = self.user.made("GET", path)["execution"]["tasks"]
        return {task["task_type"] for task in tasks if task["status"] == "RUNNING"}

    def wave(self) -> dict[str, Any]:
        """Seconds of a wave of instant machines, ten in flight, and CPU seconds of each part for one of them."""
        transfers = [self.transfer(f"wave{number}", run=False) for number in range(WAVE)]
        members = [{"transfer_id": each} for each in transfers]
        body = {"name": "bench", "max_in_flight": 10, "groups": [{"name": "all", "members": members}]}
        made = self.user.made("POST", "/waves", {"wave": body})["wave"]["id"]
        before, began = cpu_seconds(self.processes(COUNTED)), time.monotonic()
        self.user.made("POST", f"/waves/{made}/actions", {"start": None})
        while (shown := self.user.made("GET", f"/waves/{made}")["wave"])["status"] not in ("COMPLETED", "ERROR"):
            if time.monotonic() - began > LIMIT_SECONDS:
                raise TimeoutError(f"the wave is {shown['status']}")
            time.sleep(0.1)
        seconds, spent = time.monotonic() - began, self.since(before)
        assert shown["status"] == "COMPLETED", shown
        by_part = {part: round(used / WAVE, 3) for part, used in sorted(spent.items())}
        return {"machines": WAVE, "seconds": round(seconds, 2), "cpu_seconds_for_a_machine": by_part}

    def completed(self, path: str, key: str, began: float) -> float:
        """Wait for the end, which must be COMPLETED; seconds since `began`."""
        status = "status" if key == "execution" else "last_execution_status"
        while (shown := self.user.made("GET", path)[key])[status] not in ENDED:
            if time.monotonic() - began > LIMIT_SECONDS:
                raise TimeoutError(f"{path} is {shown[status]}")
            time.sleep(POLL_SECONDS)
        seconds = round(time.monotonic() - began, 3)
        assert shown[status] == "COMPLETED", shown
        return seconds

    # -- costs -------------------------------------------------------------------------------------------------------

    def processes(self, parts: tuple[str, ...]) -> Processes:
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
        for _ in range(10):
            self.user.made("GET", path)
        count = 30 * self.rounds
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
