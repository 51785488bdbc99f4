import os
import socket
from pathlib import Path

import pytest

from isthmus.control.readiness import NOTIFY_SOCKET, READY_FILE, claim, say_ready


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.control.readiness._systemd", None)


def test_nobody_need_have_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTIFY_SOCKET, raising=False)
    monkeypatch.delenv(READY_FILE, raising=False)
    claim()
    say_ready()


def test_the_file_that_was_asked_for_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(READY_FILE, str(tmp_path / "ready"))
    say_ready()
    assert (tmp_path / "ready").exists()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool) -> None:
    name = f"@{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0") if abstract else name)
        systemd.settimeout(5)
        monkeypatch.setenv(NOTIFY_SOCKET, name)
        claim()
        assert NOTIFY_SOCKET not in os.environ
        say_ready()
        assert systemd.recv(64) == b"READY=1"
