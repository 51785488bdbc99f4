"""TLS between two workers that trust each other for one copy: each shows a certificate, each knows the other's.

There is no authority. A certificate is made for one attempt at a copy and signed with its own key; its key never leaves
the memory of the process that made it, and what ends the trust is the end of the copy, not a date. TLS 1.3 only.
"""

import os
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from isthmus.control.errors import Unavailable

# Clocks of two sites may differ by anything, and the certificate itself is compared.
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True)
class Identity:
    """One end's certificate, for all to see, and its private key; both PEM."""

    certificate: str
    key: bytes = field(repr=False)

    @classmethod
    def make(cls) -> Self:
        """Make a new one; a millisecond, and the first time a library of 3 MiB is loaded."""
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.x509.oid import NameOID  # noqa: PLC0415

        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Isthmus worker")])
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_ALWAYS[0])
            .not_valid_after(_ALWAYS[1])
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM).decode(), secret)


def sending(identity: Identity, peer: str) -> ssl.SSLContext:
    """TLS of the sending end, to whoever has the certificate `peer`. Unavailable if that is none."""
    return _trusting(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), identity, peer)


def receiving(identity: Identity, peer: str) -> ssl.SSLContext:
    """TLS of the receiving end, for whoever has the certificate `peer`. Unavailable if that is none."""
    return _trusting(unnamed(), identity, peer)


def unnamed() -> ssl.SSLContext:
    """TLS of a receiving end that does not know yet which copy a connection is for: it accepts nobody."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    # No resumption: each connection shows its certificate.
    made.num_tickets = 0
    return made


def is_peer(connection: ssl.SSLSocket, peer: str) -> bool:
    """Whether the other end of a connection has shown this very certificate."""
    return connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(peer)


def _trusting(made: ssl.SSLContext, identity: Identity, peer: str) -> ssl.SSLContext:
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        made.load_verify_locations(cadata=peer)
    except (ssl.SSLError, ValueError) as error:
        raise Unavailable(f"the other worker's certificate cannot be used: {error}") from None
    _load(made, identity)
    return made


def _load(context: ssl.SSLContext, identity: Identity) -> None:
    """Give the context its key, by way of a file that only this process has, in memory: the ssl module takes files."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(identity.certificate.encode() + identity.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
