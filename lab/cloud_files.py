"""The files of a simulated cloud (`file_cloud`), and what tests do to them."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus.migration.machine import Disk, Firmware, Machine, Nic, PowerState

DEAD_SECONDS = 5.0


def make_cloud(root: Path) -> None:
    """Make an empty cloud."""
    for name in ("machines", "disks", "readings", "exports"):
        (root / name).mkdir(parents=True, exist_ok=True)


def set_up(root: Path, **settings: Any) -> None:
    """Change what the cloud does from now on."""
    path = root / "settings.json"
    write_json(path, {**(json.loads(path.read_text()) if path.exists() else {}), **settings})


def make_machine(
    root: Path,
    name: str,
    disks: Sequence[tuple[str, str, int]],
    *,
    power: PowerState = PowerState.RUNNING,
    deployment_id: str | None = None,
) -> None:
    """Write a machine's file; `disks` are (id, file in disks/, size in bytes)."""
    facts = [{"id": disk, "file": file, "size_bytes": size} for disk, file, size in disks]
    content = {"name": name, "power": power, "disks": facts, "deployment_id": deployment_id}
    write_json(root / "machines" / f"{name}.json", content)


def calls(root: Path) -> list[str]:
    """Return the methods called so far."""
    path = root / "calls.log"
    return path.read_text().splitlines() if path.exists() else []


def end_cloud(root: Path) -> None:
    """End all that the cloud serves."""
    for pid_file in (root / "exports").glob("*.pid"):
        end_server(pid_file)


def leftovers(root: Path) -> list[str]:
    """Return what is open or kept: exports, readings, files that no machine owns."""
    owned = {
        disk["file"] for path in (root / "machines").glob("*.json") for disk in json.loads(path.read_text())["disks"]
    }
    files = [path.name for path in (root / "disks").iterdir() if path.name not in owned]
    return sorted(
        [*files, *(p.name for p in (root / "exports").glob("*.pid")), *(p.name for p in (root / "readings").glob("*"))]
    )


def machine_facts(content: Mapping[str, Any]) -> Machine:
    """Return the facts of a machine from its file."""
    disks = tuple(
        Disk(each["id"], each["size_bytes"], "raw", "disks", "sata", can_track_changes=False)
        for each in content["disks"]
    )
    return Machine(
        id=content["name"],
        name=content["name"],
        num_cpu=1,
        memory_mb=128,
        firmware=Firmware.BIOS,
        power_state=PowerState(content["power"]),
        disks=disks,
        nics=(Nic("nic0", "52:54:00:00:00:01", "lan"),),
    )


def short(*names: str) -> str:
    """Return a short name for names of any length: a socket's path must be shorter than 108 bytes."""
    return base64.b32encode(hashlib.blake2s("/".join(names).encode(), digest_size=10).digest()).decode().lower()


def copy(source: Path, target: Path) -> None:
    """Copy a file and keep it sparse."""
    subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True, timeout=120)


def write_json(path: Path, content: Any) -> None:
    """Replace a file at once."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    new.write_text(json.dumps(content, default=asdict))
    new.rename(path)


def is_served(pid_file: Path) -> bool:
    """Whether the server of a pid file runs."""
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False
    return True


def end_server(pid_file: Path) -> None:
    """End a server by the id that it wrote itself, and wait until it is gone."""
    if not is_served(pid_file):
        return
    pid = int(pid_file.read_text())
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DEAD_SECONDS
        while is_alive(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs and is not only waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
