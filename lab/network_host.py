"""A host of the network playground: network, PID and mount namespaces of its own, which die with whoever made them.

    with NetworkHost() as host:
        host.run("ip", "link", "add", "br0", "type", "bridge")
        session = host.session(auth)  # its connections are made inside

Sockets with a path are reached from outside as they are; TCP by `inside()`.
"""

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import requests
from keystoneauth1 import plugin
from keystoneauth1.session import Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

START_SECONDS = 30
_CLONE_NEWNET = 0x40000000
_KINDS = ("--net", "--pid", "--mount")
_INIT = Path(__file__).with_name("network_init.py")
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkHost:
    """One host; a context manager."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", *_KINDS, "--mount-proc", "--fork", "--kill-child=KILL", sys.executable, str(_INIT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self.pid = self._wait_for_first_process()
            self._namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self._holder.kill()
            self._holder.communicate()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all that runs in here, and wait until it is gone; with it go the namespaces."""
        inside = self.processes()
        self._holder.kill()
        self._holder.communicate()
        psutil.wait_procs(inside, timeout=START_SECONDS)
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command in here."""
        return ["nsenter", "--target", str(self.pid), *_KINDS, "--wd=/", "--", *command]

    def run(self, *command: str, limit: float = 60, check: bool = True, **options: Any) -> str:
        """Run a command in here and return its output; RuntimeError shows what it said if it failed."""
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=limit, check=False, **options
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return str(done.stdout)

    def succeeds(self, *command: str, limit: float = 60) -> bool:
        """Run a command in here and say whether it ended well."""
        done = subprocess.run(self.command(*command), capture_output=True, timeout=limit, check=False)
        return done.returncode == 0

    def spawn(self, *command: str, log: Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program in here, its output appended to `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(*command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )

    @staticmethod
    def program_of(spawned: subprocess.Popen[bytes]) -> psutil.Process | None:
        """Return the program itself of what `spawn` gave (nsenter, which waits for it); None if it has ended."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(spawned.pid).children():
                return child
        return None

    def processes(self) -> list[psutil.Process]:
        """Return all processes in here, the first one too."""
        mine = os.stat(f"/proc/{self.pid}/ns/pid").st_ino
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if os.stat(f"/proc/{process.pid}/ns/pid").st_ino == mine:
                    found.append(process)
        return found

    def outer_pid(self, pid: int) -> int:
        """Return by which id this test's own namespace knows a process of here; LookupError if there is none."""
        for process in self.processes():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                (ids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
                if int(ids[-1]) == pid:
                    return process.pid
        raise LookupError(f"no process {pid} in the host of {self.pid}")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread make its sockets in here."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._namespace)
            yield
        finally:
            _enter(outside)
            os.close(outside)

    def session(self, auth: plugin.BaseAuthPlugin, **options: Any) -> Session:
        """Return a Keystone session of here: usable from any thread, as any other."""
        wire = requests.Session()
        wire.mount("http://", _Adapter(self))
        return Session(auth, session=wire, **options)

    def _wait_for_first_process(self) -> int:
        if not self._holder.stdout or self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError("no host of the network playground could be made; this needs root")
        with open(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children", encoding="ascii") as children:
            return int(children.read().split()[0])


def wait_for(what: str, done: Any, limit: float = 60) -> None:
    """Wait until `done()` is true; TimeoutError names what was waited for."""
    deadline = time.monotonic() + limit
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit:.0f} s")
        time.sleep(0.1)


class _Adapter(HTTPAdapter):
    """Makes the connections of a `requests` session inside a host."""

    def __init__(self, host: NetworkHost) -> None:
        self._host = host
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        host = self._host

        class Connection(HTTPConnection):
            def _new_conn(self) -> Any:
                with host.inside():
                    return super()._new_conn()

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
