"""The units that we ship, as systemd reads them; and the programs that they start, as it waits for them."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted(Path("packaging/systemd").glob("*.service"))
ISTHMUS = str(Path(sys.executable).parent / "isthmus")


def test_each_service_has_a_unit() -> None:
    assert {unit.stem for unit in UNITS} == {
        f"isthmus-{name}" for name in ("api", "conductor", "worker", "share-manager", "network-agent")
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    assert re.search(
        r"^ExecStart=/opt/isthmus/\.venv/bin/isthmus [a-z-]+ --config-file /etc/isthmus/isthmus.conf$", text, re.M
    )
    # That program is not on this machine; what else is wrong would be told.
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/isthmus/.venv/bin/isthmus", ISTHMUS).replace("/opt/isthmus", str(Path.cwd())))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "User=" in unit.read_text()], ids=lambda unit: unit.stem)
def test_what_needs_no_rights_has_none(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    wanted = {"User=isthmus", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="}
    assert wanted <= set(lines)


def test_the_api_tells_systemd_when_it_is_ready(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "isthmus.conf"
    database = f"sqlite:///{tmp_path}/isthmus.sqlite"
    configuration.write_text(f"[api]\nauth_strategy = noauth\nport = {port}\n[database]\nconnection = {database}\n")
    subprocess.run([ISTHMUS, "db", "upgrade", "--config-file", str(configuration)], check=True, timeout=120)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(120)
        api = subprocess.Popen(
            [ISTHMUS, "api", "--config-file", str(configuration)],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            assert systemd.recv(64) == b"READY=1"
            with socket.create_connection(("127.0.0.1", port), timeout=10) as asking:
                asking.sendall(b"GET /healthcheck HTTP/1.0\r\n\r\n")
                assert b" 200 " in asking.recv(64)
        finally:
            api.terminate()
            assert api.wait(60) == 0
