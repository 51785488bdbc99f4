"""Containers on Neutron beside Docker's bridge and kuryr-libnetwork itself: `python -m benchmarks.containers`.

One Docker, one Neutron, one OVN; the drivers take turns in every round, and medians count. Ratios are steadier than
times on a busy machine. A call of Neutron is a connection to it, as it closes each after its answer; what is asked
while nothing happens is measured and subtracted. With Neutron stopped a container shows that it needs no call.
Writes build/bench/containers.json.
"""

import argparse
import json
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from benchmarks import containers_sandboxes
from lab.docker_kuryr import kuryr
from lab.docker_networks import DockerNetworks, docker_networks
from lab.network_playground import NetworkPlayground

RESULT = Path("build/bench/containers.json")
SETTLE = 12.0
NETWORKS = {"bridge": "bench-br", "isthmus": "bench-is", "kuryr": "bench-ku"}
GOALS = {"run": 1.5, "connect": 2.0}

Times = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5, help="of each transfer")
    wanted = parser.parse_args()
    with (
        NetworkPlayground(only=("network-agent",)) as playground,
        docker_networks(playground) as networks,
        kuryr(playground) as peer,
    ):
        make_networks(networks)
        result = Bench(playground, networks, peer).measure(wanted.rounds, wanted.seconds)
        result["sandboxes through CNI"] = containers_sandboxes.measure(playground, max(wanted.rounds // 2, 1))
        networks.clean()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def make_networks(networks: DockerNetworks) -> None:
    """Make one network of each driver."""
    networks.docker.run("network", "create", "-d", "bridge", NETWORKS["bridge"])
    networks.networks.append(NETWORKS["bridge"])
    networks.make(NETWORKS["isthmus"], "10.80.0.0/24")
    line = ("network", "create", "-d", "kuryr", "--ipam-driver", "kuryr", "--subnet", "10.81.0.0/24")
    networks.docker.run(*line, "--gateway", "10.81.0.1", NETWORKS["kuryr"])
    networks.networks.append(NETWORKS["kuryr"])


class Calls:
    """Counts connections to Neutron by a rule of the host's packet filter."""

    def __init__(self, playground: NetworkPlayground) -> None:
        self._host = playground.host
        port = str(playground.plane.parts()["neutron"]["address"]).rsplit(":", 1)[1].split("/")[0]
        self._rule = ("-p", "tcp", "--dport", port, "--syn", "-m", "comment", "--comment", "calls")
        self._host.run("iptables", "-I", "INPUT", *self._rule)

    def now(self) -> int:
        """Return how many there were."""
        rows = self._host.run("iptables", "-L", "INPUT", "-n", "-v", "-x").splitlines()
        return int(next(row.split()[0] for row in rows if "calls" in row))


class Bench:
    """One run."""

    def __init__(self, playground: NetworkPlayground, networks: DockerNetworks, peer: int) -> None:
        self._playground = playground
        self._networks = networks
        self._peer = peer
        self._calls = Calls(playground)

    def measure(self, rounds: int, seconds: int) -> dict[str, Any]:
        """Return all figures."""
        self._warm()
        times: Times = {what: {name: [] for name in NETWORKS} for what in ("run", "rm", "connect", "disconnect")}
        for number in range(rounds):
            for name in NETWORKS:
                self._round(times, name, number)
        medians = {what: {name: statistics.median(found) for name, found in of.items()} for what, of in times.items()}
        ratios = {
            what: {name: round(of[name] / of["bridge"], 2) for name in ("isthmus", "kuryr")}
            for what, of in medians.items()
        }
        return {
            "rounds": rounds,
            "seconds, median": {
                what: {name: round(value, 3) for name, value in of.items()} for what, of in medians.items()
            },
            "over bridge": ratios,
            "goals": {what: {"goal": goal, "met": ratios[what]["isthmus"] <= goal} for what, goal in GOALS.items()},
            "neutron calls for run and rm": {name: self._calls_of(name) for name in ("isthmus", "kuryr")},
            "run with neutron stopped": self._without_neutron(),
            "memory pss, MiB": self._memory(),
            "path": self._path(seconds),
        }

    def _warm(self) -> None:
        for name, network in NETWORKS.items():
            self._networks.start(f"warm-{name}", network)
            self._networks.remove(f"warm-{name}")
        time.sleep(SETTLE)

    def _round(self, times: Times, name: str, number: int) -> None:
        docker, network = self._networks.docker, NETWORKS[name]
        container = f"b{number}-{name}"
        times["run"][name].append(timed(lambda: self._networks.start(container, network)))
        times["rm"][name].append(timed(lambda: self._networks.remove(container)))
        self._networks.start(container, "none")
        docker.run("network", "disconnect", "none", container)
        times["connect"][name].append(timed(lambda: docker.run("network", "connect", network, container)))
        times["disconnect"][name].append(timed(lambda: docker.run("network", "disconnect", network, container)))
        self._networks.remove(container)
        # What is done behind (names, warm ports) would else be done in another driver's turn.
        time.sleep(2)

    def _calls_of(self, name: str, runs: int = 8) -> float:
        time.sleep(SETTLE)
        idle_start, start = self._calls.now(), time.monotonic()
        time.sleep(30)
        idle_rate = (self._calls.now() - idle_start) / (time.monotonic() - start)
        before, start = self._calls.now(), time.monotonic()
        for number in range(runs):
            self._networks.start(f"calls{number}", NETWORKS[name])
            self._networks.remove(f"calls{number}")
        time.sleep(SETTLE)
        idle = idle_rate * (time.monotonic() - start)
        return round((self._calls.now() - before - idle) / runs, 1)

    def _without_neutron(self) -> dict[str, Any]:
        plane = self._playground.plane
        processes = [psutil.Process(plane.pid("neutron"))]
        processes += processes[0].children(recursive=True)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            taken = timed(lambda: self._networks.start("quiet", NETWORKS["isthmus"]))
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)
        self._networks.remove("quiet")
        return {"started": True, "seconds": round(taken, 2)}

    def _memory(self) -> dict[str, float]:
        agent = psutil.Process(self._playground.plane.pid("network-agent"))
        return {"isthmus": pss(agent), "kuryr": pss(psutil.Process(self._peer))}

    def _path(self, seconds: int, rounds: int = 3) -> dict[str, Any]:
        for name, network in NETWORKS.items():
            for side in ("client", "server"):
                self._networks.start(f"{side}-{name}", network)
            self._networks.wait_ping(f"client-{name}", self._networks.address(f"server-{name}", network))
            self._networks.docker.run("exec", "-d", f"server-{name}", "iperf3", "-s")
        found: Times = {what: {name: [] for name in NETWORKS} for what in ("tcp Gbit/s", "udp Gbit/s", "ping ms")}
        for _ in range(rounds):
            for name, network in NETWORKS.items():
                server = self._networks.address(f"server-{name}", network)
                found["tcp Gbit/s"][name].append(self._transfer(name, server, seconds))
                found["udp Gbit/s"][name].append(self._transfer(name, server, seconds, "-u", "-b", "0"))
                found["ping ms"][name].append(self._latency(name, server))
        return {
            what: {name: round(statistics.median(of), 3) for name, of in each.items()} for what, each in found.items()
        }

    def _transfer(self, name: str, server: str, seconds: int, *words: str) -> float:
        line = ("exec", f"client-{name}", "iperf3", "-c", server, "-t", str(seconds), "-J", *words)
        end = json.loads(self._networks.docker.run(*line))["end"]
        summary = end.get("sum_received") or end["sum"]
        return float(summary["bits_per_second"]) * (1 - float(summary.get("lost_percent", 0)) / 100) / 1e9

    def _latency(self, name: str, server: str) -> float:
        said = self._networks.execute(f"client-{name}", "ping", "-c", "20", "-i", "0.1", server)
        return float(said.rsplit(" = ", 1)[1].split("/")[1])


def timed(act: Callable[[], object]) -> float:
    """Return how many seconds an act takes."""
    start = time.monotonic()
    act()
    return time.monotonic() - start


def pss(process: psutil.Process) -> float:
    """Return a process's proportional memory with its children's, in MiB."""
    every = [process, *process.children(recursive=True)]
    return round(sum(each.memory_full_info().pss for each in every) / (1 << 20), 1)


if __name__ == "__main__":
    main()
