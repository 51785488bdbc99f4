"""How a share is reached: its rules and locations in the words of the server of its protocol."""

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.shares.drivers.btrfs.options import NfsOptions, SmbOptions
from isthmus.shares.drivers.contract import BackendUnavailable, DriverFailed
from isthmus.shares.drivers.facts import AccessLevel, AccessRule, AccessType, ExportLocation, RuleOutcome
from isthmus.shares.protocols.nfs_ganesha import Ganesha, NfsClient, NfsExport
from isthmus.shares.protocols.samba import Samba, SmbShare, is_user_name

MOUNT_OPTIONS = "__mount_options"
"""Manila's own key of a share's metadata for what a client must add when it mounts."""


class Serving(ABC):
    """One protocol. `name` is the subvolume's, `public` the name that clients mount by."""

    protocol: str
    metadata: Mapping[str, str]

    @abstractmethod
    def prepare(self) -> None:
        """Make what must be there before the server starts. Already so: returns."""

    @abstractmethod
    def check(self) -> None:
        """Raise BackendUnavailable if the server does not answer."""

    @abstractmethod
    def locations(self, public: str) -> tuple[ExportLocation, ...]:
        """Return how clients mount it, the first address preferred."""

    @abstractmethod
    def apply(
        self, name: str, public: str, path: Path, rules: Sequence[AccessRule], *, read_only: bool
    ) -> Mapping[str, RuleOutcome]:
        """Have exactly these rules hold; return those that cannot."""

    @abstractmethod
    def withdraw(self, name: str, public: str) -> None:
        """Serve it no more. Already so: returns."""

    @abstractmethod
    def serve_again(self, names: Sequence[str]) -> None:
        """Have the server know these of its exports."""


class NfsServing(Serving):
    """By NFS-Ganesha, to clients known by their addresses."""

    protocol = "NFS"

    def __init__(self, options: NfsOptions) -> None:
        self._options = options
        self._server = Ganesha(options.bus, options.exports)
        self.metadata = {} if options.port == 2049 else {MOUNT_OPTIONS: f"port={options.port}"}

    def prepare(self) -> None:
        """Make the directory of exports and its index."""
        self._server.prepare()

    def check(self) -> None:
        """Ask for the list of exports."""
        with server_errors():
            self._server.check()

    def locations(self, public: str) -> tuple[ExportLocation, ...]:
        """Return `address:/name` for each address."""
        addresses = [f"[{each}]" if ":" in each else each for each in self._options.addresses]
        return _in_order(f"{address}:/{public}" for address in addresses)

    def apply(
        self, name: str, public: str, path: Path, rules: Sequence[AccessRule], *, read_only: bool
    ) -> Mapping[str, RuleOutcome]:
        """Publish the export with one client for each rule."""
        outcomes: dict[str, RuleOutcome] = {}
        clients = []
        for rule in rules:
            try:
                network = _network(rule)
            except ValueError as error:
                outcomes[rule.rule_id] = RuleOutcome(error=str(error))
                continue
            clients.append(NfsClient(network, writable=rule.level is AccessLevel.RW and not read_only))
        versions, squash = self._options.versions, self._options.squash
        with server_errors():
            self._server.publish(NfsExport(name, path, public, clients, versions, squash))
        return outcomes

    def withdraw(self, name: str, public: str) -> None:
        """Remove the export from the server and its files."""
        del public
        with server_errors():
            self._server.withdraw(name)

    def serve_again(self, names: Sequence[str]) -> None:
        """Tell those that the server does not know."""
        with server_errors():
            self._server.publish_kept(names)


class SmbServing(Serving):
    """By Samba, to users that it knows."""

    protocol = "CIFS"

    def __init__(self, options: SmbOptions) -> None:
        self._options = options
        self._server = Samba(options.configuration)
        self.metadata = {} if options.port == 445 else {MOUNT_OPTIONS: f"port={options.port}"}

    def prepare(self) -> None:
        """Nothing: its registry is there as soon as it is asked."""

    def check(self) -> None:
        """Ping it."""
        with server_errors():
            self._server.check()

    def locations(self, public: str) -> tuple[ExportLocation, ...]:
        r"""Return `\\address\name` for each address."""
        return _in_order(f"\\\\{address}\\{public}" for address in self._options.addresses)

    def apply(
        self, name: str, public: str, path: Path, rules: Sequence[AccessRule], *, read_only: bool
    ) -> Mapping[str, RuleOutcome]:
        """Publish the share with its readers and writers."""
        del name
        outcomes: dict[str, RuleOutcome] = {}
        with server_errors():
            known = self._server.users() if rules and self._options.check_users else None
        writers, readers = [], []
        for rule in rules:
            trouble = self._trouble(rule, known)
            if trouble:
                outcomes[rule.rule_id] = RuleOutcome(error=trouble)
            elif rule.level is AccessLevel.RW and not read_only:
                writers.append(rule.to)
            else:
                readers.append(rule.to)
        with server_errors():
            self._server.publish(SmbShare(public, path, writers, readers))
        return outcomes

    def withdraw(self, name: str, public: str) -> None:
        """Remove the share from the registry and end its sessions."""
        del name
        with server_errors():
            self._server.withdraw(public)

    def serve_again(self, names: Sequence[str]) -> None:
        """Nothing: Samba reads its registry itself, when a client comes."""

    def _trouble(self, rule: AccessRule, known: frozenset[str] | None) -> str | None:
        if rule.type is not AccessType.USER:
            return f"CIFS shares know clients by `user`, not by `{rule.type}`"
        if not is_user_name(rule.to):
            return f"{rule.to!r} cannot be a user of Samba"
        if known is not None and rule.to.lower() not in known:
            smbpasswd = f"smbpasswd -c {self._options.configuration} -a {rule.to}"
            return f"Samba does not know user {rule.to}: an operator adds it with `useradd {rule.to}` and `{smbpasswd}`"
        return None


@contextmanager
def server_errors() -> Iterator[None]:
    """Turn what the servers' modules raise into the contract's errors."""
    try:
        yield
    except Unavailable as error:
        raise BackendUnavailable(error.message) from error
    except StepFailed as error:
        raise DriverFailed(error.message) from error


def _network(rule: AccessRule) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return the network of a rule. Raises ValueError that says what is wrong."""
    if rule.type is not AccessType.IP:
        raise ValueError(f"NFS shares know clients by `ip`, not by `{rule.type}`")
    try:
        return ipaddress.ip_network(rule.to, strict=False)
    except ValueError as error:
        raise ValueError(f"{rule.to!r} is no address and no network (10.0.0.7, 10.0.0.0/24, fd00::/64)") from error


def _in_order(paths: Iterator[str]) -> tuple[ExportLocation, ...]:
    return tuple(ExportLocation(path, preferred=index == 0) for index, path in enumerate(paths))
