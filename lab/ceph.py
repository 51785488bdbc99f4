"""A real Ceph cluster on loopback: a monitor, a manager, one object store in memory, a metadata server and CephFS.

From Debian's packages in `packaging/debian-ceph.txt`. It starts in a quarter of a minute, holds 4 GiB in memory, and
ends with the context that it is. `CephMount` is a client: `ceph-fuse` with the one key that it is given.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 120
STOP_SECONDS = 10
FILE_SYSTEM = "cephfs"
MODULES = Path("/usr/share/ceph/mgr")
BINDINGS = ("rados.cpython-*.so", "ceph_argparse.py")
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {home}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail warn = 1
mon data avail crit = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
run dir = {home}
admin socket = {home}/$name.$pid.sock
log file = {home}/$name.log
pid file =
mon data = {home}/mon
osd data = {home}/osd
mgr data = {home}/mgr
mgr module path = {home}/modules
mds data = {home}/mds
"""
_MODULES = ("volumes", "orchestrator", "mgr_module.py", "mgr_util.py", "object_format.py")
"""The manager loads every module that it finds, used or not: with these alone it is ready half a minute sooner."""

_CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mds", "allow *", "mgr", "allow *"),
    "mgr.x": ("mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"),
    "osd.0": ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"),
    "mds.a": ("mon", "profile mds", "mgr", "profile mds", "mds", "allow *", "osd", "allow *"),
}


class CephCluster:
    """A context manager; `configuration` is its ceph.conf, whose keyring holds the administrator's key."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="/tmp/ceph-"))
        self.configuration = self.home / "ceph.conf"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        if shutil.which("ceph-mon") is None:
            raise FileNotFoundError("Ceph is not installed: run scripts/setup packaging/debian-ceph.txt")
        try:
            self._configure()
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop all daemons and remove all files."""
        # There is nothing in memory that would be worth the ten seconds of an orderly end.
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.home, ignore_errors=True)

    def ceph(self, *words: str) -> str:
        """Run `ceph` as the administrator; return what it says. Raises `CalledProcessError`."""
        return self._run("ceph", "--connect-timeout", "30", *words)

    def bindings(self) -> Path:
        """Return a directory for `sys.path` that holds Debian's bindings to Ceph and nothing else of Debian's."""
        directory = self.home / "python"
        directory.mkdir(exist_ok=True)
        for pattern in BINDINGS:
            for found in Path("/usr/lib/python3/dist-packages").glob(pattern):
                (directory / found.name).unlink(missing_ok=True)
                (directory / found.name).symlink_to(found)
        return directory

    def _configure(self) -> None:
        for daemon in ("mon", "mgr", "osd", "mds"):
            (self.home / daemon).mkdir()
        (self.home / "modules").mkdir()
        for name in _MODULES:
            if (MODULES / name).exists():
                (self.home / "modules" / name).symlink_to(MODULES / name)
        fsid = str(uuid.uuid4())
        self.configuration.write_text(_CONFIGURATION.format(fsid=fsid, port=_free_port(), home=self.home))
        keyring = str(self.home / "keyring")
        for name, capabilities in _CAPABILITIES.items():
            pairs = [word for at in range(0, len(capabilities), 2) for word in ("--cap", *capabilities[at : at + 2])]
            create = [] if Path(keyring).exists() else ["-C"]
            self._run("ceph-authtool", *create, keyring, "--gen-key", "-n", name, *pairs)
        address = self.configuration.read_text().split("mon host = ")[1].split("\n")[0]
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, str(self.home / "monmap"))
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(self.home / "monmap"), "--keyring", keyring)

    def _start(self) -> None:
        self._daemon("ceph-mon", "a")
        self._daemon("ceph-mgr", "x")
        store = str(uuid.uuid4())
        self.ceph("osd", "new", store, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        self._daemon("ceph-osd", "0")
        self._daemon("ceph-mds", "a")
        self.ceph("osd", "pool", "create", "meta", "8")
        self.ceph("osd", "pool", "create", "data", "8")
        self.ceph("fs", "new", FILE_SYSTEM, "meta", "data")
        self._wait_for("up:active", "mds", "stat")
        self._wait_for("[]", "fs", "subvolume", "ls", FILE_SYSTEM)

    def _daemon(self, program: str, identity: str) -> None:
        with (self.home / f"{program}.out").open("wb") as said:
            self._processes.append(
                subprocess.Popen(
                    [program, "-i", identity, "-f", "-c", str(self.configuration)], stdout=said, stderr=said
                )
            )

    def _wait_for(self, sign: str, *words: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        last = ""
        while time.monotonic() < deadline:
            self._check_daemons()
            try:
                last = self.ceph(*words)
            except subprocess.CalledProcessError as error:
                last = str(error.stderr)
            if sign in last:
                return
            time.sleep(0.3)
        raise TimeoutError(f"`ceph {' '.join(words)}` did not say {sign} within {START_SECONDS} s, but: {last}")

    def _check_daemons(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                said = "".join(path.read_text()[-1000:] for path in self.home.glob("*.out"))
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {said}")

    def _run(self, *command: str) -> str:
        environment = os.environ | {"CEPH_CONF": str(self.configuration)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout


class CephMount:
    """A client's mount of one path with one cephx key; a context manager that is the directory mounted at."""

    def __init__(self, cluster: CephCluster, user: str, key: str, path: str) -> None:
        self._cluster = cluster
        self._user = user
        self._key = key
        self._path = path
        self._home = Path(tempfile.mkdtemp(prefix="client-", dir=cluster.home))
        self._directory = self._home / "mount"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Path:
        self._directory.mkdir()
        keyring = self._home / "keyring"
        keyring.write_text(f"[client.{self._user}]\n\tkey = {self._key}\n")
        # A configuration without the administrator's keyring: the client has its own key and no other.
        host = self._cluster.configuration.read_text().split("mon host = ")[1].split("\n")[0]
        configuration = self._home / "ceph.conf"
        configuration.write_text(f"[global]\nmon host = {host}\nlog file = {self._home}/log\nadmin socket =\n")
        command = ["ceph-fuse", "-f", "-c", str(configuration), "-n", f"client.{self._user}", "-k", str(keyring)]
        # Sizes and attributes are asked for each time: what another client or the administrator did shows at once.
        command += ["--client_mountpoint", self._path, "--client_mount_timeout", "15", str(self._directory)]
        with (self._home / "out").open("wb") as said:
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        deadline = time.monotonic() + 60
        while not os.path.ismount(self._directory):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._end()
                raise PermissionError(f"ceph-fuse did not mount {self._path}: {(self._home / 'out').read_text()}")
            time.sleep(0.05)
        return self._directory

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        subprocess.run(["umount", "-l", self._directory], capture_output=True, check=False)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
