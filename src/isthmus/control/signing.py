"""Signatures of documents that leave the control plane: Ed25519 (RFC 8032), with a key that it makes for itself.

The private key is a file of the service's own, made at its first use. Several API hosts are given the same file.
"""

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from isthmus.control.errors import InvalidInput, Unavailable

ALGORITHM = "Ed25519"
OWNER_ONLY = 0o600


class Signer:
    """The control plane's key. Nothing is read or made before the first use."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._key: Ed25519PrivateKey | None = None

    def sign(self, document: bytes) -> str:
        """Return the detached signature of a document as base64; `Unavailable` if the key cannot be read or made."""
        return base64.b64encode(self._private().sign(document)).decode("ascii")

    @property
    def public_key(self) -> str:
        """The public key as PEM (SubjectPublicKeyInfo); `Unavailable` as `sign`."""
        public = self._private().public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return pem.decode("ascii")

    @property
    def key_id(self) -> str:
        """A short name of the public key, see `key_id_of`."""
        return key_id_of(self.public_key)

    def _private(self) -> Ed25519PrivateKey:
        if self._key is None:
            try:
                self._key = _loaded(self._file)
            except OSError as error:
                raise Unavailable(
                    f"the signing key {self._file} cannot be used ({error.strerror}): let the API's user read and "
                    "write it, or set [api] report_key_file"
                ) from None
        return self._key


def verify(public_key: str, document: bytes, signature: str) -> None:
    """Return if the signature is this document's by this key; raise `InvalidInput` if it is not."""
    key = _public(public_key)
    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), document)
    except (InvalidSignature, binascii.Error, ValueError):
        raise InvalidInput(
            f"the signature does not fit the document and the key {key_id_of(public_key)}: one of the three was changed"
        ) from None


def key_id_of(public_key: str) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of a PEM key's 32 raw bytes; `InvalidInput` for no key."""
    raw = _public(public_key).public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:32]


def _public(text: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(text.encode("ascii", "replace"))
    except ValueError:
        raise InvalidInput("the key is not a public key in PEM form; `isthmus report key` prints it") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput("the key is not an Ed25519 key; `isthmus report key` prints the right one")
    return key


def _loaded(file: Path) -> Ed25519PrivateKey:
    if not file.exists():
        _make(file)
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Unavailable(f"{file} does not hold an Ed25519 key in PEM form: restore it, or move it away for a new one")
    return key


def _make(file: Path) -> None:
    """Make the key whole under another name and give it its own only if nobody was faster."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(pem)
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(new, file)
        except FileExistsError:
            return
    finally:
        new.unlink()
