"""`isthmus api` as a process of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ISTHMUS = str(Path(sys.executable).parent / "isthmus")


def _configure(folder: Path, host: str = "127.0.0.1", more: str = "") -> tuple[Path, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = folder / "isthmus.conf"
    file.write_text(
        f"[api]\nauth_strategy = noauth\nhost = {host}\nport = {port}\n{more}\n"
        f"[database]\nconnection = sqlite:///{folder}/isthmus.sqlite\n"
    )
    return file, port


@contextmanager
def serving(folder: Path, more: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the API and yield its process and its port once it says that it is ready; `more` are options of [api]."""
    file, port = _configure(folder, more=more)
    subprocess.run([ISTHMUS, "db", "upgrade", "--config-file", str(file)], check=True, timeout=120)
    ready = folder / "ready"
    process = subprocess.Popen(
        [ISTHMUS, "api", "--config-file", str(file)], env={**os.environ, "ISTHMUS_READY_FILE": str(ready)}
    )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, port
    finally:
        process.kill()
        process.wait()


def test_it_says_when_it_is_ready_and_stops_when_told(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, port):
        for path in ("/", "/healthcheck", "/v1/endpoints", "/v1/any/transfers"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_connection_that_was_idle_is_still_there(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.connect()
        first = connection.sock
        for pause in (0, 4):  # gunicorn keeps one for two seconds by itself
            time.sleep(pause)
            connection.request("GET", "/healthcheck")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            # http.client opens another one where the server has closed it, and nobody would know.
            assert connection.sock is first
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_noauth_is_refused_where_others_can_call(tmp_path: Path, host: str) -> None:
    file, _ = _configure(tmp_path, host)
    done = subprocess.run(
        [ISTHMUS, "api", "--config-file", str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "noauth" in done.stdout + done.stderr


def status_and_body(port: int, path: str) -> tuple[int, bytes]:
    """Return what a GET answers, whatever it is."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


SHARES, MIGRATION, PAGE = "/share/v2/shares", "/v1/endpoints", "/ui/"


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("serves", "here", "elsewhere"),
    [
        ("shares", [SHARES], [MIGRATION, PAGE, "/"]),
        ("migration", [MIGRATION, PAGE, "/"], [SHARES]),
        ("shares,migration", [SHARES, MIGRATION, PAGE, "/"], []),
    ],
)
def test_only_what_is_named_is_served(
    tmp_path: Path, serves: str, here: list[str], elsewhere: list[str], processes: int
) -> None:
    with serving(tmp_path, f"serves = {serves}\nprocesses = {processes}") as (_, port):
        for path in ["/healthcheck", *here]:
            assert status_and_body(port, path)[0] == 200, path
        for path in elsewhere:
            status, body = status_and_body(port, path)
            assert (status, json.loads(body)["error"]["fault"]) == (404, "itemNotFound")
            assert path in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(("serves", "complaint"), [("", "names no service"), ("shares,mail", "mail")])
def test_an_api_that_would_serve_nothing_or_something_unknown_does_not_start(
    tmp_path: Path, serves: str, complaint: str
) -> None:
    file, _ = _configure(tmp_path, more=f"serves = {serves}")
    done = subprocess.run(
        [ISTHMUS, "api", "--config-file", str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr
