"""NFS 3 as `isthmus up --with nfs3` serves it, beside an rpcbind in a host of its own."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab.share_clients import LibnfsClient, RefusedError
from lab.share_network import Namespace
from tests.functional.shares.btrfs_sites import RO, RW, allow, pseudo_path
from tests.share_serving import ShareSite, share_site

from isthmus.embedded import nfs3, share_servers
from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.facts import ShareFacts

LOOPBACK = "127.0.0.1"
SECONDS = 30


@dataclass
class Host:
    """A network with a loopback and a /run of its own; it sees what the machine mounts."""

    place: Namespace
    log: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def begin(self, *command: str) -> None:
        """Start a program that ends with the host."""
        with self.log.open("ab") as log:
            self.running.append(subprocess.Popen(self.place.command(*command), stdout=log, stderr=log))

    def check(self, port: int) -> str:
        """Return what the check before a start says in here; empty if all is well."""
        code = f"from isthmus.embedded import nfs3; nfs3.check({port})"
        said = self.place.run(sys.executable, "-c", code).stderr
        return said.strip().splitlines()[-1] if said.strip() else ""

    def end(self) -> None:
        """End all that was started."""
        for process in self.running:
            process.kill()
            process.wait()


def eventually(condition: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: {log.read_text()[-3000:]}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def ground() -> Iterator[str]:
    """Return a directory; what is mounted below it is mounted in the host, too."""
    with tempfile.TemporaryDirectory(prefix="/tmp/n3-") as place:
        subprocess.run(["mount", "--bind", "--make-shared", place, place], check=True)
        yield place
        subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="module")
def host(ground: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    assert ground
    with closing(Namespace(mounts=True, follows=True)) as place:
        place.ip("link", "set", "lo", "up")
        # Ganesha asks the resolver for its address, who wants another network than loopback to be there.
        place.ip("link", "add", "away", "type", "bridge")
        place.ip("addr", "add", "198.51.100.1/24", "dev", "away")
        place.ip("link", "set", "away", "up")
        made = Host(place, tmp_path_factory.mktemp("nfs3") / "log")
        assert place.run("sh", "-c", "mount -t tmpfs none /run && mkdir -p /run/rpcbind /run/ganesha").returncode == 0
        yield made
        made.end()


@pytest.fixture(scope="module")
def before(host: Host) -> str:
    """Return what the check says where there is no rpcbind."""
    return host.check(2049)


@pytest.fixture(scope="module")
def site(ground: str, host: Host, before: str) -> Iterator[ShareSite]:
    assert before
    with share_site(ground) as made:
        nfs3.CHOICE.choose(made.site.layout, wanted=True)
        share_servers.configure(made.site)
        made.start("share-bus")
        made.driver().start()
        host.begin("rpcbind", "-f", "-w")
        eventually(lambda: host.check(made.site.ports.nfs) == "", "rpcbind does not answer", host.log)
        (server,) = (part for part in share_servers.parts(made.site) if part.name == "nfs")
        host.begin("env", *(f"{name}={value}" for name, value in server.environment.items()), *server.command)
        eventually(
            lambda: "100003" in host.place.run("rpcinfo", "-p", LOOPBACK).stdout, "Ganesha is not known", host.log
        )
        yield made
        host.end()


def client(host: Host, site: ShareSite, facts: ShareFacts, version: int) -> LibnfsClient:
    """Return a client that asks rpcbind where mounts are made."""
    return LibnfsClient(host.place, LOOPBACK, pseudo_path(facts), port=site.site.ports.nfs, version=version)


def test_a_client_of_version_3_reads_and_writes_what_one_of_version_4_reads(
    host: Host, site: ShareSite, driver: BtrfsDriver, facts: ShareFacts
) -> None:
    assert allow(driver, facts, (LOOPBACK, RW)) == []
    client(host, site, facts, 3).put("by-version-3", b"contents")
    assert client(host, site, facts, 3).get("by-version-3") == b"contents"
    assert client(host, site, facts, 4).get("by-version-3") == b"contents"


def test_rules_hold_for_version_3(host: Host, site: ShareSite, driver: BtrfsDriver, facts: ShareFacts) -> None:
    seen = client(host, site, facts, 3)
    with pytest.raises(RefusedError):
        seen.names()
    allow(driver, facts, (LOOPBACK, RW))
    seen.put("file", b"contents")
    allow(driver, facts, (LOOPBACK, RO))
    with pytest.raises(RefusedError):
        seen.put("other", b"contents")
    assert seen.get("file") == b"contents"
    allow(driver, facts)
    with pytest.raises(RefusedError):
        seen.get("file")


def test_without_an_rpcbind_the_next_step_is_told(before: str) -> None:
    assert "NotSupported" in before
    assert "systemctl start rpcbind" in before
    assert "--without nfs3" in before


def test_another_nfs_server_is_not_displaced(host: Host, site: ShareSite) -> None:
    assert host.check(site.site.ports.nfs) == ""
    told = host.check(2049)
    assert "Conflict" in told
    assert f"at port {site.site.ports.nfs}" in told


def test_nothing_listens_beyond_loopback(host: Host, site: ShareSite) -> None:
    assert site
    sockets = host.place.run("ss", "-Hltnp").stdout.splitlines()
    listening = [line.split()[3] for line in sockets if "ganesha" in line]
    assert listening
    assert all("127.0.0.1" in address for address in listening), listening
