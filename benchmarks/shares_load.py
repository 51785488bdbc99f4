"""Load on a Manila API: a closed loop of clients that keep their connections, and the lives of shares."""

import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conformance.cloud import SHARE_TYPE, VERSION, Cloud, client

WAIT_SECONDS = 1200.0
MOST_TRIES = 5
"""Of a creation that is answered with 500, as Manila's is now and then when eight clients create at once."""


class Service:
    """One shares service, spoken to over plain sockets: the client's own cost stays small beside the server's.

    `faults` are the answers with 500 to creations, which were asked for again.
    """

    def __init__(self, cloud: Cloud) -> None:
        rest = client(cloud)
        where = urllib.parse.urlparse(rest.get_endpoint())
        self._address = where.hostname, where.port
        self._prefix = where.path
        self._headers = {
            "X-Auth-Token": rest.get_token(),
            "X-OpenStack-Manila-API-Version": VERSION,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._local = threading.local()
        self.faults: list[str] = []

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Return status and body. A connection that the server closed between two calls is opened again."""
        text = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = http.client.HTTPConnection(*self._address, timeout=120)
            try:
                connection.request(method, self._prefix + path, text, self._headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError):
                self._local.connection = None
                if attempt == 2:
                    raise
        raise AssertionError

    def read(self, path: str) -> Any:
        """Return what a GET answers; RuntimeError on anything but 200."""
        status, text = self.call("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path} answered {status}: {text[:300]!r}")
        return json.loads(text)

    def create(self, name: str) -> str:
        """Ask for a share of 1 GiB and return its id; RuntimeError when it is refused."""
        wanted = {"share_proto": "NFS", "size": 1, "name": name, "share_type": SHARE_TYPE, "metadata": {"k": "v"}}
        for _ in range(MOST_TRIES):
            status, text = self.call("POST", "/shares", {"share": wanted})
            if status != 500:
                break
            self.faults.append(text.decode(errors="replace"))
        if status not in (200, 202):
            raise RuntimeError(f"POST /shares answered {status}: {text[:300]!r}")
        return str(json.loads(text)["share"]["id"])

    def delete(self, share_id: str) -> None:
        """Ask for a share's end; RuntimeError when it is refused."""
        status, text = self.call("DELETE", f"/shares/{share_id}")
        if status != 202:
            raise RuntimeError(f"DELETE /shares/{share_id} answered {status}: {text[:300]!r}")

    def share_ids(self) -> list[str]:
        """Return the ids of the project's shares, at most 1,000."""
        return [share["id"] for share in self.read("/shares?limit=1000")["shares"]]

    def await_none(self, status: str) -> None:
        """Wait until no share is in a status; TimeoutError after 20 minutes."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.read(f"/shares?limit=1&status={status}")["shares"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"shares are still {status} after {WAIT_SECONDS:.0f} s")
            time.sleep(0.5)

    def await_status(self, share_id: str, wanted: str) -> None:
        """Wait until a share has a status; RuntimeError when it has ended in another one."""
        while (status := self.read(f"/shares/{share_id}")["share"]["status"]) != wanted:
            if "error" in status:
                raise RuntimeError(f"share {share_id} ended in {status}")
            time.sleep(0.02)

    def await_gone(self, share_id: str) -> None:
        """Wait until a share is not found any more."""
        while (status := self.call("GET", f"/shares/{share_id}")[0]) != 404:
            if status != 200:
                raise RuntimeError(f"GET /shares/{share_id} answered {status}")
            time.sleep(0.02)


@dataclass(frozen=True)
class Load:
    """What some clients did for a while: seconds of each request, and of it all."""

    latencies: tuple[float, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency, in seconds, that this share of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def for_a_while(seconds: float, clients: int, request: Callable[[int], None]) -> Load:
    """Let `clients` repeat a request, each told how often it was asked for; at least once each."""

    def numbers(first: int, until: float) -> Iterator[int]:
        number = first
        while number == first or time.monotonic() < until:
            yield number
            number += clients

    return _together(clients, lambda first: numbers(first, time.monotonic() + seconds), request)


def this_often(count: int, clients: int, request: Callable[[int], None]) -> Load:
    """Let `clients` share `count` requests, numbered from 0."""
    return _together(clients, lambda first: iter(range(first, count, clients)), request)


def _together(clients: int, numbers: Callable[[int], Iterator[int]], request: Callable[[int], None]) -> Load:
    latencies: list[float] = []
    failures: list[BaseException] = []

    def repeat(first: int) -> None:
        try:
            for number in numbers(first):
                with _timed(latencies):
                    request(number)
        except Exception as error:  # noqa: BLE001 - it is raised below, in the caller's thread
            failures.append(error)

    began = time.monotonic()
    threads = [threading.Thread(target=repeat, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Load(tuple(latencies), time.monotonic() - began)


@contextmanager
def _timed(latencies: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    latencies.append(time.perf_counter() - began)
