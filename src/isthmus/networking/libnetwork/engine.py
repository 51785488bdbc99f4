"""What Docker Engine has, asked of its own API."""

import json
import socket
from collections.abc import Mapping, Set
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from isthmus.control.errors import Unavailable

_API = "/v1.41"
_SECONDS = 10.0


@dataclass(frozen=True)
class Found:
    """What Docker has of one driver: the ids of its networks on this host, and of the endpoints on them."""

    networks: frozenset[str]
    endpoints: frozenset[str]

    def may_be_believed(self, known: Set[str]) -> bool:
        """Return whether an endpoint that is not here is missing. `known`: Docker's networks, by our own records.

        An engine that has none of them is another one, was wiped, or is still starting: it knows nothing of the rest.
        """
        return not known or bool(known & self.networks)


class Engine:
    """Docker on this host, by its socket. Never asked while it waits for an answer of ours: it may hold its locks."""

    def __init__(self, path: Path, driver: str) -> None:
        self._path = path
        self._driver = driver

    def look(self) -> Found:
        """Return the driver's networks and the endpoints on them; `Unavailable` if not all could be read."""
        networks = self._networks()
        endpoints: set[str] = set()
        for network in networks:
            inside = self._get(f"/networks/{quote(network)}").get("Containers") or {}
            endpoints.update(str(each["EndpointID"]) for each in inside.values())
        return Found(frozenset(networks), frozenset(endpoints))

    def _networks(self) -> list[str]:
        # Docker's own filter by driver wants the whole name, which of a managed plug-in has a tag: isthmus:latest.
        return [str(each["Id"]) for each in self._get("/networks") if self._is_ours(str(each["Driver"]))]

    def _is_ours(self, driver: str) -> bool:
        return driver == self._driver or driver.startswith(f"{self._driver}:")

    def _get(self, path: str) -> Any:
        connection = _UnixConnection(str(self._path))
        try:
            connection.request("GET", _API + path, headers={"Host": "docker"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise Unavailable(f"Docker answered {answer.status} to {path}; try again")
            return json.loads(body)
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(f"Docker does not answer on {self._path} ({type(error).__name__})") from None
        finally:
            connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self._path)


def missing_too_long(
    now: float, present: frozenset[str], held: Mapping[str, float], patience: float
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return since when each held id is missing (`held`: {id: since when, infinity if it is not}), and which too long.

    Pure: what was there a moment ago may only be in motion, so an id is judged by how long it was missed.
    """
    since = {each: now if was == float("inf") else was for each, was in held.items() if each not in present}
    return since, tuple(sorted(each for each, was in since.items() if now - was >= patience))
