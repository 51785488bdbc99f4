"""The shares service beside Manila itself, in the same run: `python -m benchmarks.shares`, build/bench/shares.json.

Both have dummy back ends that take no time, a MariaDB and a Keystone of their own started in the same way, and the
same client. By turns each is loaded while the other idles; medians of all rounds count. "CPU" is that of all server
processes (database, identity and message broker too) for one request; it is steadier than times on a busy machine.
Then Isthmus alone: with up to 100,000 shares, put into its database by SQL, and how soon it works again after its
share manager was killed.

Manila wants the packages of packaging/manila-peer.debian.txt; its Python packages are installed below build/.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from benchmarks.manila_peer.peer import ManilaPeer, plane_processes
from benchmarks.shares_contender import Contender, Side, reading, reads_of
from benchmarks.shares_costs import memory_mib
from benchmarks.shares_load import Service
from benchmarks.shares_rows import fill
from conformance.back_ends import OPTION, configuration
from conformance.cloud import SHARE_TYPE, Cloud, client, cloud_of, prepare
from conformance.tempest_conf import BACK_ENDS
from lab.control_plane import ControlPlane

RESULT = Path("build/bench/shares.json")
CLIENTS = (1, 8)
MANAGER = "share-manager"
COUNTED = {
    "isthmus": ("api", MANAGER),
    "manila": ("manila-api", "manila-scheduler", "manila-share", "manila-data", "rabbitmq"),
}
"""The programs whose memory is compared: all but the database, identity and what serves no share."""
GOALS = {
    "cpu shares/detail?limit=1000": 1 / 20,
    "cpu shares/detail?limit=50": 1 / 10,
    "cpu one share": 1 / 6,
    "cpu whole life of a share until available": 1 / 4,
    "memory pss": 1 / 6,
    "ready seconds with 10,000 shares": 5.0,
}


class Isthmus:
    """The control plane as `isthmus up` starts it, without the parts that only migrations use."""

    name = "isthmus"

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    @property
    def cloud(self) -> Cloud:
        """Its administrator."""
        return cloud_of(self.plane.admin_environment, "shared-file-system")

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return all parts' processes."""
        return plane_processes(self.plane, tuple(self.plane.parts()))


def main() -> None:
    """Measure, write the report, print it."""
    arguments = parse()
    with ExitStack() as running:
        report = measure(arguments, [running.enter_context(STARTS[name]()) for name in arguments.sides])
    text = json.dumps(report, indent=2)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text + "\n")
    print(text)


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=lambda text: text.split(","), default=["isthmus", "manila"])
    parser.add_argument("--shares", type=int, default=1000, help="shares that each side makes (%(default)s)")
    parser.add_argument("--cycles", type=int, default=20, help="shares made and deleted one at a time (%(default)s)")
    parser.add_argument("--deleted", type=int, default=200, help="shares deleted by eight clients (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each kind of load in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--totals", type=numbers, default=(100, 1000, 10_000, 100_000), help="shares for Isthmus alone")
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    """Parse `100,1000`."""
    return tuple(int(number) for number in text.split(","))


@contextmanager
def run_isthmus() -> Iterator[Isthmus]:
    """Start a control plane whose back ends take no time and whose API serves shares alone; end it afterwards."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(configuration(delay=0, migration_delay=0) + "[api]\nserves = shares\n")
        file.flush()
        with ControlPlane(only=("keystone", "api", MANAGER), options=(OPTION, file.name)) as plane:
            yield Isthmus(plane)


STARTS: dict[str, Callable[[], Any]] = {"isthmus": run_isthmus, "manila": lambda: ManilaPeer(delay=0)}


def measure(arguments: argparse.Namespace, sides: list[Side]) -> dict[str, Any]:
    """All figures of all sides, their ratios, and what is measured of Isthmus alone."""
    report: dict[str, Any] = {"cores": os.cpu_count(), "load_average_before": os.getloadavg()[0], "goals": GOALS}
    contenders = [Contender(side, Service(side.cloud)) for side in sides]
    for contender in contenders:
        complaints = prepare(contender.side.cloud, pools=len(BACK_ENDS))
        if complaints:
            raise RuntimeError(f"{contender.side.name} is not ready: {'; '.join(complaints)}")
    figures = {contender.side.name: contender.side_figures(arguments) for contender in contenders}
    reads = read_figures(contenders, arguments)
    for contender in contenders:
        name = contender.side.name
        figures[name]["reads"] = reads[name]
        figures[name]["memory_mib"] = memory_mib(contender.side.processes)
        figures[name]["deleted by 8"] = contender.deletion(arguments.deleted)
    report["sides"] = figures
    if len(contenders) > 1:
        report["isthmus_over_manila"] = ratios(figures)
    for side in sides:
        if isinstance(side, Isthmus):
            report["isthmus_alone"] = alone(side, arguments)
    return report


# -- both sides --------------------------------------------------------------------------------------------------------


def read_figures(contenders: list[Contender], arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return, for each side, the figures of each kind of request at each number of clients."""
    paths = {contender.side.name: reads_of(contender.service.share_ids()) for contender in contenders}
    found: dict[str, dict[str, Any]] = {contender.side.name: {} for contender in contenders}
    for kind in next(iter(paths.values())):
        for clients in CLIENTS:
            rounds: dict[str, list[dict[str, Any]]] = {contender.side.name: [] for contender in contenders}
            for number in range(arguments.rounds):
                turn = contenders if number % 2 == 0 else contenders[::-1]
                for contender in turn:
                    path = paths[contender.side.name][kind]
                    rounds[contender.side.name].append(reading(contender, path, arguments.seconds, clients))
            for name, figures in rounds.items():
                found[name][f"{kind}, {clients} clients"] = medians(figures)
    return found


def medians(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Return the median of each figure over the rounds."""
    return {name: round(statistics.median(figures[name] for figures in rounds), 3) for name in _MEDIAN_OF}


_MEDIAN_OF = ("requests", "rate", "p50_ms", "p95_ms", "cpu_ms")


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """Return Isthmus's figures over Manila's: below 1 is better, but for rates."""
    ours, theirs = figures["isthmus"], figures["manila"]
    found = {}
    for kind in ours["reads"]:
        for what in ("cpu_ms", "p50_ms", "rate"):
            found[f"{what} {kind}"] = over(ours["reads"][kind][what], theirs["reads"][kind][what])
    for kind in ("created by 8", "deleted by 8"):
        found[f"cpu_ms {kind}"] = over(ours[kind]["cpu_ms"], theirs[kind]["cpu_ms"])
    for mark, value in ours["one at a time"].items():
        found[mark] = over(value, theirs["one at a time"][mark])
    for what in ("rss", "pss"):
        sums = [sum(figures[name]["memory_mib"][part][what] for part in COUNTED[name]) for name in COUNTED]
        found[f"memory {what}"] = over(*sums)
    return found


def over(ours: float, theirs: float) -> float:
    """Return a quotient of three digits."""
    return round(ours / theirs, 4)


# -- Isthmus alone -----------------------------------------------------------------------------------------------------


def alone(side: Isthmus, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the costs at each number of shares, and how soon it works again after a kill."""
    contender = Contender(side, Service(side.cloud))
    session = client(side.cloud).session
    project, user = session.get_project_id(), session.get_user_id()
    found: dict[str, Any] = {}
    for total in arguments.totals:
        fill(side.plane.configuration, project, user, total, SHARE_TYPE)
        paths = reads_of(contender.service.share_ids())
        rows = {kind: reading(contender, paths[kind], arguments.seconds, 1) for kind in paths if kind != "types"}
        rows["last page of 50"] = reading(contender, last_page(total), arguments.seconds, 1)
        found[f"{total} shares"] = {kind: {what: row[what] for what in _MEDIAN_OF} for kind, row in rows.items()} | {
            "ready": restart(contender)
        }
    return found


def last_page(total: int) -> Callable[[int], str]:
    """Return the path of the page that has all others before it."""
    return lambda _: f"/shares/detail?limit=50&offset={total - 50}"


def restart(contender: Contender) -> dict[str, float]:
    """Kill the share manager; seconds until its successor is ready, and until a share asked for then is available."""
    side = contender.side
    assert isinstance(side, Isthmus)
    began = time.monotonic()
    side.plane.kill(MANAGER)
    side.plane.wait_ready()
    ready = time.monotonic() - began
    share_id = contender.service.create("after the restart")
    contender.service.await_status(share_id, "available")
    working = time.monotonic() - began
    contender.service.delete(share_id)
    contender.service.await_gone(share_id)
    return {"ready_seconds": round(ready, 2), "share_available_seconds": round(working, 2)}


if __name__ == "__main__":
    main()
