"""What endpoints may use of the worker's own machine.

Connection details and environments come from tenants, so they name nothing of the worker's: no directory, no
certificate, no program. What there is to be used is said by the worker's operator in `[worker]`, and for whom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus.control.errors import InvalidInput, NotAllowed


@dataclass(frozen=True)
class Premises:
    """The operator's word; nothing by default.

    `runtime` is where the sockets and records of open images are: it must outlive a restart of the machine.
    `staging` is where images lie that are on their way from or to a store.
    `image_directories` are those that an endpoint of images may name, with all below them.
    `file_shares` says, for the address of a cloud's Keystone, where the shares of its Cinder are mounted, by export.
    `nbd_certificates` has ca-cert.pem, client-cert.pem and client-key.pem for hypervisors that demand them.
    """

    runtime: Path = Path("/var/lib/isthmus/open")
    staging: Path = Path("/var/lib/isthmus/staging")
    image_directories: Sequence[Path] = ()
    file_shares: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    nbd_certificates: Path | None = None

    def shares_of(self, auth_url: str) -> Mapping[str, Path]:
        """Return where the shares of the cloud with this Keystone are, by export."""
        return self.file_shares.get(_same(auth_url), {})

    def image_directory(self, path: str) -> Path:
        """Return the directory of images, all links followed. Raises `NotAllowed` if it is not an allowed one."""
        wanted = Path(path).resolve()
        if any(wanted.is_relative_to(each.resolve()) for each in self.image_directories):
            return wanted
        raise NotAllowed(
            f"directory {path} is not among those that this worker's users may name: choose one of them, or have the "
            "operator add it to image_directories in [worker]"
        )


NOTHING = Premises()


def parse_file_shares(lines: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Return the option's lines as `Premises` has them. Raises `InvalidInput` for one that is none."""
    found: dict[str, dict[str, Path]] = {}
    for line in lines:
        words = line.split()
        if len(words) != 3 or not words[2].startswith("/") or "://" not in words[0]:
            raise InvalidInput(
                f"file_shares in [worker] has the line {line!r}: give the address of the cloud's Keystone, the share's "
                "export and the directory where it is mounted, apart by blanks"
            )
        address, export, directory = words
        found.setdefault(_same(address), {})[export] = Path(directory)
    return found


def refuse_operators_keys(keys: Mapping[str, str], connection: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for connection details with a key that only the worker's operator may say.

    `keys` gives the name of the option in `[worker]` for each, as "nbd.worker_certificates".
    """
    for key, option in keys.items():
        part: Any = connection
        for name in key.split("."):
            part = part.get(name) if isinstance(part, Mapping) else None
        if part is not None:
            raise InvalidInput(
                f"connection_info.{key} would name a place on the worker's own machine, which only its operator does: "
                f"leave it out, and have the operator set {option} in [worker]"
            )


def _same(address: str) -> str:
    """Return the address in one way of writing."""
    return address.rstrip("/").removesuffix("/v3").lower()
