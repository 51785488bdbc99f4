"""Certificates for the TLS tests: an authority, a server, a client, in the files that QEMU and libnbd look for."""

import datetime
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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
