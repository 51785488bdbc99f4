"""TLS on both sides, with certificates made here."""

import datetime
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.functional.disks.servers import MIB, Lab, Recorder, alike, lab

from isthmus.control.errors import Unavailable
from isthmus.migration.disks.copy import copy_disks
from isthmus.migration.disks.job import CopyJob, Side


def certificates(folder: Path, server_name: str = "localhost") -> Path:
    """An authority, a server and a client, in the files that QEMU and libnbd look for."""
    folder.mkdir()
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = signed("authority", authority_key, None, authority_key)
    save(folder, "ca", authority, authority_key)
    for role, name in (("server", server_name), ("client", "worker")):
        key = ec.generate_private_key(ec.SECP256R1())
        save(folder, role, signed(name, key, authority, authority_key), key)
    return folder


def signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.DNSName(name), *([x509.IPAddress(IPv4Address("127.0.0.1"))] if name == "localhost" else [])]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def save(folder: Path, role: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{role}-cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{role}-key.pem").write_bytes(secret)


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
