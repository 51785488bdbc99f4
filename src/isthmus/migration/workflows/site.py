"""Where a step runs: the clouds that the worker can reach, with their secrets, and the worker's own settings."""

import base64
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from jsonschema import Draft7Validator, ValidationError

from isthmus.control.errors import InvalidInput, NotAllowed, NotSupported
from isthmus.migration.disks.door import Door
from isthmus.migration.disks.image_file import ImageFile
from isthmus.migration.disks.job import Side as DiskSide
from isthmus.migration.morphing.contract import WayIn
from isthmus.migration.planning.work import EndpointRef
from isthmus.migration.providers.contract import (
    DestinationProvider,
    ExportedDisk,
    HostNetwork,
    Provider,
    SourceProvider,
)
from isthmus.migration.providers.premises import NOTHING, Premises, refuse_operators_keys
from isthmus.migration.workflows.meeting import Meeting

Side = TypeVar("Side", bound=Provider)


@dataclass(frozen=True)
class WorkerSettings:
    """The `[worker]` options that steps need. `bandwidth_limit` in bytes per second for each copy, 0 for none.

    `allow_worker_kernel`: an environment may choose the worker's own kernel as the way into guests.
    `regions`: those whose work the worker takes, so that it stands beside their clouds. `relays`: by region that it
    cannot connect to, the region of the workers that both can. `staged`: by region, that of the workers that store its
    disks in between.
    """

    staging_dir: Path
    bandwidth_limit: int = 0
    nbd_connections: int = 4
    regions: tuple[str, ...] = ()
    relays: Mapping[str, str] = field(default_factory=dict)
    staged: Mapping[str, str] = field(default_factory=dict)
    morphing_way_in: WayIn = WayIn.APPLIANCE
    allow_worker_kernel: bool = False


class Clouds:
    """Opens providers. `find` gives a platform's provider class, `resolve` a secret's content for a trust.

    Connections to the worker's own machine are refused unless `allow_local`: they are its operator's, not a tenant's.
    `host_network` gives the network agent of the worker's machine for a trust's project, None where there is none.
    `premises` is what endpoints may use of the worker's machine.
    """

    def __init__(
        self,
        find: Callable[[str], type[Provider]],
        resolve: Callable[[str | None, str], Mapping[str, Any]],
        *,
        allow_local: bool = False,
        host_network: Callable[[str | None], HostNetwork | None] = lambda _: None,
        premises: Premises = NOTHING,
    ) -> None:
        self._find = find
        self._resolve = resolve
        self._allow_local = allow_local
        self._host_network = host_network
        self._premises = premises

    def source(self, endpoint: EndpointRef, trust_id: str | None) -> SourceProvider:
        """Return a connected-on-demand source; close it (`with`). Raises as `any` does."""
        return self._open(endpoint, trust_id, SourceProvider)  # type: ignore[type-abstract]

    def destination(self, endpoint: EndpointRef, trust_id: str | None) -> DestinationProvider:
        """Return a connected-on-demand destination; close it (`with`). Raises as `any` does."""
        return self._open(endpoint, trust_id, DestinationProvider)  # type: ignore[type-abstract]

    def secret(self, trust_id: str | None, reference: str) -> Mapping[str, Any]:
        """Return what a secret of the user's holds. Raises what resolving it raises."""
        return self._resolve(trust_id, reference)

    def any(self, endpoint: EndpointRef, trust_id: str | None) -> Provider:
        """Return the endpoint's provider.

        Raises `InvalidInput` for an unknown platform or connection details that do not fit its schema, `NotAllowed`
        for a connection to the worker's own machine, and what resolving the secret raises.
        """
        return self._open(endpoint, trust_id, Provider)  # type: ignore[type-abstract]

    def _open(self, endpoint: EndpointRef, trust_id: str | None, side: type[Side]) -> Side:
        kind = self._find(endpoint.type)
        if not issubclass(kind, side):
            role = "a source" if side is SourceProvider else "a destination"
            raise NotSupported(f"platform {endpoint.type} cannot be {role}: choose another endpoint than {endpoint.id}")
        reference = endpoint.connection_info.get("secret_ref")
        connection = self._resolve(trust_id, str(reference)) if reference else dict(endpoint.connection_info)
        check_connection(endpoint, kind, connection)
        if not self._allow_local and kind.is_local(connection):
            raise NotAllowed(
                f"endpoint {endpoint.id} leads to the worker's own machine, or uses its sockets or keys, which are not "
                "for its users; give another machine's address and a key of yours, or have the operator set "
                "allow_local_hypervisors in [worker]"
            )
        opened = kind(connection, self._premises)
        opened.host_network = self._host_network(trust_id)
        return opened


def check_connection(endpoint: EndpointRef, kind: type[Provider], connection: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` naming each key that does not fit the provider's schema; never a value: it may be secret."""
    refuse_operators_keys(kind.operators_keys, connection)
    found = sorted(Draft7Validator(kind.connection_schema()).iter_errors(dict(connection)), key=lambda e: list(e.path))
    if found:
        raise InvalidInput(
            f"the connection details of endpoint {endpoint.id} do not fit platform {endpoint.type}: "
            f"{'; '.join(_misfit(error) for error in found)}; correct its connection_info"
        )


def _misfit(error: ValidationError) -> str:
    where = "/".join(map(str, error.path)) or "the whole"
    if error.validator in {"required", "additionalProperties"}:
        # These messages name keys only.
        return f"{where}: {error.message}"
    return f"{where}: must fit {error.validator} {error.validator_value!r}"


@dataclass(frozen=True)
class Site:
    """What step functions are given beside their call. `now` tells UTC.

    `door` is where this worker receives disks from other sites, None if nobody may connect to it. `meeting` is the way
    to the other end of a copy, None where no engine is.
    """

    clouds: Clouds
    settings: WorkerSettings
    now: Callable[[], datetime]
    door: Door | None = None
    meeting: Meeting | None = None

    def within(self, bandwidth: int) -> "Site":
        """Return this site with no more than these bytes per second for a copy; 0: as many as the settings allow."""
        allowed = [each for each in (bandwidth, self.settings.bandwidth_limit) if each]
        return replace(self, settings=replace(self.settings, bandwidth_limit=min(allowed, default=0)))

    @property
    def areas(self) -> Path:
        """Where disks are stored between the legs of their way; see `disks.staging`."""
        return self.settings.staging_dir / "disks"

    def state_file(self, transfer_id: str, instance: str, disk_id: str, generation: str) -> Path:
        """Return where a disk's journal and hash map is kept.

        The generation is in the name, so that the map of disks that are gone is never taken for that of new ones.
        """
        return self.state_directory(transfer_id) / f"{_encoded(instance)}-{_encoded(disk_id)}-{generation[:8]}.map"

    def state_directory(self, transfer_id: str) -> Path:
        """Return the directory of a transfer's state files."""
        return self.settings.staging_dir / transfer_id

    def staged_transfers(self, most: int) -> list[str]:
        """Return some of the transfers of which there are state files here."""
        found = (each.name for each in self.settings.staging_dir.iterdir() if each.is_dir())
        return sorted(islice(found, most))

    def adopt_state(self, transfer_id: str, instance: str, disk_id: str, generation: str, *, since: str) -> Path:
        """Return the state file of a generation; if it is not there yet it begins as a copy of an earlier one's.

        What is sent to be stored is not at the destination yet: only when it is, the copy becomes the disk's map.
        """
        state = self.state_file(transfer_id, instance, disk_id, generation)
        earlier = self.state_file(transfer_id, instance, disk_id, since)
        if not state.exists() and earlier.exists():
            fresh = state.with_name(f"{state.name}.copy")
            shutil.copyfile(earlier, fresh)
            fresh.chmod(0o600)
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            fresh.rename(state)
        return state

    def forget_state(self, transfer_id: str, instance: str, *, but_generations: Collection[str] = ()) -> None:
        """Remove an instance's state files, but those of some generations. Already done: there are none.

        Other instances of the transfer may do the same, or make theirs, at any moment: the directory goes with the last
        file, and not while an instance still needs it.
        """
        directory = self.state_directory(transfer_id)
        with suppress(FileNotFoundError):
            for path in directory.glob(f"{_encoded(instance)}-*"):
                if not any(f"-{each[:8]}.map" in path.name for each in but_generations):
                    path.unlink(missing_ok=True)
            if not but_generations and not any(directory.iterdir()):
                _remove_if_empty(directory)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def writing_owner(action_id: str, instance: str) -> str:
    """Return the name under which disks are exported for writing: short, and safe in paths and domain names."""
    return f"{action_id}-{hashlib.blake2s(instance.encode(), digest_size=4).hexdigest()}"


def side_of(disk: ExportedDisk) -> DiskSide:
    """Return an exported disk as the disk engine takes it."""
    certificates = Path(disk.tls_certificates) if disk.tls_certificates else None
    image = ImageFile(Path(disk.image.path), disk.image.format, disk.image.inode) if disk.image else None
    return DiskSide(disk.uri, certificates, image)


def _encoded(name: str) -> str:
    """Return a file name for any name; `-` is our separator, so it is not in it."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=").replace("-", ".")
