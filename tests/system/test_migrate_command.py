"""`isthmus migrate` as a person uses it: interrupted, taken up again on a terminal, and reported."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.control_plane import ISTHMUS
from lab.playground import MACHINE, Playground, playground

Environments = Callable[[str], dict[str, str]]


@pytest.fixture
def clouds() -> Iterator[Playground]:
    with tempfile.TemporaryDirectory(prefix="mig-") as directory, playground(Path(directory) / "p") as made:
        yield made


def isthmus(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run([ISTHMUS, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(environment: dict[str, str], *words: str) -> tuple[int, str, str]:
    """Run a command whose standard error is a terminal; return its exit code, output and what the terminal showed."""
    ours, theirs = os.openpty()
    shown: list[bytes] = []

    def read() -> None:
        # Reading ends with an error when the last process has closed the terminal.
        try:
            while part := os.read(ours, 65536):
                shown.append(part)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        terminal = {**environment, "TERM": "xterm", "COLUMNS": "120"}
        done = subprocess.run(
            [ISTHMUS, *words], env=terminal, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=300, check=False
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return done.returncode, done.stdout, b"".join(shown).decode()


def interrupted(environment: dict[str, str]) -> tuple[int, str]:
    """Begin a migration, press Ctrl-C while it copies; return the exit code and standard error."""
    command = [
        *(ISTHMUS, "migrate", MACHINE, "--from", "mig-east", "--to", "mig-west", "--default-network", "default"),
        *("--skip-os-morphing", "--boot-probe", "console:GUEST-UP", "--boot-timeout", "240", "--watch"),
    ]
    # A shell has its background jobs ignore interrupts; ours must hear them wherever the tests run.
    hearing = ["env", "--default-signal=INT", *command]
    with subprocess.Popen(
        hearing, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr is not None
        said = ""
        for line in run.stderr:
            said += line
            if "deploy transfer disks" in line:
                run.send_signal(signal.SIGINT)
                break
        said += run.stderr.read()
    return run.returncode, said


def test_a_migration_survives_ctrl_c_and_ends_with_a_report(
    environment_of: Environments, clouds: Playground, tmp_path: Path
) -> None:
    environment = environment_of("demo")
    for name, file in (("mig-east", clouds.east_file), ("mig-west", clouds.west_file)):
        isthmus(environment, "endpoint", "create", "--provider", "libvirt", "--name", name, "--connection", str(file))

    code, said = interrupted(environment)
    assert code == 130
    found = re.search(r"isthmus migrate --resume (\S+)", said)
    assert found, said
    transfer = found[1]

    report_file = tmp_path / "report.json"
    words = ("migrate", "--resume", transfer, "--syncs", "1", "--report", str(report_file), "--format", "json")
    code, out, terminal = on_a_terminal(environment, *words)
    assert code == 0, terminal
    assert "disk vda" in terminal
    assert "━" in terminal
    report = json.loads(report_file.read_text())
    assert json.loads(out) == report
    assert [each["stopped"] for each in report["passes"]] == [False, True]
    assert report["bytes_full"] > 0
    assert report["bytes_verified"] >= report["bytes_full"]
    assert report["downtime_seconds"] > 0
    assert "GUEST-UP" in report["probe"]
    assert re.search(r"RECORDS ok=[1-9]\d* last=\d+ bad=0", "\n".join(report["console_tail"]))

    listed = json.loads(isthmus(environment, "instance", "list", "--endpoint", "mig-west", "-f", "json"))
    assert [machine["Name"] for machine in listed] == [MACHINE]
    # Resuming what is complete says the same again and begins nothing.
    again = json.loads(isthmus(environment, "migrate", "--resume", transfer, "-f", "json"))
    assert again["deployment_id"] == report["deployment_id"]
    shown = json.loads(isthmus(environment, "deployment", "show", report["deployment_id"], "-f", "json"))
    assert shown["result"][MACHINE]["probe"]["passed"]
