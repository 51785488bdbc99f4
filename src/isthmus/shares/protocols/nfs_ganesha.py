"""NFS-Ganesha: exports told over D-Bus to the server that runs, and kept as files that it includes when it starts.

A file is written before the server is told, so an export is the same after any restart. Each has an `Export_Id` of its
own for life: it is part of what clients keep of an open file (their handles), and clients tell file systems apart by
it. The ids are in the files' names (`share-….7.conf`), so that no other book has to be kept.

`exports.conf` names all files; the server's own configuration ends with `%include` of it.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from isthmus.control.errors import StepFailed
from isthmus.shares.protocols.ganesha_bus import GaneshaBus

INDEX = "exports.conf"
_LAST = "last-export-id"
_LARGEST_ID = 65535
_FILE = re.compile(r"(?P<name>.+)\.(?P<id>[0-9]+)\.conf")
_SQUASH = {"none": "None", "root": "Root_Squash", "all": "All_Squash"}


@dataclass(frozen=True)
class NfsClient:
    """Hosts that may mount."""

    network: IPv4Network | IPv6Network
    writable: bool


@dataclass(frozen=True)
class NfsExport:
    """A directory and who may mount it. `name` is its file's, `pseudo` what clients ask for, without the slash."""

    name: str
    path: Path
    pseudo: str
    clients: Sequence[NfsClient]
    versions: Sequence[int] = (4,)
    squash: str = "none"


class Ganesha:
    """The exports of one server. Several processes and threads may change them at once."""

    def __init__(self, bus: str, directory: Path) -> None:
        self._bus = GaneshaBus(bus)
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory and an index, so that the server can start. Already there: returns."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            if not (self._directory / INDEX).exists():
                self._write_index()

    def check(self) -> None:
        """Raise `Unavailable` if the server does not answer."""
        self._bus.export_ids()

    def names(self) -> tuple[str, ...]:
        """Return the names of all exports that are kept."""
        return tuple(self._files())

    def publish(self, export: NfsExport) -> None:
        """Serve an export with exactly these clients, at once also for those who have it mounted.

        Raises `Unavailable` if the server does not answer: it then takes the export when it starts.
        """
        file, before = self._keep(export)
        try:
            self._bus.update(file, _id_of(file))
        except StepFailed:
            # What one server refuses now, none shall find in its way when it starts.
            self._put_back(file, before)
            raise

    def publish_kept(self, names: Sequence[str]) -> None:
        """Serve those of the kept exports that the server does not know, as after it started too early."""
        files = self._files()
        served = self._bus.export_ids()
        for name in names:
            file = files.get(name)
            if file and _id_of(file) not in served:
                self._bus.update(file, _id_of(file))

    def withdraw(self, name: str) -> None:
        """Serve an export no more, and forget it. Already gone: returns."""
        file = self._files().get(name)
        if not file:
            return
        self._bus.remove(_id_of(file))
        with self._locked():
            self._write_index(without=file)
            file.unlink(missing_ok=True)

    def _keep(self, export: NfsExport) -> tuple[Path, str | None]:
        """Write an export's file; return it, and what stood in it before."""
        with self._locked():
            known = self._files().get(export.name)
            file = known or self._directory / f"{export.name}.{self._free_id()}.conf"
            before = known.read_text() if known else None
            text = render(export, _id_of(file))
            if before != text:
                _replace(file, text)
            if not known:
                self._write_index()
        return file, before

    def _put_back(self, file: Path, before: str | None) -> None:
        with self._locked():
            if before is not None:
                _replace(file, before)
                return
            self._write_index(without=file)
            file.unlink(missing_ok=True)

    def _files(self) -> Mapping[str, Path]:
        found = {}
        for name in os.listdir(self._directory):
            parsed = _FILE.fullmatch(name)
            if parsed and not name.startswith("."):
                found[parsed["name"]] = self._directory / name
        return found

    def _free_id(self) -> int:
        """Return an id that was not used for long: a client that was away must not find another share behind it."""
        last = self._directory / _LAST
        taken = {_id_of(file) for file in self._files().values()}
        before = int(last.read_text()) if last.exists() else max(taken, default=0)
        chosen = next(
            number
            for number in (1 + (before + step) % _LARGEST_ID for step in range(_LARGEST_ID))
            if number not in taken
        )
        _replace(last, f"{chosen}\n")
        return chosen

    def _write_index(self, without: Path | None = None) -> None:
        files = sorted(file for file in self._files().values() if file != without)
        _replace(self._directory / INDEX, "".join(f'%include "{file}"\n' for file in files) or "# no exports yet\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def render(export: NfsExport, export_id: int) -> str:
    """Return the export in Ganesha's own words. Who is not named may do nothing."""
    protocols = ", ".join(str(version) for version in export.versions)
    common = f"Protocols = {protocols}; Transports = TCP; SecType = sys; Squash = {_SQUASH[export.squash]};"
    return (
        "EXPORT {\n"
        f"  Export_Id = {export_id};\n"
        f'  Path = "{export.path}";\n'
        f'  Pseudo = "/{export.pseudo}";\n'
        f"  Filesystem_Id = 192.{export_id};\n"
        "  Access_Type = NONE;\n"
        # A revert changes files behind the server; asking the kernel again costs little on a local file system.
        "  Attr_Expiration_Time = 0;\n"
        f"  {common}\n"
        "  FSAL { Name = VFS; }\n"
        f"{''.join(_client(client, common) for client in _most_exact_first(export.clients))}"
        "}\n"
    )


def _client(client: NfsClient, common: str) -> str:
    access = "RW" if client.writable else "RO"
    return f"  CLIENT {{ Clients = {_hosts(client.network)}; Access_Type = {access}; {common} }}\n"


def _hosts(network: IPv4Network | IPv6Network) -> str:
    """Return a network in the words that Ganesha 4.3 understands.

    It refuses networks of everybody (0.0.0.0/0), so they are told as two halves; and one of a single IPv6 address
    matches nobody, while the address does.
    """
    if network.prefixlen == 0:
        return ", ".join(str(half) for half in network.subnets())
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _most_exact_first(clients: Sequence[NfsClient]) -> list[NfsClient]:
    """Sort clients as the server reads them: the first that fits decides, so the smallest network stands first."""
    return sorted(clients, key=lambda client: (-client.network.prefixlen, client.network.version, str(client.network)))


def _id_of(file: Path) -> int:
    return int(file.name.rsplit(".", 2)[1])


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
