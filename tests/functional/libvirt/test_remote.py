"""Hypervisors elsewhere, by libvirt's own TLS and by SSH, against a real libvirtd and a real sshd.

A cloud of the lab has a network of its own, so the worker's part is a process that is put into it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.clouds import TLS_PORT, LibvirtCloud
from lab.tiny_guest import TinyGuest, build_disks, domain_xml
from tests.functional.disks.certificates import certificates

SSH_PORT = 2222
_WORKER = """
import json, sys
from isthmus.control.errors import IsthmusError
from isthmus.migration.providers.libvirt.provider import LibvirtProvider
try:
    with LibvirtProvider(json.load(open(sys.argv[1]))) as provider:
        provider.validate_connection()
        print(json.dumps([machine.name for machine in provider.list_machines()]))
except IsthmusError as error:
    print(json.dumps({"error": type(error).__name__, "message": error.message}))
"""
_SSHD = """ListenAddress 127.0.0.1
Port {port}
HostKey {place}/host
AuthorizedKeysFile {place}/client.pub
PidFile {place}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


@dataclass
class Far:
    """A cloud with one machine, `tiny`, that is reached from inside its own network only."""

    cloud: LibvirtCloud
    directory: Path

    def ask(self, details: dict[str, Any]) -> Any:
        """Return the names of the machines that a provider with these details finds, or its error."""
        place = self.directory / "details.json"
        place.touch(0o600)
        place.write_text(json.dumps(details))
        done = self.cloud.run(sys.executable, "-c", _WORKER, str(place), timeout_seconds=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    directory = Path(tempfile.mkdtemp(prefix="/tmp/ir-"))
    made = certificates(directory / "certificates")
    with LibvirtCloud("far", directory / "f", certificates=made) as cloud, closing(cloud.connect()) as connection:
        disks = build_disks(cloud.pool_directory, TinyGuest(size_mib=32), name="tiny")
        connection.defineXML(domain_xml("tiny", disks, "qcow2"))
        yield Far(cloud, directory)
    shutil.rmtree(directory)


def _tls_details(made: Path) -> dict[str, Any]:
    return {
        "uri": f"qemu+tls://localhost:{TLS_PORT}/system",
        "tls_ca": (made / "ca-cert.pem").read_text(),
        "tls_certificate": (made / "client-cert.pem").read_text(),
        "tls_key": (made / "client-key.pem").read_text(),
    }


def test_a_hypervisor_is_reached_by_tls_with_certificates_of_the_endpoint(far: Far) -> None:
    assert far.ask(_tls_details(far.directory / "certificates")) == ["tiny"]


def test_a_certificate_of_another_authority_is_refused_and_told(far: Far) -> None:
    strange = certificates(far.directory / "strange")
    theirs = _tls_details(strange)
    known = _tls_details(far.directory / "certificates")
    unknown_client = far.ask({**theirs, "tls_ca": known["tls_ca"]})
    unknown_server = far.ask({**known, "tls_ca": theirs["tls_ca"]})
    for answer in (unknown_client, unknown_server):
        assert answer["error"] in {"NotAuthenticated", "Unavailable"}
        assert "qemu+tls://localhost" in answer["message"]


@pytest.fixture(scope="module")
def ssh(far: Far) -> Iterator[dict[str, str]]:
    """A real sshd in the cloud; the connection details that let a worker in."""
    place = far.directory / "ssh"
    place.mkdir()
    for name in ("host", "client", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    (place / "sshd_config").write_text(_SSHD.format(port=SSH_PORT, place=place))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    started = far.cloud.run("/usr/sbin/sshd", "-f", str(place / "sshd_config"), "-E", str(place / "log"))
    assert started.returncode == 0, started.stderr
    deadline = time.monotonic() + 30
    while not (place / "sshd.pid").exists():
        assert time.monotonic() < deadline, (place / "log").read_text()
        time.sleep(0.05)
    yield {
        "uri": f"qemu+ssh://root@127.0.0.1:{SSH_PORT}/system",
        "ssh_private_key": (place / "client").read_text(),
        "ssh_known_hosts": f"[127.0.0.1]:{SSH_PORT} {(place / 'host.pub').read_text()}",
        "stranger": (place / "stranger").read_text(),
    }
    os.kill(int((place / "sshd.pid").read_text()), signal.SIGTERM)  # it lives outside the cloud's PID namespace


def test_a_hypervisor_is_reached_by_ssh_with_a_key_and_known_hosts_of_the_endpoint(
    far: Far, ssh: dict[str, str]
) -> None:
    details = {name: value for name, value in ssh.items() if name != "stranger"}
    assert far.ask(details) == ["tiny"]


def test_a_wrong_key_is_refused_and_told(far: Far, ssh: dict[str, str]) -> None:
    details = {name: value for name, value in ssh.items() if name != "stranger"}
    answer = far.ask({**details, "ssh_private_key": ssh["stranger"]})
    assert answer["error"] == "NotAuthenticated", answer
    assert "qemu+ssh://root@127.0.0.1" in answer["message"]
    assert "PRIVATE KEY" not in answer["message"]


def test_a_host_that_is_not_the_known_one_is_not_spoken_to(far: Far, ssh: dict[str, str]) -> None:
    details = {name: value for name, value in ssh.items() if name != "stranger"}
    strange = (far.directory / "ssh" / "stranger.pub").read_text()
    answer = far.ask({**details, "ssh_known_hosts": f"[127.0.0.1]:{SSH_PORT} {strange}"})
    assert answer["error"] in {"NotAuthenticated", "Unavailable"}
    assert "host key" in answer["message"].lower()
