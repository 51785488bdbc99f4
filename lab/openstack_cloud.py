"""A whole OpenStack cloud on this machine: the real Keystone, Glance, Placement, Neutron with OVN, Cinder and Nova.

    with OpenStackCloud() as cloud:
        cloud.connect("admin").compute.servers()

Machines run under emulation, volumes are files in `share`, and everything is in namespaces of its own: the machine's
ports, libvirt, bridges and mounts stay as they are, several clouds live side by side, and one dies with its starter.
From outside it is reached at `address`, a loopback address of its own, by the very URLs of its catalogue.
Needs root and `scripts/setup-openstack-lab`. `python -m lab.openstack_cloud` runs one until Ctrl-C.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openstack

from isthmus.embedded.layout import Layout
from isthmus.embedded.supervisor import read_reports
from isthmus.embedded.watch import State
from lab import openstack_settings as settings
from lab.network_host import NetworkHost
from lab.network_relay import LoopbackRelay

START_SECONDS = 400
_ROOT = Path(__file__).parents[1]


class OpenStackCloud:
    """One cloud; a context manager. Its directory is removed at the end. Users: admin, tenant, neighbour."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ol-"))
        self.address = f"127.{random.randrange(64, 250)}.{random.randrange(256)}.1"
        self.share = self.directory / "share"
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self.directory, ignore_errors=True)

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

    def start(self) -> None:
        """Start everything; return when a machine can be made. Raises `TimeoutError` with what is missing."""
        _copy_seed(self.directory)
        self.host = self._closing.enter_context(NetworkHost())
        self._closing.enter_context(LoopbackRelay(None, self.host, *settings.PORTS.values(), address=self.address))
        supervisor = _inside(self.host, self.directory, "supervise", self.address)
        self._closing.callback(_end, supervisor)
        self._wait_for_parts(supervisor)
        self._wait_for_services()

    def close(self) -> None:
        """End all of it. Calling it twice is fine."""
        self._closing.close()

    @property
    def auth_url(self) -> str:
        """Keystone's address."""
        return settings.url("keystone", self.address) + "/v3"

    @property
    def share_line(self) -> str:
        """The line of `[worker] file_shares` of a worker on this machine."""
        return f"{self.auth_url} {settings.SHARE} {self.share}"

    def auth(self, user: str = "tenant", project: str | None = None) -> dict[str, str]:
        """Return the credentials of a user, as openstacksdk and the provider's connection details have them."""
        return {
            "auth_url": self.auth_url,
            "username": user,
            "password": settings.PASSWORD,
            "project_name": project or user,
            "user_domain_id": "default",
            "project_domain_id": "default",
        }

    def connect(self, user: str = "admin", project: str | None = None) -> Any:
        """Return openstacksdk's connection of a user; the caller closes it."""
        return openstack.connection.Connection(auth=self.auth(user, project), region_name=settings.REGION)

    def log(self, part: str, characters: int = 3000) -> str:
        """Return the end of a part's log."""
        file = self.directory / "log" / f"{part}.log"
        return file.read_text(errors="replace")[-characters:] if file.exists() else ""

    def _wait_for_parts(self, supervisor: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            reports = read_reports(Layout(self.directory))
            late = [each for each in reports if each.state is not State.RUNNING]
            if reports and not late:
                return
            if supervisor.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(f"{each.name} {each.state} {each.message}" for each in late)
                last = (self.directory / "inside.log").read_text()[-2000:]
                raise TimeoutError(f"the OpenStack cloud did not start: {said}\n{last}")
            time.sleep(0.2)

    def _wait_for_services(self) -> None:
        """Wait until the compute node can take machines and Cinder's back end volumes."""
        mapped = [str(settings.venv() / "bin/nova-manage"), "--config-file", str(settings.STATE / "nova/nova.conf")]
        deadline = time.monotonic() + START_SECONDS
        with self.connect() as cloud:
            while late := _what_is_late(cloud):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the OpenStack cloud is not ready: {late}")
                time.sleep(0.5)
            self.host.run(*mapped, "cell_v2", "discover_hosts", limit=120)
            _make_public_things(cloud)


def _what_is_late(cloud: Any) -> str:
    try:
        compute = {each.binary: each.state for each in cloud.compute.services()}
        volume = {each.binary: each.state for each in cloud.block_storage.services()}
        # A driver that failed to start looks up for a while, but has no pool.
        ready = {
            "compute": compute.get("nova-compute") == compute.get("nova-scheduler") == "up",
            "conductor": compute.get("nova-conductor") == "up",
            "volumes": volume.get("cinder-volume") == volume.get("cinder-scheduler") == "up",
            "pools": bool(list(cloud.block_storage.backend_pools())),
            "chassis": any(each.is_alive for each in cloud.network.agents()),
            "provider": bool(list(cloud.placement.resource_providers())),
        }
    except openstack.exceptions.SDKException as error:
        return str(error)
    return ", ".join(name for name, is_ready in ready.items() if not is_ready)


def _make_public_things(cloud: Any) -> None:
    """Make what an operator offers: a volume type, flavors, and a network for the tenant."""
    cloud.block_storage.create_type(name=settings.VOLUME_TYPE, extra_specs={"volume_backend_name": "files"})
    for name, memory, processors in (("tiny", 192, 1), ("small", 512, 1), ("double", 512, 2)):
        cloud.compute.create_flavor(name=name, ram=memory, vcpus=processors, disk=1)
    project = cloud.identity.find_project("tenant", ignore_missing=False)
    for number, name in enumerate(("blue", "green")):
        network = cloud.network.create_network(name=name, project_id=project.id)
        cidr = f"192.168.{120 + number}.0/24"
        cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr=cidr, name=name, project_id=project.id)


def _inside(host: NetworkHost, directory: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Run `lab.openstack_inside` in a host, its state directory bound to where all configuration has it."""
    host.run("mkdir", "-p", str(settings.STATE))
    host.run("mount", "--bind", str(directory), str(settings.STATE))
    cache = os.environ.get("ISTHMUS_CACHE") or "/var/lib/isthmus/cache"
    return host.spawn(
        str(settings.venv() / "bin" / "python"),
        *("-m", "lab.openstack_inside", *words),
        log=directory / "inside.log",
        env={"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}", "PATH": os.environ["PATH"], "ISTHMUS_CACHE": cache},
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The namespaces' end ends all in them; nothing of it is kept, so nothing need be flushed."""
    process.kill()
    process.wait()


def _copy_seed(directory: Path) -> None:
    """Fill a cloud's directory with databases, keys and catalogue, which are made once for each version."""
    kept = settings.cache_directory()
    settings.venv()
    seed = kept / f"seed-{_digest()}"
    with (kept / "seed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not seed.exists():
            _make_seed(seed)
        shutil.copytree(seed, directory, dirs_exist_ok=True)


def _make_seed(seed: Path) -> None:
    with tempfile.TemporaryDirectory(dir=seed.parent) as name, NetworkHost() as host:
        made = Path(name) / "state"
        made.mkdir()
        process = _inside(host, made, "seed")
        if process.wait(900) != 0:
            raise RuntimeError(f"the seed could not be made: {(made / 'inside.log').read_text()[-3000:]}")
        whole = Path(name) / "whole"
        for room in ("mariadb/data", "keystone"):
            shutil.copytree(made / room, whole / room)
        whole.rename(seed)


def _digest() -> str:
    """Return what stands for all that goes into the seed."""
    texts = [json.dumps(settings.directory()), json.dumps(dict(settings.configuration()))]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    yield stop


def main() -> int:
    """Run a cloud until it is interrupted."""
    with _until_signalled() as stop, OpenStackCloud() as cloud:
        details = {"auth": cloud.auth(), "region_name": settings.REGION}
        file, worker = cloud.directory / "endpoint.json", cloud.directory / "worker.conf"
        file.write_text(json.dumps(details, indent=2) + "\n")
        worker.write_text(f"[worker]\nqueues = lab\nfile_shares = {cloud.share_line}\n")
        print(f"OpenStack is at {cloud.auth_url} (users admin, tenant, neighbour; password {settings.PASSWORD})\n")
        print("A worker that has its share, beside those of `isthmus up`:")
        print(f"isthmus worker --config-file /var/lib/isthmus/control/isthmus.conf --config-file {worker}")
        print(f"isthmus endpoint create --provider openstack --name lab --region lab --connection {file}")
        for name, value in cloud.auth().items():
            print(f"export OS_{name.upper()}={value}")
        print("\nCtrl-C ends it and removes everything.", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
