"""The executable, built and run: what it sends, what it makes of every kind of agent, and what it never does."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXECUTABLE = Path(sys.executable).with_name("isthmus-cni")
LIMIT_SECONDS = 60
LOAD, INTERPRETER = 1, 3  # kinds of ELF program headers
ADD = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": "/run/netns/x", "CNI_IFNAME": "eth0"}


def call(environment: dict[str, str], stdin: bytes | str) -> tuple[int, bytes]:
    """Run the executable; return its exit code and what it printed."""
    done = subprocess.run(
        [str(EXECUTABLE)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        env=environment,
        stdout=subprocess.PIPE,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def failed(environment: dict[str, str], stdin: bytes | str) -> dict[str, Any]:
    code, said = call(environment, stdin)
    assert code == 1
    error: dict[str, Any] = json.loads(said)
    assert {"cniVersion", "code", "msg"} <= set(error)
    return error


@contextlib.contextmanager
def agent(path: Path, answer: bytes, *, reads: bool = True) -> Iterator[list[bytes]]:
    """Serve one call on a socket: take the request, send exactly these bytes, hang up."""
    requests: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            if reads:
                requests.append(_request(connection))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have heard enough
                connection.sendall(answer)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield requests
    finally:
        server.join(LIMIT_SECONDS)
        listener.close()


def _request(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = next(line for line in head.splitlines() if line.lower().startswith(b"content-length:"))
        return stream.read(int(length.split(b":")[1]))


def configuration(path: Path, **keys: Any) -> str:
    return json.dumps({"cniVersion": "1.0.0", "name": "blue", "agentSocket": str(path), **keys})


def http(status: str, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nServer: x\r\ncontent-LENGTH: %d\r\n\r\n%s" % (status.encode(), size, body)


def test_it_needs_no_library_and_no_interpreter() -> None:
    head = EXECUTABLE.read_bytes()

    assert head[:5] == b"\x7fELF\x02"
    (table,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    kinds = {struct.unpack_from("<I", head, table + size * number)[0] for number in range(count)}
    assert LOAD in kinds
    assert INTERPRETER not in kinds
    assert len(head) < 2 << 20


def test_versions_are_told_without_an_agent(tmp_path: Path) -> None:
    code, said = call({"CNI_COMMAND": "VERSION"}, configuration(tmp_path / "none"))

    assert code == 0
    assert json.loads(said) == {"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}


def test_without_a_command_it_says_what_it_is() -> None:
    assert failed({}, "{}")["code"] == 4


@pytest.mark.parametrize(("command", "number"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
def test_an_agent_that_is_not_there(tmp_path: Path, command: str, number: int) -> None:
    error = failed({**ADD, "CNI_COMMAND": command}, configuration(tmp_path / "none"))

    assert (error["code"], error["cniVersion"]) == (number, "1.0.0")
    assert str(tmp_path / "none") in error["details"]
    assert "isthmus network-agent" in error["details"]


def test_an_agent_that_is_being_restarted_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = subprocess.Popen([EXECUTABLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ADD)
    assert process.stdin is not None
    process.stdin.write(configuration(path).encode())
    process.stdin.close()
    with agent(path, http("200 OK", b'{"cniVersion":"1.0.0"}')):
        assert process.wait(LIMIT_SECONDS) == 0
    assert process.stdout is not None
    with process.stdout as output:
        assert json.loads(output.read()) == {"cniVersion": "1.0.0"}


def test_what_the_agent_answers_is_printed(tmp_path: Path) -> None:
    with agent(tmp_path / "ok", http("200 OK", b'{"a":1}')):
        assert call(ADD, configuration(tmp_path / "ok")) == (0, b'{"a":1}\n')
    with agent(tmp_path / "empty", b"HTTP/1.1 204 No Content\r\n\r\n"):
        assert call({**ADD, "CNI_COMMAND": "DEL"}, configuration(tmp_path / "empty")) == (0, b"")
    with agent(tmp_path / "bad", http("400 Bad Request", b'{"code":7,"msg":"x","cniVersion":"1.0.0"}')):
        assert failed(ADD, configuration(tmp_path / "bad"))["code"] == 7


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        http("200 OK", b'{"a":', 900),
        http("500 Internal Server Error", b"<html>"),
        http("503 Unavailable", b""),
        b"\x00" * 4096,
        b"HTTP/1.1 200 OK\r\n" + b"x" * (2 << 20),
    ],
)
def test_no_half_an_answer_is_taken_for_one(tmp_path: Path, answer: bytes) -> None:
    with agent(tmp_path / "s", answer):
        done = subprocess.run(
            [EXECUTABLE],
            input=configuration(tmp_path / "s").encode(),
            env=ADD,
            stdout=subprocess.PIPE,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 11


def test_an_agent_that_hangs_up_before_it_listened(tmp_path: Path) -> None:
    with agent(tmp_path / "s", b"", reads=False):
        assert failed(ADD, configuration(tmp_path / "s", filler="x" * 900_000))["code"] == 11


def test_input_without_an_end_is_not_read_to_its_end() -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [EXECUTABLE], stdin=endless, env=ADD, stdout=subprocess.PIPE, timeout=LIMIT_SECONDS, check=False
        )

    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 5)


def test_a_closed_input_and_a_long_variable_and_a_long_socket_are_errors(tmp_path: Path) -> None:
    assert failed({**ADD, "CNI_ARGS": "A=" + "x" * 100_000}, configuration(tmp_path / "s"))["code"] == 4
    # A socket that cannot be meant must not lead to the default one, which may be another agent's.
    assert failed(ADD, configuration(tmp_path / ("x" * 200)))["code"] == 7
    assert failed(ADD, '{"agentSocket": 1}')["code"] == 7
    closed = subprocess.run(
        ["/bin/sh", "-c", f"exec {EXECUTABLE} <&-"], env=ADD, stdout=subprocess.PIPE, check=False, timeout=LIMIT_SECONDS
    )
    assert (closed.returncode, json.loads(closed.stdout)["code"]) == (1, 5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stdin=st.binary(max_size=300), argument=st.text(max_size=50).filter(lambda text: "\x00" not in text))
def test_the_agent_gets_exactly_what_the_runtime_said(
    tmp_path_factory: pytest.TempPathFactory, stdin: bytes, argument: str
) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    tail = stdin.decode("utf-8", "replace")
    text = configuration(path)[:-1] + ', "tail": ' + json.dumps(tail, ensure_ascii=False) + "}"
    environment = {**ADD, "CNI_ARGS": os.fsencode(argument).decode("utf-8", "replace")}
    with agent(path, b"HTTP/1.1 204 No Content\r\n\r\n") as requests:
        assert call(environment, text)[0] == 0

    body = json.loads(requests[0])
    assert body["stdin"] == text
    assert body["environment"] == environment


@settings(max_examples=150, deadline=None)
@given(
    before=st.dictionaries(
        st.text(max_size=6).filter(lambda key: key != "cniVersion"),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=6) | st.just("cniVersion"),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("cniVersion"), inner),
            max_leaves=6,
        ),
        max_size=4,
    ),
    garbage=st.binary(max_size=40),
    cut=st.integers(0, 400),
)
def test_the_version_is_found_wherever_it_stands_and_garbage_does_no_harm(
    before: dict[str, Any], garbage: bytes, cut: int
) -> None:
    whole = json.dumps({**before, "cniVersion": "0.4.0"})

    assert json.loads(call({"CNI_COMMAND": "VERSION"}, whole)[1])["cniVersion"] == "0.4.0"
    code, said = call({"CNI_COMMAND": "VERSION"}, whole.encode()[:cut] + garbage)
    assert code == 0
    assert "supportedVersions" in json.loads(said)
