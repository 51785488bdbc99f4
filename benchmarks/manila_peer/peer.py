"""Manila as a whole: started from nothing in a directory of its own, and ended."""

import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pymysql
from benchmarks.manila_peer.broker import EPMD, SERVER, start_broker
from benchmarks.manila_peer.configuration import DATABASE, Addresses, manila_conf
from benchmarks.manila_peer.programs import Programs
from conformance import virtual_env
from conformance.cloud import Cloud, cloud_of, keystone
from lab.control_plane import ControlPlane

LOCK = Path("packaging/manila-peer.lock")
VENV = Path("build/bench/manila-venv")
SERVICE_TYPE = "manila-peer"
"""Not `shared-file-system`: under that name the same catalogue has Isthmus's own API, which does not run there."""
SERVICES = ("manila-scheduler", "manila-share", "manila-data")
API_PROCESSES, API_THREADS = 2, 8
START_SECONDS = 120.0


class ManilaPeer:
    """Manila's services with RabbitMQ, and Keystone and MariaDB as `isthmus up --only keystone` starts them."""

    name = "manila"

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._undo = ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="manila-peer-"))
        self.plane = ControlPlane(only=("keystone",))
        self.programs = Programs(self.directory)

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

    @property
    def cloud(self) -> Cloud:
        """Its administrator."""
        return cloud_of(self.plane.admin_environment, SERVICE_TYPE)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return all processes by program, with its Keystone's and MariaDB's."""
        return plane_processes(self.plane, ("mariadb", "keystone")) | self.programs.processes()

    def _start(self) -> None:
        check_packages()
        python = virtual_env.ensure(VENV.absolute(), LOCK)
        self._undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._undo.callback(self.plane.close)
        self.plane.start()
        self._undo.callback(self.programs.stop)
        api_port, amqp_port, distribution_port, epmd_port = free_ports(4)
        start_broker(self.programs, self.directory, amqp_port, distribution_port, epmd_port)
        socket_path = self.plane.state_dir / "run" / "mariadb.sock"
        addresses = Addresses(api_port, amqp_port, socket_path)
        configuration = self._configure(python, addresses)
        make_database(socket_path)
        manage = [str(python.parent / "manila-manage"), "--config-file", str(configuration), "db", "sync"]
        subprocess.run(manage, check=True, capture_output=True)
        register(self.cloud, f"http://127.0.0.1:{api_port}/v2")
        self._start_services(python, configuration, api_port)

    def _configure(self, python: Path, addresses: Addresses) -> Path:
        for name in ("lock", "coordination"):
            (self.directory / name).mkdir()
        configuration = self.directory / "manila.conf"
        api_paste = python.parent.parent / "etc" / "manila" / "api-paste.ini"
        configuration.write_text(manila_conf(self.directory, addresses, self.cloud, api_paste, self._delay))
        return configuration

    def _start_services(self, python: Path, configuration: Path, port: int) -> None:
        gunicorn = [
            str(python.parent / "gunicorn"), "--chdir", str(Path(__file__).parent), "--bind", f"127.0.0.1:{port}",
            "--workers", str(API_PROCESSES), "--threads", str(API_THREADS), "wsgi:application",
        ]  # fmt: skip
        self.programs.start("manila-api", gunicorn, {"MANILA_CONF": str(configuration)})
        for service in SERVICES:
            self.programs.start(service, [str(python.parent / service), "--config-file", str(configuration)], {})
        self.programs.await_port(port, START_SECONDS)


def plane_processes(plane: ControlPlane, parts: tuple[str, ...]) -> dict[str, list[psutil.Process]]:
    """Return the processes of some parts of a control plane, children included."""
    firsts = {part: psutil.Process(plane.pid(part)) for part in parts}
    return {part: [first, *first.children(recursive=True)] for part, first in firsts.items()}


def check_packages() -> None:
    """Raise RuntimeError saying what to install when RabbitMQ is not there."""
    missing = [path for path in (EPMD, SERVER) if not Path(path).exists()]
    if missing:
        raise RuntimeError(
            f"{' and '.join(missing)} not found: install what packaging/manila-peer.debian.txt lists, "
            "or measure Isthmus alone with --sides isthmus"
        )


def free_ports(count: int) -> list[int]:
    """Return free loopback ports, all different."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def make_database(socket_path: Path) -> None:
    """Make Manila's empty database."""
    connection = pymysql.connect(unix_socket=str(socket_path), user="root")
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")


def register(cloud: Cloud, url: str) -> None:
    """Put the service into Keystone's catalogue."""
    rest = keystone(cloud)
    made = rest.post("/services", json={"service": {"type": SERVICE_TYPE, "name": "manila"}}).json()
    endpoint = {"service_id": made["service"]["id"], "interface": "public", "region_id": cloud.region, "url": url}
    rest.post("/endpoints", json={"endpoint": endpoint})
