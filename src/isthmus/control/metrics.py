"""Prometheus metrics of one service, at `/metrics` of a listener of its own; off without `[telemetry] metrics_port`.

The API may be several processes. Each keeps its counts in files of one directory, and the process that starts them
serves the sum: prometheus_client's multiprocess mode, which it chooses by an environment variable when it is first
imported, so `share_between_processes` comes before anything of it. The other services are one process each.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from oslo_config.cfg import ConfigOpts

from isthmus.control import scratch

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def is_on(conf: ConfigOpts) -> bool:
    """Return whether this service shows metrics."""
    return bool(conf.telemetry.metrics_port)


def share_between_processes() -> None:
    """Have this process's children count in one directory, which is gone with it."""
    if DIRECTORY not in os.environ:
        os.environ[DIRECTORY] = str(scratch.make("metrics"))


def listen(conf: ConfigOpts, *collectors: Any) -> None:
    """Serve `/metrics` from a thread, if it is on; `collectors` are asked at each look. OSError for a taken port."""
    if not is_on(conf):
        return
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server  # noqa: PLC0415 - see the module
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    registry = REGISTRY
    if DIRECTORY in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for collector in collectors:
        registry.register(collector)
    start_http_server(conf.telemetry.metrics_port, conf.telemetry.metrics_host, registry)


def forget_process(pid: int) -> None:
    """A process of the API has ended: what it measured at the moment is no more, what it counted stays."""
    if DIRECTORY in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see the module

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


class Work:
    """Counts pieces of work of one kind (steps, jobs), by name and outcome, with how long they took."""

    def __init__(self, prefix: str, what: str) -> None:
        from prometheus_client import Counter, Gauge, Histogram  # noqa: PLC0415 - see the module

        labels = ("name",)
        self._ended = Counter(f"isthmus_{prefix}", f"{what} that ended, by outcome.", (*labels, "outcome"))
        self._seconds = Histogram(
            f"isthmus_{prefix}_seconds", f"How long {what} took.", labels, buckets=(0.1, 0.5, 1, 5, 30, 120, 600, 3600)
        )
        self._running = Gauge(f"isthmus_{prefix}_running", f"{what} under way.", multiprocess_mode="livesum")

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Count what happens inside; an error is the outcome `error` and goes on."""
        began = time.monotonic()
        self._running.inc()
        outcome = "error"
        try:
            yield
            outcome = "ok"
        finally:
            self._running.dec()
            self._ended.labels(name, outcome).inc()
            self._seconds.labels(name).observe(time.monotonic() - began)


def metered(application: Wsgi, services: dict[str, str]) -> Wsgi:
    """Return the application with its calls counted, by service, method and status. No path: it holds ids."""
    from prometheus_client import Counter, Histogram  # noqa: PLC0415 - see the module

    labels = ("service", "method")
    calls = Counter("isthmus_api_requests", "Calls of the APIs.", (*labels, "status"))
    seconds = Histogram("isthmus_api_request_seconds", "How long calls took until their answer began.", labels)
    ordered = sorted(services, key=len, reverse=True)
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        began = time.monotonic()
        path = environ.get("PATH_INFO", "")
        service = next((services[each] for each in ordered if path.startswith(each)), "other")
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in methods else "other"

        def keep(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
            calls.labels(service, method, status.split(maxsplit=1)[0]).inc()
            seconds.labels(service, method).observe(time.monotonic() - began)
            return start_response(status, headers, *exception)

        return application(environ, keep)

    return answer
