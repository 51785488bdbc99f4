"""An object store on this machine: the real Swift (its proxy, account, container and object servers) on one device.

It checks tokens with a Keystone that is there and stands in its catalogue as long as it runs. It speaks S3, too: a
project's containers are its buckets, and keys are EC2 credentials of Keystone's users. Needs a directory whose
file system keeps extended attributes, and `scripts/setup-openstack-lab`.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openstack
import requests

from lab.control_plane import free_ports

START_SECONDS = 120
_SERVERS = ("account", "container", "object", "proxy")
_RINGS = """
import sys
from swift.common.ring import RingBuilder
place, ports = sys.argv[1], sys.argv[2:]
for kind, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(4, 1, 1)
    device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0}
    builder.add_dev({**device, "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{place}/{kind}.ring.gz")
"""
_BACKEND = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = root
workers = 0
swift_dir = {place}
devices = {place}/devices
mount_check = false
log_address = /nonexistent/log
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = root
workers = 0
swift_dir = {place}
log_address = /nonexistent/log
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck authtoken s3api s3token keystoneauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
# Else the parts of what is deleted wait for an expirer, which does not run here.
allow_async_delete = false
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
auth_type = password
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
username = {username}
password = {password}
project_name = {project_name}
user_domain_id = default
project_domain_id = default
delay_auth_decision = true
[filter:s3api]
use = egg:swift#s3api
location = {region}
storage_domain = localhost
[filter:s3token]
use = egg:swift#s3token
auth_uri = {auth_url}
auth_type = password
auth_url = {auth_url}
username = {username}
password = {password}
project_name = {project_name}
user_domain_id = default
project_domain_id = default
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
"""


def venv() -> Path:
    """Return Swift's virtual environment. Raises `RuntimeError` if it is not installed."""
    lock = Path(__file__).parents[1] / "packaging" / "swift-lab.lock"
    cache = Path(os.environ.get("ISTHMUS_CACHE") or "/var/lib/isthmus/cache")
    found = cache / "swift-lab" / sha256(lock.read_bytes()).hexdigest()[:16] / "venv"
    if not (found / "complete").exists():
        raise RuntimeError("the lab's object store is not installed: run scripts/setup-openstack-lab")
    return found


class ObjectStore:
    """A context manager. `auth` is an administrator's, as clouds.yaml has it; `region` is Keystone's."""

    def __init__(self, auth: Mapping[str, str], region: str) -> None:
        self._auth, self._region = dict(auth), region
        self._closing = contextlib.ExitStack()
        self._place = Path(tempfile.mkdtemp(prefix="/var/tmp/os-"))
        self._closing.callback(shutil.rmtree, self._place, ignore_errors=True)
        self._ports = dict(zip(_SERVERS, list(free_ports().values())[: len(_SERVERS)], strict=True))

    @property
    def s3_url(self) -> str:
        """Where S3 is spoken, without TLS."""
        return f"http://127.0.0.1:{self._ports['proxy']}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _start(self) -> None:
        place = self._place
        (place / "devices" / "d1").mkdir(parents=True)
        (place / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = lab\nswift_hash_path_prefix = lab\n")
        for kind in _SERVERS:
            text = _PROXY if kind == "proxy" else _BACKEND
            (place / f"{kind}.conf").write_text(
                text.format(kind=kind, port=self._ports[kind], place=place, region=self._region, **self._auth)
            )
        python = str(venv() / "bin" / "python")
        ports = [str(self._ports[kind]) for kind in _SERVERS[:-1]]
        subprocess.run([python, "-c", _RINGS, str(place), *ports], check=True, timeout=START_SECONDS)
        for kind in _SERVERS:
            with (place / f"{kind}.log").open("wb") as log:
                words = [str(venv() / "bin" / f"swift-{kind}-server"), str(place / f"{kind}.conf"), "-v"]
                server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self._closing.callback(_end, server)
        self._wait()
        self._enter_catalogue()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        for kind in _SERVERS:
            # A back end's answer to a request that it does not know is an answer.
            url = f"http://127.0.0.1:{self._ports[kind]}/healthcheck"
            while True:
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(url, timeout=10)
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Swift's {kind} server does not answer: {self.log(kind)}")
                time.sleep(0.1)

    def log(self, kind: str) -> str:
        """Return the end of a server's log."""
        return (self._place / f"{kind}.log").read_text(errors="replace")[-3000:]

    def _enter_catalogue(self) -> None:
        keystone: Any = openstack.connection.Connection(auth=self._auth, region_name=self._region)
        self._closing.callback(keystone.close)
        service = keystone.identity.create_service(name="swift", type="object-store")
        self._closing.callback(keystone.identity.delete_service, service)
        url = f"http://127.0.0.1:{self._ports['proxy']}/v1/AUTH_%(project_id)s"
        for interface in ("public", "internal"):
            keystone.identity.create_endpoint(
                service_id=service.id, interface=interface, url=url, region_id=self._region
            )


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
