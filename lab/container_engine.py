"""A Docker Engine of one's own on this machine's network, which makes images and runs them; it dies with its starter.

Its containers have the host's network only, so it makes neither bridges nor rules of a firewall.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 120
_STOP_SECONDS = 60
_CGROUPS = Path("/sys/fs/cgroup")


class ContainerEngine:
    """A context manager; needs root. What it keeps is removed at the end."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        # Short: sockets are in it.
        self._place = Path(self._undo.enter_context(tempfile.TemporaryDirectory(prefix="/tmp/ce-")))
        self._socket = self._place / "docker.sock"
        self._cgroup = f"isthmus-lab-{os.getpid()}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def run(self, *words: str, limit: float = 120, stdin: bytes | None = None) -> str:
        """Run a docker command and return its output, stripped; RuntimeError shows what it said if it failed."""
        done = self.tell(*words, limit=limit, stdin=stdin)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise RuntimeError(f"docker {' '.join(words)} ended with {done.returncode}:\n{said[-6000:]}")
        return done.stdout.decode().strip()

    def tell(self, *words: str, limit: float = 120, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command and return how it ended, well or not."""
        command = ["docker", "-H", f"unix://{self._socket}", *words]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=limit, check=False)

    def import_tree(self, archive: Path, name: str) -> None:
        """Make an image of a tar archive of a root file system."""
        self.run("import", str(archive), name, limit=300)

    def _start(self) -> None:
        self._undo.callback(_remove_cgroups, _CGROUPS / self._cgroup)
        place, log = self._place, self._place / "log"
        # A mount and a PID namespace of its own: with its first process ends all that it has begun.
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "dockerd"]
        command += ["--data-root", f"{place}/data", "--exec-root", f"{place}/run", "--pidfile", f"{place}/pid"]
        command += ["-H", f"unix://{self._socket}", "--cgroup-parent", f"/{self._cgroup}"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        with log.open("wb") as output:
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._undo.callback(_end, daemon)
        deadline = time.monotonic() + START_SECONDS
        while self.tell("version").returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.2)


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.kill()
    daemon.wait(_STOP_SECONDS)


def _remove_cgroups(top: Path) -> None:
    """Remove what is left of the containers' cgroups: they are the machine's, and empty by now."""
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
