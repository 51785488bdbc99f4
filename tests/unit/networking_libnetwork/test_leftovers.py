"""What the sweep asks of Docker's API, and what it lets be: a socket that answers as Docker 20.10 does."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from isthmus.networking.libnetwork.engine import Engine, Found, missing_too_long


class _Docker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, _Answer)
        self.networks: dict[str, dict[str, Any]] = {}


class _Answer(BaseHTTPRequestHandler):
    server: _Docker

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        kind, _, network = url.path.removeprefix("/v1.41/").partition("/")
        assert kind == "networks"
        if network:
            found: Any = self.server.networks[network]
        else:
            filters = json.loads(parse_qs(url.query).get("filters", ["{}"])[0])
            drivers = filters.get("driver")
            # Docker's filter `driver` is an exact match, and its list has no containers.
            found = [
                {key: value for key, value in each.items() if key != "Containers"}
                for each in self.server.networks.values()
                if drivers is None or each["Driver"] in drivers
            ]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return

    def address_string(self) -> str:
        return "docker"


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[_Docker]:
    server = _Docker(str(tmp_path / "docker.sock"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def add(docker: _Docker, network: str, driver: str, *endpoints: str) -> None:
    inside = {f"container-{each}": {"EndpointID": each} for each in endpoints}
    docker.networks[network] = {"Id": network, "Driver": driver, "Containers": inside}


def test_networks_of_the_plugin_by_every_name_that_docker_has_for_it_are_seen(docker: _Docker, tmp_path: Path) -> None:
    add(docker, "plain", "isthmus", "one")
    add(docker, "managed", "isthmus:latest", "two")
    add(docker, "older", "isthmus:1.0", "three", "four")
    add(docker, "bridge", "bridge", "five")
    add(docker, "alike", "isthmus2:latest", "six")

    found = Engine(tmp_path / "docker.sock", "isthmus").look()

    assert found == Found(frozenset({"plain", "managed", "older"}), frozenset({"one", "two", "three", "four"}))


def test_an_engine_that_shows_none_of_the_known_networks_is_not_believed() -> None:
    assert not Found(frozenset(), frozenset()).may_be_believed(frozenset({"blue"}))
    assert not Found(frozenset({"green"}), frozenset()).may_be_believed(frozenset({"blue"}))


def test_an_engine_that_shows_one_of_the_known_networks_or_where_none_is_known_is_believed() -> None:
    assert Found(frozenset({"blue"}), frozenset()).may_be_believed(frozenset({"blue", "green"}))
    assert Found(frozenset(), frozenset()).may_be_believed(frozenset())
    assert missing_too_long(500.0, frozenset(), {"e": 0.0}, 120.0)[1] == ("e",)
