"""One contender of `benchmarks.shares`: its processes, and what a load on its API costs it."""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
from benchmarks.shares_costs import cpu_seconds, difference, memory_mib
from benchmarks.shares_load import Load, Service, for_a_while, this_often
from conformance.cloud import Cloud


class Side(Protocol):
    """One contender, running."""

    name: str

    @property
    def cloud(self) -> Cloud:
        """Its administrator."""

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return all its processes by program."""


@dataclass(frozen=True)
class Contender:
    """A side and the client that speaks to it."""

    side: Side
    service: Service

    def loaded(self, load: Callable[[], Load]) -> dict[str, Any]:
        """Return the figures of a load, with the CPU of the whole side."""
        before = cpu_seconds(self.side.processes)
        done = load()
        used = difference(before, cpu_seconds(self.side.processes))
        count = len(done.latencies)
        return {
            "requests": count,
            "rate": round(done.rate, 2),
            "p50_ms": round(done.percentile(0.5) * 1000, 2),
            "p95_ms": round(done.percentile(0.95) * 1000, 2),
            "cpu_ms": round(sum(used.values()) / count * 1000, 3),
            "cpu_ms_by_program": {program: round(seconds / count * 1000, 3) for program, seconds in used.items()},
        }

    def side_figures(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Return the memory at rest and the costs of making shares: many at once, then one at a time."""
        figures: dict[str, Any] = {"memory_mib_idle": memory_mib(self.side.processes)}
        figures["created by 8"] = self.creation(arguments.shares)
        figures["one at a time"] = self.lives(arguments.cycles)
        return figures

    def creation(self, count: int) -> dict[str, Any]:
        """Let eight clients make shares and wait until all are available; CPU is for the whole of that."""
        began = time.monotonic()

        def load() -> Load:
            accepted = this_often(count, 8, lambda number: void(self.service.create(f"bench-{number}")))
            self.service.await_none("creating")
            return accepted

        figures = self.loaded(load)
        failed = len(self.service.read("/shares?limit=1000&status=error")["shares"])
        return figures | {
            "until_available_rate": round(count / (time.monotonic() - began), 2),
            "failed": failed,
            "answered_500": len(self.service.faults),
        }

    def lives(self, count: int) -> dict[str, Any]:
        """Make and delete shares one at a time; p50 in ms from the request to each mark."""
        accepted, available, gone = [], [], []
        for number in range(count):
            began = time.perf_counter()
            share_id = self.service.create(f"life-{number}")
            accepted.append(time.perf_counter() - began)
            self.service.await_status(share_id, "available")
            available.append(time.perf_counter() - began)
            began = time.perf_counter()
            self.service.delete(share_id)
            self.service.await_gone(share_id)
            gone.append(time.perf_counter() - began)
        marks = {"accepted": accepted, "available": available, "deleted": gone}
        return {f"{mark}_p50_ms": round(statistics.median(times) * 1000, 1) for mark, times in marks.items()}

    def deletion(self, count: int) -> dict[str, Any]:
        """Let eight clients delete shares and wait until they are gone; CPU is for the whole of that."""
        ids = self.service.share_ids()[:count]

        def load() -> Load:
            asked = this_often(len(ids), 8, lambda number: self.service.delete(ids[number]))
            self.service.await_none("deleting")
            return asked

        return self.loaded(load)


def void(_: object) -> None:
    """Forget an answer."""


def reads_of(ids: list[str]) -> dict[str, Callable[[int], str]]:
    """Return the kinds of request, each as a path made from a number."""
    return {
        "shares/detail?limit=1000": lambda _: "/shares/detail?limit=1000",
        "shares/detail?limit=50": lambda _: "/shares/detail?limit=50",
        "shares?limit=1000": lambda _: "/shares?limit=1000",
        "one share": lambda number: f"/shares/{ids[number % len(ids)]}",
        "export locations": lambda number: f"/shares/{ids[number % len(ids)]}/export_locations",
        "types": lambda _: "/types",
    }


def reading(contender: Contender, path: Callable[[int], str], seconds: float, clients: int) -> dict[str, Any]:
    """Return the figures of GETs for a while; RuntimeError if one is answered by anything but 200."""

    def get(number: int) -> None:
        status, text = contender.service.call("GET", path(number))
        if status != 200:
            raise RuntimeError(f"GET {path(number)} answered {status}: {text[:300]!r}")

    return contender.loaded(lambda: for_a_while(seconds, clients, get))
