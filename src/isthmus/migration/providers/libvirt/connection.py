"""A connection to one hypervisor: opened when first needed, within seconds, and never hanging.

The connection URI comes from a tenant, so only what is known to be harmless on the worker passes: libvirt's `ext`
transport and its `command` and `netcat` parameters would run a program of the tenant's choice here.
"""

import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import libvirt

from isthmus.control.errors import InvalidInput, NotAuthenticated, Unavailable
from isthmus.migration.providers.libvirt.faults import translate
from isthmus.migration.providers.premises import NOTHING, Premises

OPEN_SECONDS = 10
"""How long a hypervisor may take to accept a connection."""
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3
"""A peer silent for about 5 * 4 seconds is dead, and calls waiting for it fail."""

_TRANSPORTS = frozenset({"", "unix", "tls", "tcp", "ssh", "libssh", "libssh2"})
_PARAMETERS = frozenset({"socket", "mode", "no_verify", "no_tty", "sshauth", "keepalive_interval", "keepalive_count"})
TLS_KEYS: Mapping[str, str] = {
    "tls_ca": "ca-cert.pem",
    "tls_certificate": "client-cert.pem",
    "tls_key": "client-key.pem",
}
"""The PEM texts of connection details, and how QEMU and libnbd name their files."""
_REFUSED = ("Permission denied", "Access denied", "authentication failed")
"""What ssh, libssh and libvirt itself say of credentials that they do not take."""
_HOST = re.compile(r"^[A-Za-z0-9\[][A-Za-z0-9.:\-_%\]]*$")

_event_loop = threading.Lock()
_event_loop_started = False


def _run_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _ignore_error(_context: object, _error: object) -> None:
    """libvirt prints errors on stderr unless told otherwise; each is raised as an exception anyway."""


def _start_event_loop() -> None:
    """Start libvirt's event loop, which keepalive and non-blocking streams need, once a process."""
    global _event_loop_started  # noqa: PLW0603 - libvirt's own event loop is global to the process
    with _event_loop:
        if _event_loop_started:
            return
        libvirt.registerErrorHandler(_ignore_error, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_events, name="libvirt-events", daemon=True).start()
        _event_loop_started = True


def checked_uri(uri: str) -> str:
    """Return `uri` if it names a QEMU hypervisor in a way that is safe here; InvalidInput with the reason if not."""
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver != "qemu" or transport not in _TRANSPORTS:
        known = ", ".join(sorted(f"qemu+{name}" for name in _TRANSPORTS if name))
        raise InvalidInput(f"hypervisor URI scheme {parts.scheme!r} is not supported; use qemu, {known}")
    unknown = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - _PARAMETERS
    if unknown:
        raise InvalidInput(f"hypervisor URI parameter {min(unknown)!r} is not allowed; leave it out")
    if parts.hostname and not _HOST.match(parts.hostname):
        raise InvalidInput(f"hypervisor host {parts.hostname!r} is not a host name or address")
    if parts.password is not None:
        raise InvalidInput("the hypervisor URI must not hold a password; give it as `password`")
    return uri


def leads_here(uri: str) -> bool:
    """Tell whether a URI leads to this machine's own libvirtd: by a unix socket, or by one of its own addresses.

    Without a host all of libvirt's transports stay on the machine, and `unix` does so with one too.
    """
    parts = urlsplit(uri)
    return parts.scheme.endswith("+unix") or not parts.hostname or _is_own(parts.hostname)


def _is_own(host: str) -> bool:
    """Tell whether a host's name or address, in any way of writing (`127.1`), is one of this machine's."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False  # nobody can connect to it either
    return any(_can_be_bound(family, address) for family, _, _, _, address in found)


def _can_be_bound(family: int, address: Any) -> bool:
    """Only a machine's own addresses can be bound there."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


class Hypervisor:
    """One lazily opened libvirt connection, made from an endpoint's connection details (`schemas.CONNECTION`)."""

    def __init__(self, details: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        self._details = details
        self._premises = premises
        self._uri = checked_uri(str(details["uri"]))
        self._connection: Any = None
        self._credentials: Path | None = None

    @property
    def label(self) -> str:
        """The URI without parameters, for messages."""
        return self._uri.partition("?")[0]

    @property
    def uri(self) -> str:
        """The connection URI as given."""
        return self._uri

    @property
    def is_local(self) -> bool:
        """Whether the hypervisor is on this machine, by its URI."""
        return not urlsplit(self._uri).netloc

    @property
    def nbd(self) -> Mapping[str, Any]:
        """The `nbd` part of the connection details."""
        part: Mapping[str, Any] = self._details.get("nbd") or {}
        return part

    @property
    def nbd_certificates(self) -> str | None:
        """A directory with the client's certificates for NBD, as QEMU and libnbd name them; None: there are none.

        They are the endpoint's own, those of `nbd` before those for libvirt; without a key of its own, the worker's.
        """
        own = {key: str(text) for key in TLS_KEYS if (text := self.nbd.get(key) or self._details.get(key))}
        if "tls_key" not in own and self._premises.nbd_certificates:
            return str(self._premises.nbd_certificates)
        files = [self._credential_file(f"nbd/{TLS_KEYS[key]}", text) for key, text in own.items()]
        return str(files[0].parent) if files else None

    @property
    def connection(self) -> Any:
        """The open `virConnect`; raises Unavailable or NotAuthenticated within some seconds."""
        if self._connection is not None and not self._connection.isAlive():
            self._connection.close()  # libvirtd went away, and may be back
            self._connection = None
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def close(self) -> None:
        """Close the connection and remove credential files."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
        if self._credentials is not None:
            shutil.rmtree(self._credentials, ignore_errors=True)
            self._credentials = None

    def _open(self) -> Any:
        """Open in a thread: libvirt has no time limit for connecting."""
        _start_event_loop()
        outcome: list[Any] = []
        abandoned = threading.Event()

        def attempt() -> None:
            try:
                connection = libvirt.openAuth(self._full_uri(), self._answers(), 0)
            except libvirt.libvirtError as error:
                outcome.append(error)
                return
            outcome.append(connection)
            if abandoned.is_set():
                connection.close()

        thread = threading.Thread(target=attempt, name="libvirt-open", daemon=True)
        thread.start()
        thread.join(OPEN_SECONDS)
        if not outcome:
            abandoned.set()
            raise Unavailable(
                f"hypervisor {self.label} did not answer within {OPEN_SECONDS} s; check its address and its firewall"
            )
        found = outcome[0]
        if isinstance(found, BaseException):
            raise self._why_not_open(found) from found
        found.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        return found

    def _why_not_open(self, error: libvirt.libvirtError) -> Exception:
        """Whatever stops a connection is either refused credentials or a hypervisor that is not there."""
        subject = f"hypervisor {self.label}"
        found = translate(error, subject)
        text = str(error)
        if isinstance(found, NotAuthenticated) or any(words in text for words in _REFUSED):
            return NotAuthenticated(f"{subject} refuses the credentials; correct the endpoint's ({text})")
        return Unavailable(f"{subject} does not answer ({text}); check its address and that libvirtd runs there")

    def _answers(self) -> list[Any]:
        """Answer SASL's questions from the details; never ask on a terminal."""
        known = {
            libvirt.VIR_CRED_AUTHNAME: self._details.get("username"),
            libvirt.VIR_CRED_PASSPHRASE: self._details.get("password"),
            libvirt.VIR_CRED_NOECHOPROMPT: self._details.get("password"),
        }

        def answer(asked: list[list[Any]], _data: object) -> int:
            for question in asked:
                value = known.get(question[0])
                if value is None:
                    return -1
                question[4] = value
            return 0

        return [list(known), answer, None]

    def _full_uri(self) -> str:
        """Add the places of keys and certificates, written to a directory that only we can read."""
        parts = urlsplit(self._uri)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        files = {
            "ssh_private_key": ("keyfile", "id"),
            "ssh_known_hosts": ("known_hosts", "known_hosts"),
            "tls_ca": ("pkipath", "cacert.pem"),
            "tls_certificate": ("pkipath", "clientcert.pem"),
            "tls_key": ("pkipath", "clientkey.pem"),
        }
        for key, (parameter, name) in files.items():
            if key in self._details:
                path = self._credential_file(name, str(self._details[key]))
                parameters[parameter] = str(path.parent if parameter == "pkipath" else path)
        if "ssh" in parts.scheme:
            parameters.setdefault("no_tty", "1")
        scheme = parts.scheme
        if scheme == "qemu+ssh" and "known_hosts" in parameters:
            # libvirt hands `known_hosts` to its SSH libraries only, never to the ssh program.
            scheme = "qemu+libssh"
        if scheme == "qemu+libssh" and "keyfile" in parameters:
            parameters.setdefault("sshauth", "privkey")
        return urlunsplit(parts._replace(scheme=scheme, query=urlencode(parameters)))

    def _credential_file(self, name: str, content: str) -> Path:
        if self._credentials is None:
            self._credentials = Path(tempfile.mkdtemp(prefix="isthmus-credentials-"))
        path = self._credentials / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(0o600)
        path.write_text(content.rstrip("\n") + "\n", encoding="utf-8")
        return path
