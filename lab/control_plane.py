"""A whole control plane of one's own, for tests, the demonstration and chaos: fresh state directory, free ports.

It is the real thing, started by `isthmus up --detach` and ended by `isthmus down`; should the process that asked for
it be killed, a guard that holds the other end of a pipe ends it all the same.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from isthmus.embedded.ports import Ports
from lab.network_host import NetworkHost

ISTHMUS = str(Path(sys.executable).parent / "isthmus")
START_SECONDS = 240
STOP_SECONDS = 240
KILL_SECONDS = 120
"""What is in the midst of a file system's commit dies when that has ended: on a busy disk that took more than 30."""
# Below the range from which the kernel takes ports for outgoing connections. Runs beside each other get parts of it.
PORTS = "20000-32000"

_WIDTHS = dict.fromkeys((field.name for field in fields(Ports)), 1) | {"temporal": 3}
"""How many ports in a row each listener takes."""


class ControlPlane:
    """One control plane; a context manager. Without a state directory it makes one and removes it at the end.

    `only` names the parts to start (with those they need); all by default. `ports` are the state directory's last
    ones if they are free, else newly found; changing them between a stop and a start is fine. `options` are further
    ones of `isthmus up`. With `host` it runs in that host's namespaces; `pid`, `supervisor` and `kill` translate.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        only: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
        host: NetworkHost | None = None,
    ) -> None:
        self._is_ours = state_dir is None
        self.state_dir = Path(tempfile.mkdtemp(prefix="isthmus-")) if state_dir is None else state_dir
        self.only = only
        self.options = options
        self._host = host
        self.ports = last_ports(self.state_dir) or free_ports()
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def api_url(self) -> str:
        """The API's address, without the version."""
        return f"http://127.0.0.1:{self.ports['api']}"

    @property
    def temporal_address(self) -> str:
        """Temporal's front end, as host:port."""
        return f"127.0.0.1:{self.ports['temporal']}"

    @property
    def configuration(self) -> Path:
        """The `isthmus.conf` of its services."""
        return self.state_dir / "isthmus.conf"

    def start(self) -> None:
        """Run `isthmus up --detach`; return when every part is ready."""
        if self._guard is None:
            self._guard = self._start_guard()
        options = [option for name, port in self.ports.items() for option in (f"--{name}-port", str(port))]
        only = ["--only", ",".join(self.only)] if self.only else []
        self.run("up", "--detach", *options, *only, *self.options, limit=START_SECONDS)

    def stop(self) -> None:
        """Run `isthmus down`; all state is kept."""
        self.run("down", limit=STOP_SECONDS)

    def close(self) -> None:
        """Stop, and remove the state directory if it was made here."""
        try:
            self.stop()
        finally:
            self.leave()
            if self._is_ours:
                shutil.rmtree(self.state_dir, ignore_errors=True)

    def leave(self) -> None:
        """Let it run on after this process; nobody but `isthmus down` ends it then."""
        if self._guard:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def run(self, command: str, *options: str, limit: float = 60) -> str:
        """Run one of the control plane's commands and return its output; RuntimeError shows what it said."""
        words = [ISTHMUS, command, "--state-dir", str(self.state_dir), *options]
        done = subprocess.run(
            self._host.command(*words) if self._host else words,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"isthmus {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def environment(self, user: str) -> dict[str, str]:
        """Return this process's environment with the OS_* variables of `admin` or `demo`."""
        lines = self.run("env", "--user", user).splitlines()
        exports = [line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export ")]
        others = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return {**others, **{name: value.strip("'") for name, value in exports}}

    @property
    def admin_environment(self) -> dict[str, str]:
        """The environment of the administrator."""
        return self.environment("admin")

    @property
    def demo_environment(self) -> dict[str, str]:
        """The environment of the plain project user."""
        return self.environment("demo")

    def parts(self) -> dict[str, dict[str, object]]:
        """Return what `isthmus status` says, by part."""
        return {row["part"]: row for row in json.loads(self.run("status", "--format", "json"))}

    def pid(self, part: str) -> int:
        """Return the process id of a part, straight from what the supervisor publishes; LookupError if it has none."""
        for row in json.loads((self.state_dir / "run" / "parts.json").read_text())["parts"]:
            if row["name"] == part and row["pid"]:
                return self._outer(row["pid"])
        raise LookupError(f"{part} has no process now")

    def supervisor(self) -> int:
        """Return the process id of the supervisor."""
        return self._outer(json.loads((self.state_dir / "run" / "parts.json").read_text())["supervisor"])

    def kill(self, part: str) -> int:
        """Kill a part without warning (SIGKILL) and return the process id it had, once it is dead."""
        process = psutil.Process(self.pid(part))
        process.kill()
        # Until then `wait_ready` would find the part still running.
        process.wait(KILL_SECONDS)
        return process.pid

    def kill_at_once(self, parts: Iterable[str]) -> dict[str, int]:
        """Kill several parts (SIGKILL), all before any is started again; return the process ids they had.

        Their ids are read first: NFS-Ganesha ends by itself when its bus does.
        """
        victims = {part: psutil.Process(self.pid(part)) for part in parts}
        for victim in victims.values():
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        _, alive = psutil.wait_procs(victims.values(), KILL_SECONDS)
        if alive:
            raise TimeoutError(f"still alive {KILL_SECONDS} s after SIGKILL: {alive}")
        return {part: victim.pid for part, victim in victims.items()}

    def wait_ready(self, limit: float = 120) -> None:
        """Wait until every part runs; TimeoutError names those that do not."""
        deadline = time.monotonic() + limit
        while True:
            rows = json.loads((self.state_dir / "run" / "parts.json").read_text())["parts"]
            late = {
                row["name"]: f"{row['state']} {row['message']}"
                for row in rows
                # The supervisor looks 20 times a second: until then a dead part still stands as running.
                if row["state"] != "running" or not self._runs(row["pid"])
            }
            if not late:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {limit} s: {late}")
            time.sleep(0.1)

    def _outer(self, pid: int) -> int:
        return self._host.outer_pid(pid) if self._host else pid

    def _runs(self, pid: int) -> bool:
        try:
            return psutil.Process(self._outer(pid)).status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, LookupError):
            return False

    def _start_guard(self) -> subprocess.Popen[bytes]:
        """Start the process that ends the control plane when this one is gone: its pipe then closes."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "lab.control_plane", str(self.state_dir)),
                *(["--remove"] if self._is_ours else []),
                # A host's end is the end of all in it; and its process ids mean other processes out here.
                *(["--keep-running"] if self._host else []),
            ],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            start_new_session=True,
        )


def last_ports(state_dir: Path) -> dict[str, int] | None:
    """Return the ports of the state directory's last start, None if there was none or one is taken now."""
    remembered = state_dir / "ports.json"
    if not remembered.exists():
        return None
    ports: dict[str, int] = json.loads(remembered.read_text())
    if ports.keys() != _WIDTHS.keys():  # an older version's
        return None
    wanted = [*ports.values(), ports["temporal"] + 1, ports["temporal"] + 2]
    return ports if all(_is_free(port) for port in wanted) else None


def free_ports() -> dict[str, int]:
    """Return a free loopback port for each listener; Temporal's has two free ones after it, which it takes too."""
    lowest, highest = map(int, os.environ.get("ISTHMUS_LAB_PORTS", PORTS).split("-"))
    ports: dict[str, int] = {}
    taken: set[int] = set()
    for name, width in _WIDTHS.items():
        while name not in ports:
            first = random.randrange(lowest, highest)
            wanted = set(range(first, first + width))
            if not wanted & taken and all(_is_free(port) for port in wanted):
                ports[name] = first
                taken |= wanted
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _guard(state_dir: str, *, remove: bool, stop: bool) -> None:
    sys.stdin.buffer.read()
    if stop:
        subprocess.run([ISTHMUS, "down", "--state-dir", state_dir], check=False, capture_output=True)
    if remove:
        shutil.rmtree(state_dir, ignore_errors=True)


if __name__ == "__main__":
    _guard(sys.argv[1], remove="--remove" in sys.argv[2:], stop="--keep-running" not in sys.argv[2:])
