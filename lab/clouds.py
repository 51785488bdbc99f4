"""Separate libvirt clouds on this machine, for the demonstration and for tests.

Each has its own libvirtd and virtlogd, its own state and its own network, PID and mount namespaces, so several can
live beside the machine's own libvirt and beside one another. They need root, and no KVM: guests are `type='qemu'`.

    with LibvirtCloud("east", Path("/tmp/ab12/east")) as east:
        libvirt.open(east.uri)

A cloud dies with its starter, even by SIGKILL: its first process ends when the pipe from the starter closes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import libvirt

from lab import namespace_init

_QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""
_LIBVIRTD_CONF = """unix_sock_group = "root"
auth_unix_rw = "{}"
auth_unix_ro = "none"
log_outputs = "3:stderr"
"""
_LISTEN_CONF = """listen_tls = 1
listen_tcp = 0
listen_addr = "127.0.0.1"
tls_port = "{port}"
key_file = "{certificates}/server-key.pem"
cert_file = "{certificates}/server-cert.pem"
ca_file = "{certificates}/ca-cert.pem"
auth_tls = "none"
"""
TLS_PORT = 16514
_NETWORK = """<network><name>{name}</name><forward mode='open'/><bridge name='virbr-{short}' stp='off' delay='0'/>
<ip address='192.168.{octet}.1' netmask='255.255.255.0'>
<dhcp><range start='192.168.{octet}.10' end='192.168.{octet}.99'/></dhcp></ip></network>"""


def _say_nothing(_context: object, _error: object) -> None:
    """Keep libvirt from printing errors that we handle."""


def _answer(questions: list[list[Any]], user: tuple[str, str]) -> int:
    """Give libvirt the name and password that it asks for."""
    for question in questions:
        question[4] = user[0] if question[0] == libvirt.VIR_CRED_AUTHNAME else user[1]
    return 0


class LibvirtCloud:
    """One cloud: `uri` for libvirt, pool `default` in `pool_directory`, network `default` with DHCP.

    `directory` is made if it is not there and keeps the state (definitions, volumes) over stop and start; its path
    must be short enough for unix sockets (the whole socket path stays under 100 characters).
    With `users` (name to password) libvirtd asks for them by SASL; `qemu_settings` are further lines of qemu.conf.
    With `certificates` (a directory) libvirtd also listens for TLS at `TLS_PORT` of the cloud's own loopback.
    With `host_pid` it is in the network namespace of that process instead of one of its own.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        networks: Sequence[str] = ("default",),
        users: Mapping[str, str] | None = None,
        qemu_settings: str = "",
        certificates: Path | None = None,
        host_pid: int | None = None,
    ) -> None:
        self.name = name
        self.users = dict(users or {})
        self.qemu_settings = qemu_settings
        self.certificates = certificates
        self._host_pid = host_pid
        self.directory = directory
        self.networks = tuple(networks)
        self.pool_directory = directory / "pool"
        self.nbd_directory = directory / "nbd"
        self.socket = directory / "run" / "libvirt-sock"
        self._process: subprocess.Popen[bytes] | None = None
        if len(str(self.nbd_directory)) > 60:
            raise ValueError(f"{directory} is too long for the unix sockets of a lab cloud; choose a shorter one")

    @property
    def uri(self) -> str:
        """The libvirt URI, usable from outside the cloud's namespaces."""
        return f"qemu+unix:///system?socket={quote(str(self.socket))}"

    @property
    def connection(self) -> dict[str, Any]:
        """Connection details for Isthmus' libvirt provider."""
        return {"uri": self.uri, "nbd": {"transport": "unix", "socket_directory": str(self.nbd_directory)}}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout_seconds: float = 60) -> None:
        """Start the daemons, wait until they answer, and make the pool and the networks."""
        self._write_configuration()
        init = [sys.executable, "-I", "-S", namespace_init.__file__, str(self.directory)]
        with (self.directory / "init.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._network(), "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--", *init],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def _network(self) -> list[str]:
        """Return the beginning of the command that makes the namespaces."""
        if self._host_pid is None:
            return ["unshare", "--net"]
        return ["nsenter", f"--net=/proc/{self._host_pid}/ns/net", "--", "unshare"]

    def stop(self) -> None:
        """End everything in the cloud; the directory stays. Calling it twice is fine."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def connect(self) -> Any:
        """Return an open libvirt connection; the caller closes it."""
        libvirt.registerErrorHandler(_say_nothing, None)
        user = next(iter(self.users.items()), ("", ""))
        return libvirt.openAuth(self.uri, [[libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE], _answer, user], 0)

    def processes(self) -> Iterator[tuple[int, str]]:
        """Yield (host pid, command line) of each process in the cloud."""
        wanted = os.readlink(f"/proc/{self.init_pid}/ns/pid")
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if os.readlink(entry / "ns" / "pid") == wanted:
                    yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()

    def kill(self, part: str) -> int:
        """SIGKILL the cloud's processes whose command line contains `part`; return how many there were."""
        victims = [pid for pid, line in self.processes() if part in line and pid != self.init_pid]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(victims)

    def kill_machine(self, domain: str) -> int:
        """SIGKILL the QEMU of a domain, by a prefix of its name; return how many died."""
        return self.kill(f"-name guest={domain}")

    def kill_writer(self) -> int:
        """SIGKILL the QEMUs that serve disks to be written; return how many died."""
        return self.kill_machine("isthmus-writer-")

    def kill_daemon(self) -> int:
        """SIGKILL libvirtd; it is started again after a moment, and machines run on."""
        return self.kill("/usr/sbin/libvirtd")

    def run(self, *command: str, timeout_seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in the cloud's network and mount namespaces (to reach guests) and return what it said."""
        enter = ["nsenter", "--target", str(self.init_pid), "--mount", "--net", "--"]
        return subprocess.run(
            [*enter, *command], capture_output=True, text=True, timeout=timeout_seconds, check=False, cwd="/"
        )

    @property
    def init_pid(self) -> int:
        """Host pid of the cloud's first process."""
        if self._process is None:
            raise RuntimeError(f"cloud {self.name} is not started")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])

    def _write_configuration(self) -> None:
        for name, target in namespace_init.BOUND.items():
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            Path(target).mkdir(parents=True, exist_ok=True)
        self.pool_directory.mkdir(exist_ok=True)
        self.nbd_directory.mkdir(exist_ok=True)
        etc = self.directory / "etc"
        (etc / "qemu.conf").write_text(_QEMU_CONF + self.qemu_settings, encoding="ascii")
        authentication = "sasl" if self.users else "none"
        listen = _LISTEN_CONF.format(port=TLS_PORT, certificates=self.certificates) if self.certificates else ""
        (etc / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(authentication) + listen, encoding="ascii")
        sasl = "mech_list: scram-sha-256\nsasldb_path: /etc/libvirt/passwd.db\n"
        (self.directory / "sasl" / "libvirt.conf").write_text(sasl, encoding="ascii")
        for name, password in self.users.items():
            enter = ["saslpasswd2", "-p", "-c", "-a", "libvirt", "-f", str(etc / "passwd.db"), name]
            subprocess.run(enter, input=password, text=True, check=True, capture_output=True)
        (etc / "virtlogd.conf").write_text('log_outputs = "3:stderr"\n', encoding="ascii")
        self.socket.unlink(missing_ok=True)

    def _wait_until_ready(self, timeout_seconds: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                connection = self.connect()
                break
            except libvirt.libvirtError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    logs = [self.directory / "init.log", self.directory / "log" / "libvirtd.log"]
                    said = "".join(log.read_text(errors="replace")[-800:] for log in logs if log.exists())
                    raise RuntimeError(f"cloud {self.name} did not start: {error}\n{said}") from error
                time.sleep(0.05)
        try:
            self._ensure_pool(connection)
            for index, network in enumerate(self.networks):
                self._ensure_network(connection, network, 120 + index)
        finally:
            connection.close()

    def _ensure_pool(self, connection: Any) -> None:
        if "default" not in [pool.name() for pool in connection.listAllStoragePools()]:
            target = f"<target><path>{self.pool_directory}</path></target>"
            connection.storagePoolDefineXML(f"<pool type='dir'><name>default</name>{target}</pool>")
        pool = connection.storagePoolLookupByName("default")
        if not pool.isActive():
            pool.create()

    def _ensure_network(self, connection: Any, name: str, octet: int) -> None:
        if name not in [network.name() for network in connection.listAllNetworks()]:
            connection.networkDefineXML(_NETWORK.format(name=name, short=name[:8], octet=octet))
        network = connection.networkLookupByName(name)
        if not network.isActive():
            network.create()
