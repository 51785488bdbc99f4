"""TLS on both sides, with certificates made here."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.functional.disks.certificates import certificates
from tests.functional.disks.servers import MIB, Lab, Recorder, alike, lab

from isthmus.control.errors import Unavailable
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, Side


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def room() -> Iterator[Lab]:
    with lab() as made:
        yield made


def over_tls(room: Lab, port: int, server_side: Path, client_side: Path | None) -> CopyJob:
    source = room.qemu_nbd(room.filled("source", 16 * MIB), "raw", "-r")
    target = room.disk("target", 16 * MIB)
    credentials = f"tls-creds-x509,id=tls0,dir={server_side},endpoint=server,verify-peer=yes"
    command = ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-b", "127.0.0.1", "-p", str(port)]
    room.listen(port, [*command, "--object", credentials, "--tls-creds", "tls0", str(target)])
    side = Side(f"nbds://localhost:{port}", client_side)
    return CopyJob(**{**room.job(source, source, 16 * MIB).__dict__, "destination": side})


def copy(job: CopyJob) -> None:
    copy_disks([job], bandwidth_limit=0, connections=2, report=Recorder())


def test_a_copy_over_tls_with_certificates_on_both_ends(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    copy(over_tls(room, free_port(), pki, pki))
    assert alike(room.path / "source", room.path / "target")


def test_a_server_of_another_authority_is_refused(room: Lab) -> None:
    theirs, ours = certificates(room.path / "theirs"), certificates(room.path / "ours")
    with pytest.raises(Unavailable, match="destination of disk vda"):
        copy(over_tls(room, free_port(), theirs, ours))


def test_a_server_of_another_name_is_refused(room: Lab) -> None:
    pki = certificates(room.path / "pki", server_name="elsewhere")
    with pytest.raises(Unavailable, match="destination of disk vda"):
        copy(over_tls(room, free_port(), pki, pki))


def test_a_client_without_a_certificate_is_refused(room: Lab) -> None:
    pki = certificates(room.path / "pki")
    bare = room.path / "bare"
    bare.mkdir()
    (bare / "ca-cert.pem").write_bytes((pki / "ca-cert.pem").read_bytes())
    with pytest.raises(Unavailable, match="destination of disk vda"):
        copy(over_tls(room, free_port(), pki, bare))
