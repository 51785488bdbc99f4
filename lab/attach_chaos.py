"""Chaos of container networking: kill its processes at seeded moments of attaching and detaching, count what was left.

    python -m lab.attach_chaos [--cycles 1000] [--seed 1]

Three workers attach and detach through the real CNI executable while `kill -9` hits the network agent, the switch, its
database, Neutron and OVN's controller in turn. Two containers live through all of it and must reach each other at the
end. Then all is detached, the warm ports are let go, and nothing may be left: no port (with its address) in Neutron, no
interface, no row in OVSDB, no record. The report is build/attach-chaos-report.json.
"""

import argparse
import itertools
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.attach_truth import look
from lab.attach_work import AttachWork
from lab.cri_calls import CniCalls, CniRefused, agent_socket
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

REPORT = Path("build/attach-chaos-report.json")
PARTS = ("network-agent", "vswitchd", "ovsdb", "neutron", "ovn-controller")
WORKERS = 3
EMPTY_SECONDS = 240
CYCLES_BETWEEN = (1, 12)
"""So many cycles end between two kills; each kill then hits others that are in the middle."""
PROGRESS_SECONDS = 60
PAUSE_SECONDS = (0.0, 1.0)
WARM_SECONDS = 15


@dataclass
class Kill:
    """One kill: after how many cycles, and how long until all parts ran again, in seconds."""

    part: str
    cycles_done: int
    recovered_after: float


@dataclass
class Report:
    """What came of a run. `left` is what somebody still knew of when nothing was attached any more."""

    seed: int
    cycles: int
    taken: int = 0
    done: int = 0
    seconds: float = 0
    kills: list[Kill] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every cycle ended, nothing was left and those who lived through it are well."""
        return self.done == self.cycles and not (self.left or self.survivors or self.unexpected)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {**asdict(self), "good": self.is_good, "killed": dict(Counter(kill.part for kill in self.kills))}
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def run(cycles: int, seed: int, path: Path = REPORT, *, least_kills: int = 0) -> Report:
    """Start a playground, do `cycles` cycles under kills and return the report, which is also at `path`.

    With `least_kills` the workers go on until so many kills were done; the report then has as many cycles as they did.
    """
    report = Report(seed, cycles)
    with NetworkPlayground(only=("network-agent",)) as playground:
        neutron = playground.cloud("admin").network
        project = playground.cloud("demo").network
        network = project.create_network(name="chaos")
        project.create_subnet(network_id=network.id, cidr="10.66.0.0/24", ip_version=4)
        _let_warm_ports_go_soon(playground)
        calls = CniCalls(playground.host, agent_socket(playground.state_dir), "chaos")
        begun = time.monotonic()
        with _survivors(playground, calls, report):
            _work(playground, calls, random.Random(seed), report, least_kills)
        report.seconds = round(time.monotonic() - begun, 1)
        report.left = _left(playground, neutron)
        report.write(path)
    return report


def _let_warm_ports_go_soon(playground: NetworkPlayground) -> None:
    with (playground.state_dir / "network" / "agent.conf").open("a", encoding="utf-8") as options:
        options.write(f"\n[network_agent]\nwarm_seconds = {WARM_SECONDS}\nrepair_interval = 5\n")
    playground.plane.kill("network-agent")
    playground.plane.wait_ready()


@contextmanager
def _survivors(playground: NetworkPlayground, calls: CniCalls, report: Report) -> Iterator[None]:
    """Have two containers that are attached before all, and judge them after all."""
    host = playground.host
    with calls.namespace("first") as first, calls.namespace("second") as second:
        known = {"first": calls.add("first", first), "second": calls.add("second", second)}
        address = known["second"]["ips"][0]["address"].split("/")[0]
        ping = ("ip", "netns", "exec", "first", "ping", "-c1", "-W1", address)
        wait_for("the survivors reach each other", lambda: host.succeeds(*ping))
        yield
        playground.plane.wait_ready()
        try:
            wait_for("the survivors still reach each other", lambda: host.succeeds(*ping))
        except TimeoutError as error:
            report.survivors.append(str(error))
        for name, netns in (("first", first), ("second", second)):
            try:
                calls.check(name, netns, known[name])
            except CniRefused as error:
                report.survivors.append(str(error))
            calls.delete(name, netns)


def _work(playground: NetworkPlayground, calls: CniCalls, lot: random.Random, report: Report, least_kills: int) -> None:
    taken = itertools.count(1)
    guard = threading.Lock()

    def take() -> bool:
        with guard:
            if len(report.kills) >= least_kills and report.taken >= report.cycles:
                return False
            report.taken = next(taken)
            return True

    works = [
        AttachWork(f"w{number}", playground.host, calls, take, lot.randrange(1 << 30)) for number in range(WORKERS)
    ]
    for work in works:
        work.start()
    try:
        while any(work.is_alive() for work in works):
            _wait_for_progress(works, lot.randint(*CYCLES_BETWEEN))
            time.sleep(lot.uniform(*PAUSE_SECONDS))
            part = PARTS[len(report.kills) % len(PARTS)]
            playground.plane.kill(part)
            begun = time.monotonic()
            playground.plane.wait_ready()
            done = sum(work.done for work in works)
            report.kills.append(Kill(part, done, round(time.monotonic() - begun, 1)))
            print(f"chaos: {done} of {report.cycles} cycles, {len(report.kills)} kills, the last of {part}", flush=True)
    finally:
        for work in works:
            work.join(600)
    report.cycles, report.done = report.taken, sum(work.done for work in works)
    report.answers = dict(sorted(sum((work.answers for work in works), Counter()).items()))
    report.unexpected = [line for work in works for line in work.unexpected]


def _wait_for_progress(works: list[AttachWork], cycles: int) -> None:
    """Return once so many more cycles have ended, or all, or when it takes too long: a kill may be just what is due."""
    wanted = sum(work.done for work in works) + cycles
    deadline = time.monotonic() + PROGRESS_SECONDS
    while time.monotonic() < deadline and any(work.is_alive() for work in works):
        if sum(work.done for work in works) >= wanted:
            return
        time.sleep(0.05)


def _left(playground: NetworkPlayground, neutron: Any) -> list[str]:
    """Wait until nobody knows of anything; return what is still known when the time is over."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while True:
        truth = look(playground.host, playground.state_dir, neutron)
        if not any(truth.counts.values()):
            return []
        if time.monotonic() > deadline:
            known = [f"{who}: {count}" for who, count in truth.counts.items() if count]
            return [*known, *truth.disagreements(), *truth.links, *truth.rows]
        time.sleep(1)


def main() -> int:
    """Run, say in one line how it ended, and return the exit code."""
    parser = argparse.ArgumentParser(prog="lab.attach_chaos", description="Kill what attaching needs, again and again.")
    parser.add_argument("--cycles", type=int, default=1000, help="how often something is attached and detached")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of moments")
    options = parser.parse_args()
    report = run(options.cycles, options.seed)
    print(
        f"chaos: {'passed' if report.is_good else 'FAILED'}: {report.done} cycles, {len(report.kills)} kills in "
        f"{report.seconds:.0f} s; left {len(report.left)}; {report.answers}; see {REPORT}"
    )
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
