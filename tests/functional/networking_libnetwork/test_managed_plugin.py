"""The managed plug-in's directory, and its program: what is said on one socket arrives at the other, and back."""

import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from lab.network_space import wait_until

from isthmus.control.errors import Conflict
from isthmus.networking.libnetwork.managed_plugin import write_plugin


def test_the_directory_is_what_docker_plugin_create_takes(tmp_path: Path) -> None:
    made = write_plugin(tmp_path / "plugin", Path("/run/docker/plugins/isthmus.sock"))
    configuration = json.loads((made / "config.json").read_text())
    program, listen, agent = configuration["entrypoint"]
    assert (made / "rootfs" / program.lstrip("/")).stat().st_mode & 0o111
    assert Path(listen).name == configuration["interface"]["socket"]
    (mount,) = configuration["mounts"]
    assert (mount["source"], f"{mount['destination']}/isthmus.sock") == ("/run/docker/plugins", agent)
    assert configuration["linux"]["capabilities"] == []
    with pytest.raises(Conflict, match="not empty"):
        write_plugin(made, Path("/run/docker/plugins/isthmus.sock"))


def test_the_program_carries_both_ways_and_goes_on_without_an_agent(tmp_path: Path) -> None:
    program = write_plugin(tmp_path / "p", Path("/x/isthmus.sock")) / "rootfs" / "isthmus-plugin"
    front, back = tmp_path / "front", tmp_path / "back"
    running = subprocess.Popen([program, front, back])
    try:
        wait_until(front.exists, "it listens")
        assert _ask(front, b"is anybody there?") == b""
        with socket.socket(socket.AF_UNIX) as agent:
            agent.bind(str(back))
            agent.listen()
            threading.Thread(target=_answer_all, args=(agent,), daemon=True).start()
            long = b"0123456789abcdef" * 40_000
            assert _ask(front, long) == long.upper()
            assert _ask(front, b"again") == b"AGAIN"
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


def _ask(path: Path, text: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))

        def say() -> None:
            try:
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                return  # closed by the other end, which the reading below sees

        threading.Thread(target=say, daemon=True).start()
        answer = b""
        try:
            while received := client.recv(1 << 16):
                answer += received
        except ConnectionResetError:
            return answer
        return answer


def _answer_all(agent: socket.socket) -> None:
    while True:
        try:
            client, _ = agent.accept()
        except OSError:
            return
        with client:
            said = b""
            while received := client.recv(1 << 16):
                said += received
            client.sendall(said.upper())
